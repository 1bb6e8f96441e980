// This program's own clock_gettime: counts how often a thread looks at a clock.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>

namespace shmbus::test {

// Of this thread, so far.
[[nodiscard]] std::uint64_t clock_readings() noexcept;

}  // namespace shmbus::test
