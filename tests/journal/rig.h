// A journal on a simulated disk, and beside it an account of what it must hold.
//
// The account is kept by LSN: after a crash the journal must be exactly what it was after some
// commit, and the rig knows which ones are allowed: the last one that was acknowledged, or, while
// a commit is under way, also the one that it would lead to.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "journal/journal.h"
#include "sim_disk.h"

namespace shmbus::test {

inline constexpr std::uint64_t most_endpoints = 4;  // 1 to 4

struct Account {
    struct Line {
        std::vector<journal::Endpoint> to;
        std::vector<std::byte> payload;
        MessageId id;
        std::uint16_t type = 0;
    };
    std::map<std::uint64_t, std::shared_ptr<const Line>> messages;
    std::set<std::pair<journal::Endpoint, std::uint64_t>> settled;
    std::map<journal::ItemKey, std::vector<std::byte>> items;
    std::map<std::uint64_t, std::uint64_t> lanes;
    std::set<std::uint64_t> kept_ids;
    std::set<journal::Endpoint> gone;
};

// What is wrong with the journal, in one sentence; empty when all is well. Reads all messages.
[[nodiscard]] std::string differs(journal::Journal& journal, const Account& account);

// What a journal may be found to hold: all that was acknowledged, which ends at `lsn`; and while a
// commit is under way also what it leads to, which ends at any LSN above.
struct Allowed {
    std::uint64_t lsn = 0;
    std::shared_ptr<const Account> before;
    std::shared_ptr<const Account> after;  // null: no commit is under way

    [[nodiscard]] std::shared_ptr<const Account> at(std::uint64_t found) const {
        return found == lsn ? before : found > lsn ? after : nullptr;
    }
};

struct Weights {
    int publish = 10, settle = 8, put = 2, up_to = 2, forget = 0, commit = 6, maintain = 4,
        idle = 2, close = 0, kill = 0, crash = 0;
    bool one_is_slow = false;  // endpoint 1 settles hardly ever
};

class Rig {
public:
    explicit Rig(std::uint64_t seed, journal::Options options = small_options());

    // Small segments, so that a few messages go through all that ever happens.
    [[nodiscard]] static journal::Options small_options();

    SimDisk disk;
    std::unique_ptr<journal::Journal> journal;
    std::mt19937_64 random;
    journal::Options options;
    Allowed allowed;
    std::uint64_t commits = 0;

    // The options without what belongs to this rig.
    [[nodiscard]] journal::Options options_of_disk() const {
        journal::Options plain = options;
        plain.now_seconds = nullptr;
        plain.uptime_seconds = nullptr;
        plain.random = nullptr;
        return plain;
    }
    // False: it refused to come up.
    bool open();
    // One random step; what it does is drawn by the weights.
    void step(const Weights& weights);
    void publish();
    void settle(bool one_is_slow = false);
    void put();
    void up_to();
    void forget();
    void commit();
    // The process dies: what was written is there, synced or not.
    void kill();
    // The machine dies; what was not synced is decided by chance, or lost.
    void crash();
    void lose_unsynced();
    void close();
    // Empty: the journal is one of those allowed.
    [[nodiscard]] std::string check();

private:
    [[nodiscard]] std::size_t draw(std::size_t below) { return random() % below; }
    void agree_on(std::uint64_t lsn);
    void begin_batch();

    Account account_;  // with the open batch
    std::optional<journal::Journal::Mark> begin_;
    std::vector<std::pair<journal::Endpoint, std::uint64_t>> out_;  // handed out, not settled
    std::uint64_t next_id_ = 1;
};

}  // namespace shmbus::test
