// A directory whose disk can be made full or broken from another process, and buses that have one.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <new>
#include <string>

#include <sys/mman.h>

#include "journal/storage.h"
#include "served_bus.h"

namespace durable_tests {

// In memory that the test and its daemon share. 0: fine, else the errno that is answered.
struct Weather {
    std::atomic<int> allocate{0};
    std::atomic<std::uint64_t> room{~std::uint64_t{0}};  // bytes of all files; beyond it ENOSPC
    std::atomic<std::uint64_t> allocations{0};  // that were asked for
    std::atomic<int> write{0};
    std::atomic<int> sync{0};

    static Weather& make() {
        void* const memory = ::mmap(nullptr, sizeof(Weather), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        return *new (memory) Weather;
    }
};

class FlakyFile final : public shmbus::journal::StorageFile {
public:
    FlakyFile(std::unique_ptr<StorageFile> real, std::string directory, Weather& weather)
        : real_(std::move(real)), directory_(std::move(directory)), weather_(weather) {}
    shmbus::journal::Moved read(std::span<std::byte> into, std::uint64_t offset) override {
        return real_->read(into, offset);
    }
    shmbus::journal::Moved write(std::span<const std::byte> from, std::uint64_t offset) override {
        if (const int error = weather_.write) return {0, error};
        return real_->write(from, offset);
    }
    int sync() override {
        const int error = weather_.sync;
        return error != 0 ? error : real_->sync();
    }
    int allocate(std::uint64_t bytes) override {
        ++weather_.allocations;
        if (const int error = weather_.allocate) return error;
        std::uint64_t all = bytes;
        for (const auto& file : std::filesystem::directory_iterator(directory_))
            all += file.file_size();
        return all > weather_.room ? ENOSPC : real_->allocate(bytes);
    }
    int forget_cached() override { return real_->forget_cached(); }
    shmbus::journal::Moved size() override { return real_->size(); }

private:
    std::unique_ptr<StorageFile> real_;
    std::string directory_;
    Weather& weather_;
};

class FlakyStorage final : public shmbus::journal::Storage {
public:
    FlakyStorage(const std::string& path, Weather& weather)
        : real_(path), path_(path), weather_(weather) {}
    int lock() override { return real_.lock(); }
    FilePointer open(const std::string& name, int& error) override {
        return wrap(real_.open(name, error));
    }
    FilePointer create(const std::string& name, int& error) override {
        return wrap(real_.create(name, error));
    }
    int rename(const std::string& from, const std::string& to) override {
        return real_.rename(from, to);
    }
    int unlink(const std::string& name) override { return real_.unlink(name); }
    int sync_directory() override { return real_.sync_directory(); }
    int list(std::vector<std::string>& names) override { return real_.list(names); }
    std::string path_of(const std::string& name) const override { return real_.path_of(name); }

private:
    FilePointer wrap(FilePointer real) {
        return real ? std::make_unique<FlakyFile>(std::move(real), path_, weather_) : nullptr;
    }
    shmbus::journal::RealStorage real_;
    std::string path_;
    Weather& weather_;
};

// From the next serve() on.
inline Weather& give_weather(ServedBus& served) {
    Weather& weather = Weather::make();
    served.storage = [&served, shared = &weather] {
        return std::make_unique<FlakyStorage>(served.journal(), *shared);
    };
    return weather;
}

}  // namespace durable_tests
