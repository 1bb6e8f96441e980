// The journal's files in a directory of a real file system.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <shmbus/result.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/file.h"
#include "journal/background_writer.h"

namespace shmbus::journal {

namespace {

template <class Call>
[[nodiscard]] Moved moved_by(Call call) noexcept {
    ssize_t answer = -1;
    // Ends: every answer but an interruption leaves the loop.
    do answer = call();
    while (answer < 0 && errno == EINTR);
    if (answer < 0) return {0, errno};
    return {static_cast<std::uint64_t>(answer), 0};
}

constexpr std::size_t direct_block = BackgroundWriter::block;
constexpr std::size_t most_direct = std::size_t{4} << 20;

}  // namespace

// Memory that is aligned as direct writes want it, used again and again: pages that are fresh each
// time, as the cache's are, cost more than the copy. Shared by the files of a directory.
class Bounce {
public:
    [[nodiscard]] std::byte* filled_with(std::span<const std::byte> bytes) {
        if (!room_)
            room_.reset(static_cast<std::byte*>(std::aligned_alloc(direct_block, most_direct)));
        if (room_) std::memcpy(room_.get(), bytes.data(), bytes.size());
        return room_.get();
    }

private:
    struct Free {
        void operator()(std::byte* memory) const noexcept { std::free(memory); }
    };
    std::unique_ptr<std::byte, Free> room_;
};

namespace {

// Whole blocks are written past the cache where the file system has that; everything else, and all
// reading, goes through it, which the kernel keeps coherent. Measured: README.md.
class RealFile final : public StorageFile {
public:
    RealFile(base::File file, base::File direct, std::shared_ptr<Bounce> bounce,
             std::shared_ptr<BackgroundWriter> background,
             std::shared_ptr<BackgroundWriter> zeros) noexcept
        : file_(std::move(file)),
          direct_(std::move(direct)),
          bounce_(std::move(bounce)),
          background_(std::move(background)),
          zeros_(std::move(zeros)) {}
    ~RealFile() override {
        if (has_ours_ != nullptr) static_cast<void>(has_ours_->finish());
    }

    Moved read(std::span<std::byte> into, std::uint64_t offset) override {
        std::uint64_t total = 0;
        // Ends: every turn reads something, or leaves.
        while (total < into.size()) {
            const Moved part = moved_by([&] {
                return ::pread(file_.fd(), into.data() + total, into.size() - total,
                               static_cast<off_t>(offset + total));
            });
            total += part.bytes;
            if (part.error != 0 || part.bytes == 0) return {total, part.error};
        }
        return {total, 0};
    }
    Moved write(std::span<const std::byte> from, std::uint64_t offset) override {
        if (direct_ && offset % direct_block == 0 && from.size() >= direct_block) {
            const std::size_t bytes = std::min(from.size() / direct_block * direct_block,
                                               most_direct);
            const std::byte* const aligned = bounce_->filled_with(from.first(bytes));
            const auto write_it = [&] {
                return moved_by([&] {
                    return ::pwrite(direct_.fd(), aligned, bytes, static_cast<off_t>(offset));
                });
            };
            if (aligned != nullptr) {
                const Moved moved = write_it();
                return goes_through_cache(direct_.fd(), moved.error) ? write_it() : moved;
            }
        }
        return moved_by([&] {
            return ::pwrite(file_.fd(), from.data(), from.size(), static_cast<off_t>(offset));
        });
    }
    void start_write(std::span<const std::byte> from, std::uint64_t offset) override {
        const std::size_t whole = from.size() / direct_block * direct_block;
        if (!direct_ || offset % direct_block != 0 || whole != from.size())
            return StorageFile::start_write(from, offset);
        background_->start(direct_.fd(), from, offset);
        has_ours_ = background_.get();
    }
    void start_zeros(std::uint64_t bytes, std::uint64_t offset) override {
        if (direct_ && offset % direct_block == 0 && bytes % direct_block == 0) {
            zeros_->start_zeros(direct_.fd(), bytes, offset);
            has_ours_ = zeros_.get();
            return;
        }
        StorageFile::start_zeros(bytes, offset);
        // A hint: or all of them would be left to the sync.
        static_cast<void>(::sync_file_range(file_.fd(), static_cast<off_t>(offset),
                                            static_cast<off_t>(bytes), SYNC_FILE_RANGE_WRITE));
    }
    int finish_writes() override {
        BackgroundWriter* const writer = std::exchange(has_ours_, nullptr);
        const int begun = writer != nullptr ? writer->finish() : 0;
        const int done = StorageFile::finish_writes();
        return begun != 0 ? begun : done;
    }
    // Not repeated when interrupted: what such a sync has done is not known.
    int sync() override { return ::fdatasync(file_.fd()) == 0 ? 0 : errno; }
    int allocate(std::uint64_t bytes) override {
        int error = EINTR;
        while (error == EINTR) error = ::posix_fallocate(file_.fd(), 0, static_cast<off_t>(bytes));
        return error;
    }
    int forget_cached() override { return ::posix_fadvise(file_.fd(), 0, 0, POSIX_FADV_DONTNEED); }
    Moved size() override {
        try {
            return {file_.facts().bytes, 0};
        } catch (const SetupError& failed) {
            return {0, failed.system_error()};
        }
    }

private:
    base::File file_;
    base::File direct_;  // the same file, or empty
    std::shared_ptr<Bounce> bounce_;
    std::shared_ptr<BackgroundWriter> background_;  // of batches
    std::shared_ptr<BackgroundWriter> zeros_;       // of a segment that is made meanwhile
    BackgroundWriter* has_ours_ = nullptr;          // one of the two, or none
};

// A link, a pipe, a file of somebody else's or with a second name is not ours to trust.
[[nodiscard]] bool is_ours(const base::File& file) {
    const base::FileFacts facts = file.facts();
    return facts.is_regular && facts.link_count == 1 &&
           (facts.owner == ::geteuid() || facts.owner == 0) && (facts.mode & 0022U) == 0;
}

[[nodiscard]] int error_of(const SetupError& failed) noexcept {
    return failed.system_error() != 0 ? failed.system_error() : EIO;
}

}  // namespace

struct RealStorage::Inside {
    base::File directory;
    base::File lock;
    std::shared_ptr<Bounce> bounce = std::make_shared<Bounce>();
    std::shared_ptr<BackgroundWriter> background = std::make_shared<BackgroundWriter>();
    std::shared_ptr<BackgroundWriter> zeros = std::make_shared<BackgroundWriter>();

    // The file that was opened by this name, with a second descriptor if it can be had.
    [[nodiscard]] FilePointer file(base::File opened, const std::string& name) const {
        base::File direct(::openat(directory.fd(), name.c_str(),
                                   O_RDWR | O_DIRECT | O_CLOEXEC | O_NOFOLLOW));
        if (direct) {
            const base::FileFacts one = opened.facts();
            const base::FileFacts other = direct.facts();
            if (one.inode != other.inode || one.device != other.device) direct.close();
        }
        return std::make_unique<RealFile>(std::move(opened), std::move(direct), bounce,
                                          background, zeros);
    }
};

RealStorage::RealStorage(const std::string& path, Mode mode) : inside_(new Inside) {
    if (mode == Mode::must_exist) static_cast<void>(base::File::open_directory(path));
    inside_->directory = base::make_private_directory(path);
}

RealStorage::~RealStorage() = default;

int RealStorage::lock() {
    try {
        const int at = inside_->directory.fd();
        auto file = base::File::open_if_there(at, "LOCK", base::Access::read_write);
        if (!file) file = base::File::create_at(at, "LOCK", 0600);
        if (!is_ours(*file)) return EPERM;
        if (::flock(file->fd(), LOCK_EX | LOCK_NB) != 0) return errno;
        inside_->lock = std::move(*file);
        return 0;
    } catch (const SetupError& failed) {
        return error_of(failed);
    }
}

Storage::FilePointer RealStorage::open(const std::string& name, int& error) {
    error = 0;
    try {
        base::File file =
            base::File::open_at(inside_->directory.fd(), name, base::Access::read_write);
        if (is_ours(file)) return inside_->file(std::move(file), name);
        error = EPERM;
    } catch (const SetupError& failed) {
        error = error_of(failed);
    }
    return nullptr;
}

Storage::FilePointer RealStorage::create(const std::string& name, int& error) {
    error = 0;
    try {
        return inside_->file(base::File::create_at(inside_->directory.fd(), name, 0600), name);
    } catch (const SetupError& failed) {
        error = error_of(failed);
    }
    return nullptr;
}

int RealStorage::rename(const std::string& from, const std::string& to) {
    const int at = inside_->directory.fd();
    return ::renameat(at, from.c_str(), at, to.c_str()) == 0 ? 0 : errno;
}

int RealStorage::unlink(const std::string& name) {
    return ::unlinkat(inside_->directory.fd(), name.c_str(), 0) == 0 ? 0 : errno;
}

int RealStorage::sync_directory() { return ::fsync(inside_->directory.fd()) == 0 ? 0 : errno; }

int RealStorage::list(std::vector<std::string>& names) {
    names.clear();
    // A descriptor of its own: its reading position must not be shared.
    const int fd = ::openat(inside_->directory.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    DIR* const directory = ::fdopendir(fd);
    if (directory == nullptr) {
        const int error = errno;
        static_cast<void>(::close(fd));
        return error;
    }
    errno = 0;
    while (const dirent* const entry = ::readdir(directory)) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
        errno = 0;
    }
    const int error = errno;
    static_cast<void>(::closedir(directory));
    return error;
}

std::string RealStorage::path_of(const std::string& name) const {
    return base::path_of(inside_->directory.fd(), name);
}

void StorageFile::start_write(std::span<const std::byte> from, std::uint64_t offset) {
    if (error_of_started_ == 0) error_of_started_ = write_all(*this, from, offset);
}

void StorageFile::start_zeros(std::uint64_t bytes, std::uint64_t offset) {
    static constexpr std::array<std::byte, 64 * 1024> zeros{};
    while (bytes > 0) {
        const std::uint64_t part = std::min<std::uint64_t>(bytes, zeros.size());
        start_write(std::span(zeros).first(part), offset);
        bytes -= part;
        offset += part;
    }
}

int StorageFile::finish_writes() { return std::exchange(error_of_started_, 0); }

int write_all(StorageFile& file, std::span<const std::byte> from, std::uint64_t offset) {
    while (!from.empty()) {
        const Moved part = file.write(from, offset);
        if (part.error != 0) return part.error;
        if (part.bytes == 0 || part.bytes > from.size()) return EIO;
        from = from.subspan(part.bytes);
        offset += part.bytes;
    }
    return 0;
}

int read_all(StorageFile& file, std::span<std::byte> into, std::uint64_t offset) {
    const Moved part = file.read(into, offset);
    if (part.error != 0) return part.error;
    return part.bytes == into.size() ? 0 : EIO;
}

}  // namespace shmbus::journal
