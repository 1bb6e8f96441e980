// Which boot of the kernel this is: files in memory do not outlive it, and what lies on a disk from
// an earlier one speaks of processes that are all gone.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>

namespace shmbus::directory {

struct BootId {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend bool operator==(const BootId&, const BootId&) = default;
};

// All zero when the kernel does not tell.
[[nodiscard]] BootId this_boot() noexcept;

}  // namespace shmbus::directory
