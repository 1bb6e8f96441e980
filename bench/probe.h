// The raw cache-line round trip: how far apart the two cores are at this instant.
//
// Machines are shared and move their virtual cores between near and far physical ones, a factor of
// four within minutes. A figure means something only beside this one, taken in the same second.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"
#include "histogram.h"

#include <chrono>
#include <memory>
#include <string>

namespace shmbus::bench {

// How a process waits for the other one's line. Which is faster depends on the machine: two
// hardware threads of one core gain from relaxing, two cores lose by it.
enum class Spin { relaxed, tight };

struct RoundTrips {
    std::shared_ptr<const Histogram> latency;  // ticks
    std::string integrity = "ok";
};

// Two processes on two cores bounce a number between two lines for `span`, or between 2, 8 or 64
// lines each way in turn.
inline constexpr unsigned most_raw_lines = 64;
RoundTrips raw_round_trips(std::chrono::milliseconds span, Spin spin, unsigned lines = 1);

// The p50 of a short run, in nanoseconds. Throws std::runtime_error if it cannot be measured.
double probe_ns();

// The line between near and far: between what two hardware threads or neighbouring cores need
// (50 to 150 ns) and what cores on other dies or sockets need (from 300 ns).
Placement placement_of(double probe_ns);

// The raw round trip as a limit, tuned to the better way of waiting.
Contestant raw_round_trip(unsigned lines = 1);

}  // namespace shmbus::bench
