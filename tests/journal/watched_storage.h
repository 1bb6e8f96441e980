// A real directory whose syncs are watched: one that failed must not be asked again for the same
// pages, because the kernel answers 0 then and has forgotten them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "disk_life.h"
#include "journal/storage.h"

namespace journal_tests {

class WatchedFile final : public shmbus::journal::StorageFile {
public:
    // `has_failed`: since its last sync nothing was written to the file, and that sync failed.
    WatchedFile(std::unique_ptr<StorageFile> real, Account& account, bool& has_failed)
        : real_(std::move(real)), account_(account), has_failed_(has_failed) {}
    shmbus::journal::Moved read(std::span<std::byte> into, std::uint64_t offset) override {
        return real_->read(into, offset);
    }
    shmbus::journal::Moved write(std::span<const std::byte> from, std::uint64_t offset) override {
        has_failed_ = false;
        // Less than a block goes through the cache.
        if (account_.through_cache) from = from.first(std::min<std::size_t>(from.size(), 2'048));
        return real_->write(from, offset);
    }
    int sync() override {
        if (has_failed_) ++account_.repeated_syncs;
        const int error = real_->sync();
        if (error != 0) ++account_.bad_syncs;
        has_failed_ = error != 0;
        return error;
    }
    int allocate(std::uint64_t bytes) override { return real_->allocate(bytes); }
    int forget_cached() override { return real_->forget_cached(); }
    shmbus::journal::Moved size() override { return real_->size(); }

private:
    std::unique_ptr<StorageFile> real_;
    Account& account_;
    bool& has_failed_;
};

class WatchedStorage final : public shmbus::journal::Storage {
public:
    WatchedStorage(const std::string& path, Account& account) : real_(path), account_(account) {}
    int lock() override { return real_.lock(); }
    FilePointer open(const std::string& name, int& error) override {
        return watch(name, real_.open(name, error));
    }
    FilePointer create(const std::string& name, int& error) override {
        failed_[name] = false;
        return watch(name, real_.create(name, error));
    }
    int rename(const std::string& from, const std::string& to) override {
        failed_[to] = failed_[from];
        return real_.rename(from, to);
    }
    int unlink(const std::string& name) override { return real_.unlink(name); }
    int sync_directory() override { return real_.sync_directory(); }
    int list(std::vector<std::string>& names) override { return real_.list(names); }
    std::string path_of(const std::string& name) const override { return real_.path_of(name); }

private:
    FilePointer watch(const std::string& name, FilePointer real) {
        return real ? std::make_unique<WatchedFile>(std::move(real), account_, failed_[name])
                    : nullptr;
    }
    shmbus::journal::RealStorage real_;
    Account& account_;
    std::map<std::string, bool> failed_;
};

}  // namespace journal_tests
