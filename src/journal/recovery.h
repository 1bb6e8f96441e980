// Reads a journal and says what it holds, what is torn and what is damaged. Changes nothing.
//
// The journal's thread at start, and the inspecting command at any time. Everything is decided
// from evidence: a batch that is not valid is a torn tail only if nothing on disk says that it was
// ever synced; otherwise it is damage, and is located record by record.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "journal/checkpoint.h"
#include "journal/ledger.h"
#include "journal/report.h"
#include "journal/storage.h"
#include "journal/superblock.h"

namespace shmbus::journal {

enum class Depth : std::uint8_t {
    since_checkpoint,  // what a start needs
    everything,        // every byte of every file
};

struct Recovered {
    Superblock superblock;
    Ledger ledger;
    Report report;
    std::vector<std::uint64_t> files;         // of all segments
    std::vector<std::uint64_t> spares;        // segments made and never written
    std::uint64_t newest_segment = 0;         // of any file that is there or was
    std::vector<CheckpointHead> checkpoints;  // good ones, by generation
    std::uint64_t newest_checkpoint = 0;      // of any file that is there, good or not
    std::vector<std::string> leftovers;       // unfinished, or replaced by a merged one
    bool tail_is_zero = false;                // behind the end of the last segment
};

// Throws SetupError when the files cannot be read at all or are another version's.
// `accepted`: losses that the operator accepts now. `on_record`: see inspect.
[[nodiscard]] Recovered recover(Storage& storage, const LedgerLimits& limits, Depth depth,
                                const Ranges& accepted, const OnRecord& on_record = {});

}  // namespace shmbus::journal
