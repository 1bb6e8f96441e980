// Memory that the measured processes share: an unnamed file, mapped once or twice.
//
// SPDX-License-Identifier: BSL-1.0
#include "pages.h"

#include <cerrno>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>

namespace shmbus::bench {
namespace {

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void map_at(std::byte* where, std::size_t bytes, int fd) {
    // Populated at once: a page touched for the first time would show as a p99.
    void* const mapped = ::mmap(where, bytes, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0);
    if (mapped == MAP_FAILED) fail("mapping shared pages for the benchmark");
}

}  // namespace

Pages::Pages(std::size_t bytes, Shape shape) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    bytes_ = (bytes + page - 1) / page * page;
    mapped_bytes_ = shape == Shape::mirrored ? 2 * bytes_ : bytes_;

    const int fd = ::memfd_create("shm-bench", MFD_CLOEXEC);
    if (fd < 0) fail("making an unnamed file for the benchmark");
    if (::ftruncate(fd, static_cast<off_t>(bytes_)) != 0) {
        ::close(fd);
        fail("sizing an unnamed file for the benchmark");
    }
    void* const reserved = ::mmap(nullptr, mapped_bytes_, PROT_NONE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserved == MAP_FAILED) {
        ::close(fd);
        fail("reserving addresses for the benchmark");
    }
    data_ = static_cast<std::byte*>(reserved);
    for (std::size_t at = 0; at < mapped_bytes_; at += bytes_) map_at(data_ + at, bytes_, fd);
    ::close(fd);
}

Pages::~Pages() { ::munmap(data_, mapped_bytes_); }

}  // namespace shmbus::bench
