// Opening a journal's files at one moment. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/still_parts.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <utility>

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
constexpr std::size_t look_bytes = std::size_t{1} << 20;

[[nodiscard]] bool is_part_of_journal(const std::string& name) {
    return journal::number_of(name, journal::segment_prefix) ||
           journal::number_of(name, journal::CheckpointFiles::prefix);
}

[[nodiscard]] std::map<std::string, StillPart> open_all(const File& directory,
                                                        const std::string& path) {
    std::map<std::string, StillPart> all;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
        const std::string name = entry.path().filename().string();
        if (!is_part_of_journal(name)) continue;
        auto file = File::open_if_there(directory.fd(), name, Access::read_only);
        if (!file) continue;  // went meanwhile: found by the next look
        const base::FileFacts facts = file->facts();
        StillPart& part = all[name];
        part.file = std::move(*file);
        part.bytes = facts.bytes;
        part.inode = facts.inode;
    }
    return all;
}

[[nodiscard]] std::map<std::string, StillPart> open_at_one_moment(const File& directory,
                                                                  const std::string& path) {
    const auto same = [](const auto& one, const auto& other) {
        return one.first == other.first && one.second.inode == other.second.inode;
    };
    std::map<std::string, StillPart> before = open_all(directory, path);
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        std::map<std::string, StillPart> now = open_all(directory, path);
        if (std::ranges::equal(before, now, same)) return before;
        before = std::move(now);
    }
    throw Trouble(Exit::try_later, "the files of the journal in " + path + " kept changing",
                  "the daemon is very busy", "try again");
}

[[noreturn]] void none_made(const std::string& path) {
    throw Trouble(Exit::unknown_name, "there is no journal in " + path,
                  "none was made yet: the first durable type that a process names makes one",
                  "shmbus env; name its directory with --dir");
}

[[noreturn]] void no_journal(const std::string& path) {
    for (const auto& entry : std::filesystem::directory_iterator(path))
        if (const std::string name = entry.path().filename().string(); is_part_of_journal(name))
            throw Trouble(Exit::damaged,
                          "in " + path + " is " + name + ", but no superblock, so it is no journal",
                          "a backup or a restore was cut off before its end",
                          "move that directory away, and make the copy again");
    none_made(path);
}

// As it stands between two writes.
[[nodiscard]] std::vector<std::byte> read_superblock(const File& directory,
                                                     const std::string& path) {
    const auto file = File::open_if_there(directory.fd(), SuperblockFile::name, Access::read_only);
    if (!file) no_journal(path);
    const auto read = [&] {
        std::vector<std::byte> bytes(file->facts().bytes);
        bytes.resize(file->read_all(bytes, 0));
        return bytes;
    };
    std::vector<std::byte> before = read();
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        std::vector<std::byte> now = read();
        if (now == before) break;
        before = std::move(now);
    }
    return before;
}

// Where the last page that is not zero ends, between the head and its copy.
[[nodiscard]] std::uint64_t end_of_written(const StillPart& part, std::uint64_t end) {
    std::vector<std::byte> bytes(look_bytes);
    while (end > journal::first_batch_offset) {
        const std::uint64_t begin = std::max<std::uint64_t>(
            journal::first_batch_offset, end - std::min<std::uint64_t>(end, look_bytes));
        const std::span<std::byte> now(bytes.data(), end - begin);
        const std::size_t got = part.file.read_all(now, begin);
        for (std::size_t page = got / journal::block_bytes; page-- > 0;)
            if (!journal::all_zero(now.subspan(page * journal::block_bytes, journal::block_bytes)))
                return begin + (page + 1) * journal::block_bytes;
        end = begin;
    }
    return journal::first_batch_offset;
}

// True when it was begun; then those before it are finished.
[[nodiscard]] bool hide_what_follows(StillPart& part) {
    if (part.bytes < 2 * journal::block_bytes) return false;
    part.shown_again = part.bytes - journal::block_bytes;
    part.hidden_from = end_of_written(part, part.shown_again);
    return part.hidden_from != journal::first_batch_offset;
}

}  // namespace

StillParts still_parts(const std::string& path) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored) && !ignored) none_made(path);
    const File directory = File::open_directory(path);
    StillParts parts;
    parts.superblock = read_superblock(directory, path);
    std::map<std::string, StillPart> opened = open_at_one_moment(directory, path);
    for (auto one = opened.rbegin(); one != opened.rend(); ++one)
        if (one->first.starts_with(journal::segment_prefix) && hide_what_follows(one->second))
            break;
    for (auto& [name, part] : opened)
        parts.files.emplace(name, std::make_shared<const StillPart>(std::move(part)));
    return parts;
}

}  // namespace shmbus::cli
