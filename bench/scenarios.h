// All scenarios, in the order in which they are listed.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <vector>

namespace shmbus::bench {

Scenario limit_scenario();

std::vector<Scenario> bus_scenarios();

std::vector<Scenario> load_scenarios();

std::vector<Scenario> disk_scenarios();

std::vector<Scenario> all_scenarios();

}  // namespace shmbus::bench
