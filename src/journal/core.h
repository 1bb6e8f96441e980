// What the journal's parts share: the ledger, the end of the log, the files that are open.
//
// The journal's thread. The open batch, the upkeep and the feeds work on it; each says what it
// changes.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "journal/checkpoint.h"
#include "journal/feed.h"
#include "journal/journal.h"
#include "journal/segment_maker.h"
#include "journal/superblock.h"

namespace shmbus::journal {

struct Core {
    Core(Storage& where, const Options& how) : storage(where), options(how), ledger(how.ledger) {}

    Storage& storage;
    Options options;
    Ledger ledger;
    Report report;
    Place end;  // everything before it is durable
    Superblock superblock;
    SuperblockFile superblock_file;
    Spare current;                     // where batches go
    bool current_is_finished = false;  // a write into it has failed, or it was closed
    SegmentBegin::Why why_next = SegmentBegin::Why::full;  // the next segment is begun
    std::deque<Spare> spares;                              // by number
    std::uint64_t newest_segment = 0;
    std::set<std::uint64_t> files;            // numbers of all segments' files
    std::vector<CheckpointHead> checkpoints;  // the kept ones, oldest first
    std::uint64_t newest_checkpoint = 0;
    std::uint64_t written_since_checkpoint = 0;
    std::uint64_t last_batch_bytes = 0;
    bool messages_wait = false;  // one was refused since the last spare was made
    std::uint64_t failed_writes = 0;
    std::map<Endpoint, Feed> feeds;
    std::string stopped;  // why, or empty
    std::string trouble;  // of the upkeep
    std::uint64_t own_from = 0;     // the journal's own clock when it was opened
    std::uint64_t uptime_from = 0;  // the machine's uptime then

    [[nodiscard]] std::uint64_t now_seconds() const;  // since 1970; may step
    // The journal's own clock goes on from there. Time passes for it while it is open, whatever
    // happens to the system's clock.
    void start_clock(std::uint64_t own_seconds);
    [[nodiscard]] std::uint64_t own_seconds() const;
    [[nodiscard]] std::uint64_t random() const;
    [[nodiscard]] std::uint64_t segment_bytes() const noexcept { return superblock.segment_bytes; }
    // Where batches may stand in a plain segment.
    [[nodiscard]] std::uint64_t data_end() const noexcept { return segment_bytes() - block_bytes; }
    [[nodiscard]] std::uint64_t most_batch() const noexcept {
        return std::min(options.most_batch_bytes, segment_bytes() / 2);
    }
    [[nodiscard]] SegmentHead next_segment_head() const;
    // Null: the endpoint is not known.
    [[nodiscard]] Feed* feed(Endpoint endpoint);
    void stop(const std::string& why) {
        if (stopped.empty()) stopped = why;
    }
};

// What the system calls this errno.
[[nodiscard]] std::string words_of(int error);

}  // namespace shmbus::journal
