// Holding a journal still. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/still_journal.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>

#include <shmbus/result.h>

#include "cli/trouble.h"
#include "journal/checkpoint.h"
#include "journal/segment_file.h"
#include "journal/superblock.h"

namespace shmbus::cli {

namespace {

using base::Access;
using base::File;
using journal::Moved;
using journal::SuperblockFile;
using Part = StillJournal::Part;
using Parts = StillJournal::Parts;

constexpr int most_attempts = 50;
constexpr std::size_t look_bytes = std::size_t{1} << 20;

[[nodiscard]] bool is_part_of_journal(const std::string& name) {
    return journal::number_of(name, journal::segment_prefix) ||
           journal::number_of(name, journal::CheckpointFiles::prefix);
}

[[nodiscard]] std::map<std::string, Part> open_all(const File& directory, const std::string& path) {
    std::map<std::string, Part> all;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
        const std::string name = entry.path().filename().string();
        if (!is_part_of_journal(name)) continue;
        auto file = File::open_if_there(directory.fd(), name, Access::read_only);
        if (!file) continue;  // went meanwhile: found by the next look
        const base::FileFacts facts = file->facts();
        Part& part = all[name];
        part.file = std::move(*file);
        part.bytes = facts.bytes;
        part.inode = facts.inode;
    }
    return all;
}

[[nodiscard]] std::map<std::string, Part> open_at_one_moment(const File& directory,
                                                             const std::string& path) {
    const auto same = [](const auto& one, const auto& other) {
        return one.first == other.first && one.second.inode == other.second.inode;
    };
    std::map<std::string, Part> before = open_all(directory, path);
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        std::map<std::string, Part> now = open_all(directory, path);
        if (std::ranges::equal(before, now, same)) return before;
        before = std::move(now);
    }
    throw Trouble(Exit::try_later, "the files of the journal in " + path + " kept changing",
                  "the daemon is very busy", "try again");
}

[[noreturn]] void none_made(const std::string& path) {
    throw Trouble(Exit::unknown_name, "there is no journal in " + path,
                  "none was made yet: the first durable message makes one",
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
[[nodiscard]] std::uint64_t end_of_written(const Part& part, std::uint64_t end) {
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
[[nodiscard]] bool hide_what_follows(Part& part) {
    if (part.bytes < 2 * journal::block_bytes) return false;
    part.shown_again = part.bytes - journal::block_bytes;
    part.hidden_from = end_of_written(part, part.shown_again);
    return part.hidden_from != journal::first_batch_offset;
}

class StillFile final : public journal::StorageFile {
public:
    explicit StillFile(std::shared_ptr<const Part> part) : part_(std::move(part)) {}
    Moved read(std::span<std::byte> into, std::uint64_t offset) override {
        if (offset >= part_->bytes) return {};
        into = into.first(std::min<std::uint64_t>(into.size(), part_->bytes - offset));
        const std::uint64_t got = part_->file.read_all(into, offset);
        const std::uint64_t from = std::max(offset, part_->hidden_from);
        const std::uint64_t to = std::min(offset + got, part_->shown_again);
        if (from < to) std::memset(into.data() + (from - offset), 0, to - from);
        return {got, 0};
    }
    Moved write(std::span<const std::byte>, std::uint64_t) override { return {0, EROFS}; }
    int sync() override { return 0; }
    int allocate(std::uint64_t) override { return EROFS; }
    int forget_cached() override { return 0; }
    Moved size() override { return {part_->bytes, 0}; }

private:
    std::shared_ptr<const Part> part_;
};

class StillBytes final : public journal::StorageFile {
public:
    explicit StillBytes(const std::vector<std::byte>& bytes) : bytes_(bytes) {}
    Moved read(std::span<std::byte> into, std::uint64_t offset) override {
        if (offset >= bytes_.size()) return {};
        const std::size_t count = std::min<std::size_t>(into.size(), bytes_.size() - offset);
        std::memcpy(into.data(), bytes_.data() + offset, count);
        return {count, 0};
    }
    Moved write(std::span<const std::byte>, std::uint64_t) override { return {0, EROFS}; }
    int sync() override { return 0; }
    int allocate(std::uint64_t) override { return EROFS; }
    int forget_cached() override { return 0; }
    Moved size() override { return {bytes_.size(), 0}; }

private:
    std::vector<std::byte> bytes_;
};

}  // namespace

StillJournal::StillJournal(const std::string& path) : path_(path) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored) && !ignored) none_made(path);
    const File directory = File::open_directory(path);
    superblock_ = read_superblock(directory, path);
    std::map<std::string, Part> opened = open_at_one_moment(directory, path);
    for (auto one = opened.rbegin(); one != opened.rend(); ++one)
        if (one->first.starts_with(journal::segment_prefix) && hide_what_follows(one->second))
            break;
    for (auto& [name, part] : opened)
        parts_.emplace(name, std::make_shared<const Part>(std::move(part)));
}

StillJournal::~StillJournal() = default;

int StillJournal::lock() { return 0; }

journal::Storage::FilePointer StillJournal::open(const std::string& name, int& error) {
    error = 0;
    if (name == SuperblockFile::name) return std::make_unique<StillBytes>(superblock_);
    const auto found = parts_.find(name);
    if (found != parts_.end()) return std::make_unique<StillFile>(found->second);
    error = ENOENT;
    return nullptr;
}

journal::Storage::FilePointer StillJournal::create(const std::string&, int& error) {
    error = EROFS;
    return nullptr;
}

int StillJournal::rename(const std::string&, const std::string&) { return EROFS; }
int StillJournal::unlink(const std::string&) { return EROFS; }
int StillJournal::sync_directory() { return 0; }

int StillJournal::list(std::vector<std::string>& names) {
    names = {SuperblockFile::name};
    for (const auto& [name, part] : parts_) names.push_back(name);
    return 0;
}

std::string StillJournal::path_of(const std::string& name) const {
    return name.empty() ? path_ : path_ + "/" + name;
}

}  // namespace shmbus::cli
