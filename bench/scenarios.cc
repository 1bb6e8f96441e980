// All scenarios, in the order in which they are listed.
//
// SPDX-License-Identifier: BSL-1.0
#include "scenarios.h"

namespace shmbus::bench {

std::vector<Scenario> all_scenarios() {
    return {limit_scenario()};
}

}  // namespace shmbus::bench
