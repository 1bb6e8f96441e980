// A disk in memory that keeps what was synced apart from what was not, and can fail at any call.
//
// One thread. A crash may lose, tear or misplace every unsynced block by itself and undo every
// unsynced step of the directory by itself; what was synced stays. Blocks are shared between the
// images of one disk, so a snapshot costs little and a disk can be told from another by its hash.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "journal/format.h"
#include "journal/storage.h"

namespace shmbus::test {

struct SimBlock {
    journal::Block bytes{};
    std::uint64_t hash = 0;
};
using SimBlockPointer = std::shared_ptr<const SimBlock>;  // null: zeros

struct SimContent {
    std::vector<SimBlockPointer> blocks;
    std::uint64_t bytes = 0;
};

// A write to one block that no sync has covered yet. `data` is the block as it would be after it.
struct SimPending {
    std::uint64_t block = 0;
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    std::uint64_t grows_to = 0;  // not 0: no write, the file gets this size
    SimBlockPointer data;
};

struct SimInode {
    SimContent cached;
    SimContent durable;
    std::vector<SimPending> pending;
    bool write_once = false;  // a synced block that holds something is never written again
};

struct SimStep {
    enum class What : std::uint8_t { link, unlink, rename } what{};
    std::string name;
    std::string to;
    std::uint64_t inode = 0;
};

// All that a disk is: copy it to look at it later.
struct DiskState {
    std::map<std::uint64_t, SimInode> inodes;
    std::map<std::string, std::uint64_t> names;
    std::map<std::string, std::uint64_t> durable_names;
    std::vector<SimStep> steps;  // of the directory, not synced
    std::uint64_t next_inode = 1;

    // Everything that is still open to chance.
    [[nodiscard]] std::size_t units() const;
    // Of what is durable.
    [[nodiscard]] std::uint64_t hash() const;
    [[nodiscard]] std::uint64_t used_bytes() const;
    [[nodiscard]] std::vector<std::byte> content(const std::string& name) const;
    void set_content(const std::string& name, std::span<const std::byte> bytes);
    // One block changed in place, synced, whatever stands there.
    void flip_bit(const std::string& name, std::uint64_t bit);
};

enum class Fate : std::uint8_t { kept, lost, torn_1, torn_512, torn_block, misplaced };
using Chooser = std::function<Fate(std::size_t unit, const SimPending* write)>;

// The disk as it is found after the power came back: all synced, nothing open to chance.
[[nodiscard]] DiskState after_crash(const DiskState& before, const Chooser& choose,
                                    std::mt19937_64& random);
// Lets the dice choose, with odds that change from state to state.
[[nodiscard]] DiskState after_random_crash(const DiskState& before, std::mt19937_64& random);
// As kill -9 of everything leaves it: all that was written is there, synced or not.
[[nodiscard]] DiskState after_kill(const DiskState& before);

struct Fault {
    std::uint64_t call = 0;  // counted from 1; 0: none
    int error = 0;           // 0: a write is short, the next call answers ENOSPC
    bool for_ever = false;
};

class SimDisk final : public journal::Storage {
public:
    SimDisk() = default;
    explicit SimDisk(DiskState begin) : state(std::move(begin)) {}

    DiskState state;
    std::uint64_t capacity_bytes = UINT64_MAX;
    std::uint64_t calls = 0;
    std::uint64_t begun_writes = 0;  // of batches
    std::uint64_t zeros = 0;         // bytes of them that were begun
    std::uint64_t read_bytes = 0;
    std::map<std::string, std::uint64_t> renamed;  // how often, by the old name
    Fault fault;
    bool locked_by_other = false;
    std::mt19937_64 random{1};
    std::function<void()> before_change;  // before every call that may change the disk
    std::vector<std::string> violations;  // of the rules that a write-ahead log must keep

    int lock() override;
    FilePointer open(const std::string& name, int& error) override;
    FilePointer create(const std::string& name, int& error) override;
    int rename(const std::string& from, const std::string& to) override;
    int unlink(const std::string& name) override;
    int sync_directory() override;
    int list(std::vector<std::string>& names) override;
    std::string path_of(const std::string& name) const override { return "sim/" + name; }

private:
    friend class SimFile;
    // 0, or the error that this call answers.
    [[nodiscard]] int next_call(bool changes, bool* is_short = nullptr);
    [[nodiscard]] SimInode& inode(std::uint64_t number) { return state.inodes.at(number); }
    void write_block(SimInode& file, std::uint64_t offset, std::span<const std::byte> from);
    bool now_full_ = false;
};

}  // namespace shmbus::test
