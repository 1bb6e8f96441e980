// Round trips: what all of them measure, and how a crew that made some is told of.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "cargo.h"
#include "contestant.h"
#include "crew.h"
#include "histogram.h"

#include <chrono>
#include <memory>

namespace shmbus::bench {

// In memory that the crew shares.
struct Trips {
    Histogram latency;
    Tally tally;
};

// Runs the crew, whose members have ended within `limit`.
inline Sample run_trips(Crew& crew, const Trips& trips, std::chrono::milliseconds limit) {
    Sample sample;
    sample.integrity = crew.run(limit);
    if (sample.integrity == "ok") sample.integrity = trips.tally.integrity();
    sample.latency = std::make_shared<Histogram>(trips.latency);
    return sample;
}

}  // namespace shmbus::bench
