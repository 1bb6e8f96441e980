// A journal copied into an empty directory: what a backup and a restore are.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>

#include "cli/still_journal.h"

namespace shmbus::cli {

struct Copied {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
};
// Copies all of it, the superblock last: a copy without it is none, and reading one says so. `to`
// is made when it is not there, and refused when anything is in it. Synced when it returns; empty
// again when it throws. Throws Trouble, SetupError.
[[nodiscard]] Copied copy_journal(StillJournal& from, const std::string& to);

}  // namespace shmbus::cli
