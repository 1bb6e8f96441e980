// The files of a journal as they were at one moment, while a daemon may be writing to them.
//
// What is seen is what a power cut at about that moment would have left behind, so everything that
// reads a journal after one can read it:
//
//   1  the superblock is read: what it says was on disk is on disk
//   2  all files are opened; again, until none came, went or was replaced meanwhile. What is
//      removed or merged later stays readable through its descriptor
//   3  of the segments, the newest first: one that was not begun is all zero from here on; of the
//      first that was begun, everything behind its last page that is not zero is zero from here on.
//      The batch with that page may be torn; those before it were complete, or it had not begun
//   4  segments before that one are finished and do not change
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"

namespace shmbus::cli {

struct StillPart {
    base::File file;
    std::uint64_t bytes = 0;
    std::uint64_t inode = 0;
    // Everything from here up to `shown_again` reads as zero.
    std::uint64_t hidden_from = ~std::uint64_t{0};
    std::uint64_t shown_again = ~std::uint64_t{0};
};
struct StillParts {
    std::vector<std::byte> superblock;
    std::map<std::string, std::shared_ptr<const StillPart>> files;
};
// Throws Trouble: there is no journal; SetupError: it cannot be read.
[[nodiscard]] StillParts still_parts(const std::string& path);

}  // namespace shmbus::cli
