// How far a journal has got, read off its files while a daemon may be writing to them.
//
// Opens them for reading only and needs no lock. What is read is checked as a recovery would, so a
// half-written block is not taken for more than what stood there before.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "journal/format.h"

namespace shmbus::look {

struct JournalPlaces {
    // Whole batches stand in the files up to here, synced or about to be; further ones may follow
    // where `written_is_at_least`: no more than a few MiB are read.
    std::optional<journal::Place> written;
    bool written_is_at_least = false;
    // On disk for certain: what the superblock said, and when; it comes a little later.
    std::optional<journal::Place> synced;
    std::uint64_t synced_at_s = 0;  // since 1970
    // What the youngest checkpoint stands for, and the first segment that it still needs.
    std::optional<journal::Place> checkpointed;
    std::uint64_t oldest_needed = 0;
    std::string trouble;  // why something of it cannot be told
};

// Of the journal in this directory; nothing where there is none.
[[nodiscard]] JournalPlaces journal_places(const std::string& directory);

}  // namespace shmbus::look
