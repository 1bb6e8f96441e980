// This program's own operator new: counts what a thread allocates, fails when told to, and lets
// somebody act at any allocation.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>

namespace shmbus::test {

struct OwnNew {
    std::uint64_t allocations = 0;
    std::uint64_t fails_at = 0;  // counted down; 0: none fails
    bool lasts = false;          // what follows the one that failed fails as well
    bool has_failed = false;
    std::uint64_t acts_at = 0;  // counted down, likewise: `act` is called before that one
    void (*act)() = nullptr;
};
// Of this thread.
[[nodiscard]] OwnNew& own_new() noexcept;

}  // namespace shmbus::test
