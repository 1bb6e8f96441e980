// The one door between the journal and a disk: a directory of files, every answer an errno.
//
// Called by the journal's one thread. The real one is RealStorage; tests put a simulated disk in
// its place that loses, tears and misplaces what was not synced and fails any call. Nothing in
// here throws: a failing disk is a case to handle, not an exception.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace shmbus::journal {

// How many bytes were moved, and the errno that stopped it or 0.
struct Moved {
    std::uint64_t bytes = 0;
    int error = 0;
};

class StorageFile {
public:
    StorageFile() = default;
    StorageFile(const StorageFile&) = delete;
    StorageFile& operator=(const StorageFile&) = delete;
    virtual ~StorageFile() = default;

    // Short only at the end of the file.
    [[nodiscard]] virtual Moved read(std::span<std::byte> into, std::uint64_t offset) = 0;
    // May be short without an error.
    [[nodiscard]] virtual Moved write(std::span<const std::byte> from, std::uint64_t offset) = 0;
    // Begins to write all of `from`, which stays as it is until finish_writes(): the journal goes
    // on meanwhile. Nothing else is written to this file before that. Here it is done at once.
    virtual void start_write(std::span<const std::byte> from, std::uint64_t offset);
    // The same with zeros, of which the caller needs none. Not between a start_write() and its end.
    virtual void start_zeros(std::uint64_t bytes, std::uint64_t offset);
    // Waits for what was begun: 0, or why some of it was not written.
    [[nodiscard]] virtual int finish_writes();
    // fdatasync. After an answer other than 0 nothing written since the last sync may be believed
    // to be on disk, whatever a later call answers.
    [[nodiscard]] virtual int sync() = 0;
    // Reserves and grows to this size.
    [[nodiscard]] virtual int allocate(std::uint64_t bytes) = 0;
    // The next read sees the disk and not memory, as far as that can be had.
    [[nodiscard]] virtual int forget_cached() = 0;
    [[nodiscard]] virtual Moved size() = 0;

private:
    int error_of_started_ = 0;
};

class Storage {
public:
    using FilePointer = std::unique_ptr<StorageFile>;

    Storage() = default;
    Storage(const Storage&) = delete;
    Storage& operator=(const Storage&) = delete;
    virtual ~Storage() = default;

    // Held until this object goes. EWOULDBLOCK: somebody else has it.
    [[nodiscard]] virtual int lock() = 0;
    // Null and the errno in `error`. Only regular files of ours are opened; created ones are new.
    [[nodiscard]] virtual FilePointer open(const std::string& name, int& error) = 0;
    [[nodiscard]] virtual FilePointer create(const std::string& name, int& error) = 0;
    [[nodiscard]] virtual int rename(const std::string& from, const std::string& to) = 0;
    [[nodiscard]] virtual int unlink(const std::string& name) = 0;
    [[nodiscard]] virtual int sync_directory() = 0;
    [[nodiscard]] virtual int list(std::vector<std::string>& names) = 0;
    // For messages.
    [[nodiscard]] virtual std::string path_of(const std::string& name) const = 0;
};

// Writes all or answers why not. A write that moves nothing and gives no reason counts as EIO.
[[nodiscard]] int write_all(StorageFile& file, std::span<const std::byte> from,
                            std::uint64_t offset);
// Fills `into`; a file that ends before answers EIO.
[[nodiscard]] int read_all(StorageFile& file, std::span<std::byte> into, std::uint64_t offset);

// A directory of a real file system, opened and checked by the constructor: it must belong to
// this user (or root) and let nobody else in. `make`: makes it when it is not there. Throws
// SetupError.
class RealStorage final : public Storage {
public:
    enum class Mode : std::uint8_t { make, must_exist };
    explicit RealStorage(const std::string& path, Mode mode = Mode::make);
    ~RealStorage() override;

    int lock() override;
    FilePointer open(const std::string& name, int& error) override;
    FilePointer create(const std::string& name, int& error) override;
    int rename(const std::string& from, const std::string& to) override;
    int unlink(const std::string& name) override;
    int sync_directory() override;
    int list(std::vector<std::string>& names) override;
    std::string path_of(const std::string& name) const override;

private:
    struct Inside;
    std::unique_ptr<Inside> inside_;
};

}  // namespace shmbus::journal
