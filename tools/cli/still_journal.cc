// Holding a journal still. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/still_journal.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "journal/superblock.h"

namespace shmbus::cli {

namespace {

using journal::Moved;
using journal::SuperblockFile;

class StillFile final : public journal::StorageFile {
public:
    explicit StillFile(std::shared_ptr<const StillPart> part) : part_(std::move(part)) {}
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
    std::shared_ptr<const StillPart> part_;
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

StillJournal::StillJournal(const std::string& path) : path_(path), parts_(still_parts(path)) {}

StillJournal::~StillJournal() = default;

int StillJournal::lock() { return 0; }

journal::Storage::FilePointer StillJournal::open(const std::string& name, int& error) {
    error = 0;
    if (name == SuperblockFile::name) return std::make_unique<StillBytes>(parts_.superblock);
    const auto found = parts_.files.find(name);
    if (found != parts_.files.end()) return std::make_unique<StillFile>(found->second);
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
    for (const auto& [name, part] : parts_.files) names.push_back(name);
    return 0;
}

std::string StillJournal::path_of(const std::string& name) const {
    return name.empty() ? path_ : path_ + "/" + name;
}

}  // namespace shmbus::cli
