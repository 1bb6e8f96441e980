// The two processes of a round trip of 32 bytes over the bus, for scenarios that put a third one
// beside them. Each lines up three times: endpoints are there; go; the trips are over.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "bus_house.h"
#include "crew.h"
#include "trips.h"

#include <chrono>
#include <functional>

namespace shmbus::bench {

// `at_end` is called after the last trip, before the last line-up.
void ask_32(const BusHouse& house, StartLine& line, std::chrono::milliseconds span, Trips& trips,
            const std::function<void()>& at_end);
void answer_32(const BusHouse& house, StartLine& line);

}  // namespace shmbus::bench
