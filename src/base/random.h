// Random numbers from the kernel: salts, tokens, ids that nobody can guess.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>

namespace shmbus::base {

// Never 0, so that 0 can mean "none" in zeroed memory. Throws SetupError when the kernel has no
// random numbers to give. A system call per number; for set-up only.
[[nodiscard]] std::uint64_t random_u64();

}  // namespace shmbus::base
