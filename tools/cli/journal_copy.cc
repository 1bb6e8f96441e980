// Opening, copying and syncing the files of a journal. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/journal_copy.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include <unistd.h>

#include <shmbus/result.h>

#include "base/file.h"
#include "cli/trouble.h"
#include "journal/checkpoint.h"
#include "journal/segment_file.h"
#include "journal/superblock.h"

namespace shmbus::cli {

namespace {

using base::Access;
using base::File;
using journal::SuperblockFile;

constexpr int most_attempts = 50;
constexpr std::size_t part_bytes = std::size_t{1} << 20;

struct Opened {
    std::string name;
    File file;
    std::uint64_t inode = 0;
};

[[nodiscard]] bool is_part_of_journal(const std::string& name) {
    return name == SuperblockFile::name || journal::number_of(name, journal::segment_prefix) ||
           journal::number_of(name, journal::CheckpointFiles::prefix);
}

// By name: checkpoints before segments, as "ckpt-" stands before "seg-".
[[nodiscard]] std::vector<Opened> open_all(const File& directory, const std::string& path) {
    std::vector<Opened> all;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
        const std::string name = entry.path().filename().string();
        if (!is_part_of_journal(name)) continue;
        auto file = File::open_if_there(directory.fd(), name, Access::read_only);
        if (!file) continue;  // went meanwhile: found by the next look
        const std::uint64_t inode = file->facts().inode;
        all.push_back({name, std::move(*file), inode});
    }
    std::ranges::sort(all, {}, &Opened::name);
    return all;
}

[[nodiscard]] bool are_the_same(const std::vector<Opened>& a, const std::vector<Opened>& b) {
    return std::ranges::equal(a, b, [](const Opened& one, const Opened& other) {
        return one.name == other.name && one.inode == other.inode;
    });
}

// Files that were all there at one moment.
[[nodiscard]] std::vector<Opened> open_at_one_moment(const File& directory,
                                                     const std::string& path) {
    std::vector<Opened> before = open_all(directory, path);
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        std::vector<Opened> now = open_all(directory, path);
        if (are_the_same(before, now)) return before;
        before = std::move(now);
    }
    throw Trouble(Exit::try_later, "the files of the journal in " + path + " kept changing",
                  "the daemon is very busy", "try again");
}

[[nodiscard]] std::vector<std::byte> bytes_of(const File& file) {
    std::vector<std::byte> bytes(file.facts().bytes);
    bytes.resize(file.read_all(bytes, 0));
    return bytes;
}

// As it stands between two writes.
[[nodiscard]] std::vector<std::byte> read_superblock(const File& file) {
    std::vector<std::byte> before = bytes_of(file);
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        std::vector<std::byte> now = bytes_of(file);
        if (now == before) return before;
        before = std::move(now);
    }
    return before;
}

void sync(const File& file, const std::string& name) {
    if (::fsync(file.fd()) != 0)
        throw SetupError{"syncing a copy", name, errno, "the copy is not to be used"};
}

[[nodiscard]] std::uint64_t copy_file(const File& from, const File& directory,
                                      const std::string& name) {
    const File to = File::create_at(directory.fd(), name, 0600);
    std::vector<std::byte> part(part_bytes);
    std::uint64_t offset = 0;
    // Ends: with the file.
    while (const std::size_t got = from.read_all(part, offset)) {
        to.write_all(std::span(part).first(got), offset);
        offset += got;
    }
    sync(to, name);
    return offset;
}

[[nodiscard]] File empty_directory(const std::string& to) {
    File directory = base::make_private_directory(to);
    for (const auto& entry : std::filesystem::directory_iterator(to))
        if (entry.path().filename() != "LOCK")
            throw Trouble(Exit::cannot_create,
                          to + " is not empty: " + entry.path().filename().string() + " is there",
                          "a journal or an older copy stands there, and nothing is overwritten",
                          "name another directory, or move that one away");
    return directory;
}

[[nodiscard]] bool is_clean(std::span<const std::byte> superblock) {
    journal::Superblock newest;
    newest.generation = 0;
    newest.is_clean = 0;
    for (std::size_t at = 0; at + sizeof(journal::Superblock) <= superblock.size();
         at += journal::block_bytes) {
        const auto slot = journal::read_as<journal::Superblock>(superblock, at);
        if (slot.magic == journal::Superblock::right_magic && slot.generation >= newest.generation)
            newest = slot;
    }
    return newest.is_clean != 0;
}

}  // namespace

Copied copy_journal(const std::string& from, const std::string& to) {
    const File source = File::open_directory(from);
    const auto superblock =
        File::open_if_there(source.fd(), SuperblockFile::name, Access::read_only);
    if (!superblock)
        throw Trouble(Exit::unknown_name, "there is no journal in " + from,
                      "none was made yet: the first durable message makes one", "shmbus env");
    const std::vector<std::byte> evidence = read_superblock(*superblock);
    const std::vector<Opened> files = open_at_one_moment(source, from);
    const File target = empty_directory(to);
    Copied copied;
    const auto copy = [&](const Opened& one) {
        copied.bytes += copy_file(one.file, target, one.name);
        ++copied.files;
    };
    for (const Opened& one : files)
        if (one.name.starts_with(journal::CheckpointFiles::prefix)) copy(one);
    for (auto one = files.rbegin(); one != files.rend(); ++one)
        if (one->name.starts_with(journal::segment_prefix)) copy(*one);
    // Closed in peace, and then a daemon began: what it wrote meanwhile would look like damage.
    if (is_clean(evidence) && read_superblock(*superblock) != evidence)
        throw Trouble(Exit::try_later, "a daemon began to use the journal while it was copied", "",
                      "empty " + to + " and try again");
    const File last = File::create_at(target.fd(), SuperblockFile::name, 0600);
    last.write_all(evidence, 0);
    sync(last, SuperblockFile::name);
    sync(target, to);
    copied.bytes += evidence.size();
    ++copied.files;
    return copied;
}

}  // namespace shmbus::cli
