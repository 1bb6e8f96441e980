// What rounds of contestants become: rows of figures, and the systems that took part.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "rounds.h"
#include "run/plan.h"
#include "run/results.h"

namespace shmbus::bench {

GroupResult group_of(const Comparison& comparison, const std::vector<Round>& rounds);

std::vector<System> systems_of(const Plan& plan, const std::vector<Peer>& peers);

// Takes out of the ranking who acknowledges before its sync: another thing is measured there.
void mark_unranked(GroupResult& group, const std::vector<System>& systems);

}  // namespace shmbus::bench
