// Ways to append to a file and have it on disk: what the journal chose among.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <array>
#include <cstddef>

namespace shmbus::bench {

enum class AppendWay {
    cached,       // pwrite through the page cache, fdatasync
    direct,       // O_DIRECT pwrite, fdatasync
    direct_sync,  // O_DIRECT|O_DSYNC pwrite
    submitted,    // O_DIRECT by io_submit in pieces, fdatasync
    submitted_large,  // the same out of pages of 2 MiB, as the journal writes large batches
    ring,         // O_DIRECT by io_uring in pieces, the sync linked behind the last one
};
inline constexpr std::array append_ways{AppendWay::cached, AppendWay::direct,
                                        AppendWay::direct_sync, AppendWay::submitted,
                                        AppendWay::submitted_large, AppendWay::ring};

// Into a file that was filled with zeros before, `bytes` at once, one after the other. Ways past
// the cache copy them into memory that is aligned first, as the journal must; nothing of the file
// is in the cache when its turn comes, as in a new segment. The latency is that of an append, the
// rate counts bytes. Where the kernel or the file system refuses the way, the sample's mark says
// so.
Contestant append_by(AppendWay way, std::size_t bytes);

}  // namespace shmbus::bench
