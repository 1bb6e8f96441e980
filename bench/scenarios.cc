// All scenarios, in the order in which they are listed.
//
// SPDX-License-Identifier: BSL-1.0
#include "scenarios.h"

#include <utility>

namespace shmbus::bench {

std::vector<Scenario> all_scenarios() {
    std::vector<Scenario> all{limit_scenario()};
    for (Scenario& scenario : bus_scenarios()) all.push_back(std::move(scenario));
    for (Scenario& scenario : load_scenarios()) all.push_back(std::move(scenario));
    for (Scenario& scenario : disk_scenarios()) all.push_back(std::move(scenario));
    return all;
}

}  // namespace shmbus::bench
