// Files and directories by descriptor: opened without following links, closed on exec, allocated.
//
// Called at set-up by every process. A File is what its descriptor is; nothing here trusts a path
// twice. What is inside a file belongs to whoever maps it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <sys/types.h>

namespace shmbus::base {

enum class Access : std::uint8_t { read_only, read_write };

// What the kernel says of an open file.
struct FileFacts {
    std::uint64_t bytes = 0;
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t link_count = 0;  // 0: nobody can open it by name any more
    uid_t owner = 0;
    gid_t group = 0;
    mode_t mode = 0;  // permission bits only
    bool is_regular = false;
    bool is_directory = false;
};

// Owns a descriptor; moves, does not copy. Const members may be called from many threads.
// Every function that fails throws SetupError naming the file, unless it says otherwise.
class File {
public:
    File() noexcept = default;  // holds nothing
    explicit File(int fd) noexcept : fd_(fd) {}  // takes over a descriptor, e.g. one received
    File(File&& other) noexcept : fd_(other.give_up()) {}
    File& operator=(File&& other) noexcept;
    ~File() { close(); }

    // Opens an existing file; refuses a symbolic link and never blocks on a pipe.
    [[nodiscard]] static File open_at(int directory_fd, const std::string& name, Access access);
    // The same, but nothing when no such file is there.
    [[nodiscard]] static std::optional<File> open_if_there(int directory_fd,
                                                           const std::string& name,
                                                           Access access);
    // Makes a new empty file with exactly this mode, whatever the umask, and gives it to the
    // group when one is named. Throws (system_error EEXIST) when the name is taken.
    [[nodiscard]] static File create_at(int directory_fd, const std::string& name, mode_t mode,
                                        std::optional<gid_t> group = std::nullopt);
    // Opens a directory as a handle for the functions above; refuses a symbolic link.
    [[nodiscard]] static File open_directory(const std::string& path);
    // Another descriptor of the same open file. Closing either one keeps the other.
    [[nodiscard]] File duplicate() const;

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
    // Hands the descriptor to the caller, who closes it.
    [[nodiscard]] int give_up() noexcept {
        const int fd = fd_;
        fd_ = -1;
        return fd;
    }
    void close() noexcept;

    // Reserves memory or disk for `bytes` from `offset` on now, so that a full file system is an
    // error here and not a SIGBUS at some later store. Grows the file to that size.
    void allocate(std::uint64_t bytes, std::uint64_t offset = 0) const;
    // Lets the file end there; what was not written of it is a hole.
    void end_at(std::uint64_t bytes) const;
    [[nodiscard]] FileFacts facts() const;
    // Throws unless this is a regular file.
    void require_regular() const;

    // Writes all of it, starting `offset` bytes into the file.
    void write_all(std::span<const std::byte> bytes, std::uint64_t offset) const;
    // Reads until `into` is full or the file ends; returns how many bytes were read.
    [[nodiscard]] std::size_t read_all(std::span<std::byte> into, std::uint64_t offset) const;

private:
    int fd_ = -1;
};

// Removes a name. Returns false when there was none.
bool unlink_at(int directory_fd, const std::string& name);

// Renames inside one directory; replaces what stands under the new name, in one step.
void rename_at(int directory_fd, const std::string& from, const std::string& to);
// The same from one directory into another one of the same file system.
void rename_at(int from_fd, const std::string& from, int to_fd, const std::string& to);

// Ours, as mkdir leaves it, and nothing in it: whoever made it for a group was killed before it had
// that. One that cannot be listed is none.
[[nodiscard]] bool is_half_made(const File& directory);
// Makes the directory if it is not there (its parent must be) and opens it: mode 0700, or 0770
// and the group's when a group is given. One that is there already must be a real directory of
// this user (or root's) with no more permissions than that; otherwise SetupError, and it stays as
// it is: somebody else may have prepared it to listen in. One of ours that was left half made,
// for want of its group and empty, is finished.
[[nodiscard]] File make_private_directory(const std::string& path,
                                          std::optional<gid_t> group = std::nullopt);

// For messages: the path of a name in an open directory, as far as the kernel can tell.
[[nodiscard]] std::string path_of(int directory_fd, const std::string& name = {});

}  // namespace shmbus::base
