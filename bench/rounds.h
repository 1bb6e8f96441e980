// Rounds: contestant and limit by turns, a probe before and after each, and what is kept of them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <chrono>
#include <cstddef>

namespace shmbus::bench {

struct Budget {
    std::chrono::milliseconds slice;  // how long one contestant runs in one round
    std::chrono::milliseconds total;  // no round begins after this
    // Enough rounds; 0 goes on until `total`.
    std::size_t wanted_rounds = 5;
};

// The budget of one comparison when `comparisons` of them share `total`.
Budget share_of(std::chrono::milliseconds total, std::size_t comparisons, bool until_total);

// Runs one comparison. A round is dropped when the probes around it differ by more than 15 %, or
// when its probe is more than 30 % off the median of all: the cores were moved.
Report compare(const Comparison& comparison, const Budget& budget);

}  // namespace shmbus::bench
