// This program's own operator new: counts what a thread allocates, and fails when told to.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>

namespace shmbus::test {

struct OwnNew {
    std::uint64_t allocations = 0;
    std::uint64_t fails_at = 0;  // counted down; 0: none fails
};
// Of this thread.
[[nodiscard]] OwnNew& own_new() noexcept;

}  // namespace shmbus::test
