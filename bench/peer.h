// What users reach for instead of the bus, as contestants: mechanisms, libraries, servers.
//
// Each is optional. One that cannot run here stays in the list and says why, so that a table shows
// a grey row instead of hiding it. `bench/peers/` has a file for each.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace shmbus::bench {

// What a peer promises in the configuration that is measured. All false: a plain way for bytes.
struct Guarantees {
    bool kill_safe = false;   // a process killed at any instant harms none of the others
    bool redelivery = false;  // what a dead consumer had taken goes to another one
    bool durable = false;     // what was acknowledged survives a power cut
    bool competing_consumers = false;  // several share one queue, each message goes to one
    bool zero_copy = false;   // can be written and read in place
};

struct Peer {
    std::string name;           // "Unix socket", "ZeroMQ ipc", ...
    std::string package;        // Debian package that brings it; empty if none is needed
    std::string version;        // of the library or server found
    std::string configuration;  // one line: how it is set up and why that is its fastest
    Guarantees guarantees;
    bool ranked_durable = true;         // false: acknowledges before its sync
    std::optional<std::string> absent;  // why it cannot run here
    // Each may be empty: not a job for this peer.
    std::function<Contestant(std::size_t bytes)> pingpong, oneway;
    std::function<Contestant()> wakeup;
    std::function<Contestant(std::size_t in_flight)> durable;  // 256 B
    std::function<Contestant(std::size_t subscribers)> fanout;  // 32 B
    // A stream handed over 64 messages at a time, where the interface takes several at once: what
    // stands beside the bus's send_batch.
    std::function<Contestant(std::size_t bytes)> packed;
};

// All of them, in the order in which they are listed; the absent ones, too. Cheap: nothing is
// started.
std::vector<Peer> all_peers();

}  // namespace shmbus::bench
