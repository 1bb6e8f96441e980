// Two blocks that remember, a little late, how far the journal has got.
//
// The journal's thread. Evidence, not truth: a recovery asks it whether something that is missing
// was once synced. Written in turn, so that a torn write leaves the other; after a failed write
// no more is written until the journal is opened again, for the older evidence still holds.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "journal/format.h"
#include "journal/storage.h"

namespace shmbus::journal {

struct Superblock {
    static constexpr std::uint64_t right_magic = 0x314252505553424D;  // "MBSUPRB1"

    std::uint64_t magic = right_magic;
    std::uint32_t version = format_version;
    std::uint32_t is_clean = 0;  // closed in peace: behind `end` there is nothing
    std::uint64_t journal_id = 0;
    std::uint64_t generation = 0;  // of this block; slot = generation % 2
    Place end;                     // everything up to here is synced
    std::uint64_t segment_bytes = 0;
    std::uint64_t newest_segment = 0;     // files up to this number have been made
    std::uint64_t newest_checkpoint = 0;  // generation; 0: none yet
    std::uint64_t seconds = 0;            // since 1970, when it was written
};
static_assert(sizeof(Superblock) == 96);

class SuperblockFile {
public:
    static constexpr const char* name = "superblock";

    struct Found {
        std::optional<Superblock> newest;
        bool there = false;
        int error = 0;
        std::uint32_t wrong_version = 0;  // of a slot whose sum is right
        std::array<bool, 2> damaged{};    // a slot that holds something that is no superblock
    };
    [[nodiscard]] static Found read(Storage& storage);
    // Makes the file for a new journal: written whole, synced, then named. Returns an errno.
    [[nodiscard]] static int make(Storage& storage, Superblock first);

    // Opens it for writing. Returns an errno.
    [[nodiscard]] int open(Storage& storage);
    // The next generation, into the older slot, and a sync. Returns an errno; after one that is
    // not 0 nothing more is written.
    int write(Superblock& next);

private:
    Storage::FilePointer file_;
    bool given_up_ = false;
};

}  // namespace shmbus::journal
