// The machine and the build that figures were made with.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "run/results.h"

namespace shmbus::bench {

Environment this_environment();

// Now, as 2026-11-26T06:00:00Z.
std::string utc_now();

}  // namespace shmbus::bench
