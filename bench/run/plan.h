// Which comparisons a run makes, who takes part in each, and how long each may take.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "peer.h"
#include "rounds.h"
#include "run/run.h"

namespace shmbus::bench {

struct Step {
    Comparison comparison;
    Budget budget;
};

struct Plan {
    std::vector<Step> steps;
    std::size_t wanted_rounds = 5;
    std::uint64_t seed = 0;
    std::chrono::seconds about{0};  // how long all of it will take
};

// Throws std::invalid_argument naming a scenario that does not exist.
Plan plan_of(const RunOptions& options, const std::vector<Peer>& peers);

}  // namespace shmbus::bench
