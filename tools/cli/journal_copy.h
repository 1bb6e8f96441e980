// Copies the files of a journal as they were at one moment, while a daemon may be writing to them.
//
// The copy is what a power cut at about that moment would have left behind, so everything that
// reads a journal after one can read it:
//
//   1  the superblock is read: what it says was on disk is on disk
//   2  all files are opened; again, until none came, went or was replaced meanwhile
//   3  checkpoints are copied, which never change
//   4  segments are copied, the newest first: an older one then holds everything that a newer one
//      follows, and what is torn at the end of the newest was not acknowledged when it was read
//   5  the superblock of step 1 is written last: a copy without it is none, and reading one says so
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>

namespace shmbus::cli {

struct Copied {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
};

// `to`: a directory of ours; made when it is not there, refused when anything is in it. Everything
// is synced when it returns. Throws SetupError or Trouble.
[[nodiscard]] Copied copy_journal(const std::string& from, const std::string& to);

}  // namespace shmbus::cli
