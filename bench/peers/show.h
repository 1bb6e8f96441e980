// `shm-bench peers`: which peers there are, what they promise, and one of them tried alone.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

namespace shmbus::bench {

struct PeersRequest {
    std::string name;    // part of a peer's name; empty: only list
    double seconds = 0;  // of each scenario; 0: one second
    bool json = false;
};

// Returns the exit status: 1 if a message was lost or damaged or the peer is absent, 2 for a name
// that none has.
int show_peers(const PeersRequest& request);

}  // namespace shmbus::bench
