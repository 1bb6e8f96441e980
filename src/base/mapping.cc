// Mapped files, by Boost.Interprocess: the one file that spells it.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/mapping.h"

#include <cerrno>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>

#include <shmbus/result.h>

namespace shmbus::base {

namespace {

namespace ipc = boost::interprocess;

// Boost maps anything that hands out a descriptor this way; its own file classes open by path and
// follow links, so ours stands in.
class Mappable {
public:
    explicit Mappable(int fd) noexcept : fd_(fd) {}
    [[nodiscard]] ipc::mapping_handle_t get_mapping_handle() const noexcept {
        return ipc::ipcdetail::mapping_handle_from_file_handle(fd_);
    }

private:
    int fd_;
};

[[nodiscard]] ipc::mode_t mode_of(Access access) noexcept {
    return access == Access::read_only ? ipc::read_only : ipc::read_write;
}

[[noreturn]] void fail(const File& file, MappedPart part, int error, std::string helps) {
    throw SetupError{"mapping " + std::to_string(part.bytes) + " bytes at offset " +
                         std::to_string(part.offset),
                     path_of(file.fd()), error, std::move(helps)};
}

[[nodiscard]] std::string remedy(int error) {
    if (error == ENOMEM) return "raise the memory or address space limits, or use smaller lanes";
    if (error == EACCES || error == EPERM) return "open the file with the access it is mapped for";
    return "see the system's answer";
}

void require_inside(const File& file, MappedPart part) {
    const FileFacts facts = file.facts();
    if (!facts.is_regular) fail(file, part, 0, "only regular files are mapped");
    if (part.bytes == 0 || part.offset % page_bytes() != 0)
        fail(file, part, EINVAL, "map at least one byte, from a page border on");
    if (part.offset > facts.bytes || part.bytes > facts.bytes - part.offset)
        fail(file, part, 0,
             "the file has only " + std::to_string(facts.bytes) +
                 " bytes: it was cut off or belongs to another version");
}

[[nodiscard]] ipc::mapped_region map(const File& file, MappedPart part, Access access,
                                     void* where) {
    const int fixed = where == nullptr ? 0 : MAP_FIXED;
    try {
        return ipc::mapped_region(Mappable{file.fd()}, mode_of(access),
                                  static_cast<ipc::offset_t>(part.offset), part.bytes, where,
                                  MAP_POPULATE | fixed);
    } catch (const ipc::interprocess_exception& error) {
        fail(file, part, error.get_native_error(), remedy(error.get_native_error()));
    }
}

// Absent in children: a child that could still reach a lane could write it beside its parent.
// Present and writable now: the first message must not pay for page faults.
void prepare(std::byte* data, std::size_t bytes, Access access, const File& file,
             MappedPart part) {
    if (::madvise(data, bytes, MADV_DONTFORK) != 0) fail(file, part, errno, remedy(errno));
#ifdef MADV_POPULATE_WRITE
    // MAP_POPULATE is enough on tmpfs; file systems that track dirty pages map them for reading
    // first, so ask for writing separately. Kernels before 5.14 answer EINVAL and pay on first use.
    if (access == Access::read_write && ::madvise(data, bytes, MADV_POPULATE_WRITE) != 0 &&
        errno != EINVAL)
        fail(file, part, errno, remedy(errno));
#endif
}

[[nodiscard]] std::byte* address_of(const ipc::mapped_region& region) noexcept {
    return static_cast<std::byte*>(region.get_address());
}

// In a forked child the pages are not there, and something else may be by now: unmapping would
// hit that. So the child forgets its copy of the regions, a few bytes.
template <class Regions>
void let_go(std::unique_ptr<Regions>& regions) noexcept {
    if (regions && regions->pid != ::getpid()) static_cast<void>(regions.release());
    regions.reset();
}

}  // namespace

std::size_t page_bytes() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

struct Mapping::Regions {
    ipc::mapped_region region;
    pid_t pid = ::getpid();
};

Mapping::Mapping() noexcept = default;
Mapping::~Mapping() { let_go(regions_); }

Mapping::Mapping(const File& file, MappedPart part, Access access) {
    require_inside(file, part);
    regions_ = std::make_unique<Regions>();
    regions_->region = map(file, part, access, nullptr);
    data_ = address_of(regions_->region);
    bytes_ = part.bytes;
    prepare(data_, bytes_, access, file, part);
}

Mapping::Mapping(Mapping&& other) noexcept
    : regions_(std::move(other.regions_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
    if (this == &other) return *this;
    let_go(regions_);
    regions_ = std::move(other.regions_);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
}

// The regions unmap themselves; together they cover the reservation, so nothing else is left.
struct RingMapping::Regions {
    ipc::mapped_region lower;
    ipc::mapped_region upper;
    pid_t pid = ::getpid();
};

namespace {

// Holds the address range until both halves stand in it.
class Reservation {
public:
    Reservation(const File& file, MappedPart part) : bytes_(2 * part.bytes) {
        // Raw mmap: Boost's anonymous mapping is readable and writable, hence counted as memory.
        void* const found = ::mmap(nullptr, bytes_, PROT_NONE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (found == MAP_FAILED) fail(file, part, errno, remedy(errno));
        data_ = static_cast<std::byte*>(found);
    }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    ~Reservation() {
        if (bytes_ != 0) static_cast<void>(::munmap(data_, bytes_));
    }
    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    // The first `bytes` belong to somebody else now.
    void pass_on(std::size_t bytes) noexcept {
        data_ += bytes;
        bytes_ -= bytes;
    }

private:
    std::byte* data_ = nullptr;
    std::size_t bytes_;
};

}  // namespace

RingMapping::RingMapping() noexcept = default;
RingMapping::~RingMapping() { let_go(regions_); }

RingMapping::RingMapping(const File& file, MappedPart part, Access access) {
    require_inside(file, part);
    if (part.bytes % page_bytes() != 0 ||
        part.bytes > std::numeric_limits<std::size_t>::max() / 2)
        fail(file, part, EINVAL, "a ring is a whole number of pages");
    auto regions = std::make_unique<Regions>();
    Reservation reservation{file, part};
    std::byte* const data = reservation.data();
    // Each half passes from the reservation to its region, so that a failure between the two
    // unmaps every page once: a second time could hit what another thread has mapped there.
    regions->lower = map(file, part, access, data);
    reservation.pass_on(part.bytes);
    regions->upper = map(file, part, access, data + part.bytes);
    reservation.pass_on(part.bytes);
    data_ = data;
    bytes_ = part.bytes;
    regions_ = std::move(regions);
    prepare(data_, 2 * bytes_, access, file, part);
}

RingMapping::RingMapping(RingMapping&& other) noexcept
    : regions_(std::move(other.regions_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

RingMapping& RingMapping::operator=(RingMapping&& other) noexcept {
    if (this == &other) return *this;
    let_go(regions_);
    regions_ = std::move(other.regions_);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
}

}  // namespace shmbus::base
