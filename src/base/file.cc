// Files and directories by descriptor.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/file.h"

#include <cerrno>
#include <climits>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shmbus/result.h>

namespace shmbus::base {

namespace {

// Not blocking: opening a pipe that somebody planted must not hang. Regular files ignore it.
constexpr int always = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

[[nodiscard]] std::string advice(int error) {
    switch (error) {
        case ENOENT: return "check that whoever makes the file has run";
        case EACCES:
        case EPERM: return "run as the user who owns the file, or as a member of its group";
        case ELOOP: return "a symbolic link stands where a file should; remove it";
        case EEXIST: return "the name is taken; remove the file if nobody uses it";
        case ENOSPC: return "make room: on /dev/shm by a larger tmpfs or smaller lanes";
        case EFBIG: return "raise the file size limit (ulimit -f)";
        case EMFILE:
        case ENFILE: return "raise the limit of open files (ulimit -n)";
        case EDQUOT: return "raise the user's disk quota";
        case EROFS: return "choose a directory on a writable file system";
        default: return "see the system's answer";
    }
}

[[noreturn]] void fail(std::string tried, std::string on_what, int error) {
    throw SetupError{std::move(tried), std::move(on_what), error, advice(error)};
}

[[nodiscard]] int open_flags(Access access) noexcept {
    return always | (access == Access::read_only ? O_RDONLY : O_RDWR);
}

}  // namespace

std::string path_of(int directory_fd, const std::string& name) {
    char path[PATH_MAX];
    const std::string link = "/proc/self/fd/" + std::to_string(directory_fd);
    const ssize_t length = ::readlink(link.c_str(), path, sizeof path);
    std::string found = length > 0 ? std::string(path, static_cast<std::size_t>(length)) : link;
    if (!name.empty()) found += "/" + name;
    return found;
}

File& File::operator=(File&& other) noexcept {
    if (this != &other) {
        close();
        fd_ = other.give_up();
    }
    return *this;
}

void File::close() noexcept {
    // The descriptor is gone whatever close answers; there is nothing to repair.
    if (fd_ >= 0) static_cast<void>(::close(fd_));
    fd_ = -1;
}

File File::open_at(int directory_fd, const std::string& name, Access access) {
    const int fd = ::openat(directory_fd, name.c_str(), open_flags(access));
    if (fd < 0) fail("opening a file", path_of(directory_fd, name), errno);
    return File{fd};
}

std::optional<File> File::open_if_there(int directory_fd, const std::string& name,
                                        Access access) {
    const int fd = ::openat(directory_fd, name.c_str(), open_flags(access));
    if (fd < 0 && errno == ENOENT) return std::nullopt;
    if (fd < 0) fail("opening a file", path_of(directory_fd, name), errno);
    return File{fd};
}

File File::create_at(int directory_fd, const std::string& name, mode_t mode,
                     std::optional<gid_t> group) {
    File file{::openat(directory_fd, name.c_str(), always | O_RDWR | O_CREAT | O_EXCL, 0600)};
    if (!file) fail("making a file", path_of(directory_fd, name), errno);
    const auto give_up_on = [&](const char* tried) {
        const int error = errno;
        static_cast<void>(::unlinkat(directory_fd, name.c_str(), 0));
        fail(tried, path_of(directory_fd, name), error);
    };
    // Group first: a chown may take permission bits away.
    if (group && ::fchown(file.fd(), static_cast<uid_t>(-1), *group) != 0)
        give_up_on("giving a file to its group");
    if (::fchmod(file.fd(), mode) != 0) give_up_on("setting a file's permissions");
    return file;
}

File File::open_directory(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) fail("opening a directory", path, errno);
    return File{fd};
}

File File::duplicate() const {
    const int fd = ::fcntl(fd_, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) fail("duplicating a descriptor", path_of(fd_), errno);
    return File{fd};
}

void File::allocate(std::uint64_t bytes, std::uint64_t offset) const {
    // A signal may interrupt a large allocation on tmpfs; it starts over. Ends: every other
    // answer leaves the loop.
    int error = EINTR;
    while (error == EINTR)
        error = ::posix_fallocate(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes));
    if (error != 0) fail("reserving " + std::to_string(bytes) + " bytes", path_of(fd_), error);
}

void File::end_at(std::uint64_t bytes) const {
    if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0)
        fail("giving a file " + std::to_string(bytes) + " bytes", path_of(fd_), errno);
}

FileFacts File::facts() const {
    struct stat found {};
    if (::fstat(fd_, &found) != 0) fail("looking at a file", path_of(fd_), errno);
    return {.bytes = static_cast<std::uint64_t>(found.st_size),
            .device = static_cast<std::uint64_t>(found.st_dev),
            .inode = static_cast<std::uint64_t>(found.st_ino),
            .link_count = static_cast<std::uint64_t>(found.st_nlink),
            .owner = found.st_uid,
            .group = found.st_gid,
            .mode = found.st_mode & 07777U,
            .is_regular = S_ISREG(found.st_mode),
            .is_directory = S_ISDIR(found.st_mode)};
}

void File::require_regular() const {
    if (!facts().is_regular)
        throw SetupError{"using a file", path_of(fd_), 0,
                         "a regular file belongs there; remove whatever else stands in its place"};
}

void File::write_all(std::span<const std::byte> bytes, std::uint64_t offset) const {
    while (!bytes.empty()) {
        const ssize_t done = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) fail("writing a file", path_of(fd_), errno);
        bytes = bytes.subspan(static_cast<std::size_t>(done));
        offset += static_cast<std::uint64_t>(done);
    }
}

std::size_t File::read_all(std::span<std::byte> into, std::uint64_t offset) const {
    std::size_t total = 0;
    while (total < into.size()) {
        const ssize_t done = ::pread(fd_, into.data() + total, into.size() - total,
                                     static_cast<off_t>(offset + total));
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) fail("reading a file", path_of(fd_), errno);
        if (done == 0) break;
        total += static_cast<std::size_t>(done);
    }
    return total;
}

bool unlink_at(int directory_fd, const std::string& name) {
    if (::unlinkat(directory_fd, name.c_str(), 0) == 0) return true;
    if (errno != ENOENT) fail("removing a file", path_of(directory_fd, name), errno);
    return false;
}

void rename_at(int directory_fd, const std::string& from, const std::string& to) {
    rename_at(directory_fd, from, directory_fd, to);
}

void rename_at(int from_fd, const std::string& from, int to_fd, const std::string& to) {
    if (::renameat(from_fd, from.c_str(), to_fd, to.c_str()) != 0)
        fail("renaming a file to " + to, path_of(from_fd, from), errno);
}

namespace {

void require_private(const File& directory, const std::string& path, mode_t allowed,
                     std::optional<gid_t> group) {
    const FileFacts facts = directory.facts();
    const auto refuse = [&](const std::string& why) {
        throw SetupError{"using a directory", path, 0, why};
    };
    if (facts.owner != ::geteuid() && facts.owner != 0)
        refuse("it belongs to user " + std::to_string(facts.owner) + ", who could read along; " +
               "choose another directory or have it removed");
    if ((facts.mode & ~allowed & 0777U) != 0)
        refuse("others may enter it; chmod it to 0700, or 0770 and your group's");
    if (group && facts.group != *group)
        refuse("it belongs to group " + std::to_string(facts.group) + ", not to group " +
               std::to_string(*group));
}

}  // namespace

bool is_half_made(const File& directory) {
    const FileFacts facts = directory.facts();
    if (facts.owner != ::geteuid() || (facts.mode & 0777U) != 0700) return false;
    File copy(::openat(directory.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    DIR* const listing = copy ? ::fdopendir(copy.fd()) : nullptr;
    if (!listing) return false;
    static_cast<void>(copy.give_up());  // the listing owns it now
    int entries = 0;
    // Ends with the folder's last entry, or behind "." and "..".
    while (entries < 3 && ::readdir(listing)) ++entries;
    ::closedir(listing);
    return entries < 3;
}

File make_private_directory(const std::string& path, std::optional<gid_t> group) {
    const mode_t mode = group ? 0770 : 0700;
    const bool made = ::mkdir(path.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) fail("making a directory", path, errno);
    File directory = File::open_directory(path);
    if (made || (group && is_half_made(directory))) {
        if (group && ::fchown(directory.fd(), static_cast<uid_t>(-1), *group) != 0)
            fail("giving a directory to its group", path, errno);
        if (::fchmod(directory.fd(), mode) != 0)
            fail("setting a directory's permissions", path, errno);
    }
    require_private(directory, path, mode, group);
    return directory;
}

}  // namespace shmbus::base
