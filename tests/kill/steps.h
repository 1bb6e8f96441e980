// Dying at the n-th step: the count behind every shared word of the kill test.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>

namespace shmbus::test {

// From here on this process's operations on shared words count, and before the `kill_at`-th it
// kills itself. Nothing counts until this was called.
void die_at_step(std::uint64_t kill_at) noexcept;
// Operations counted so far.
[[nodiscard]] std::uint64_t steps_done() noexcept;

}  // namespace shmbus::test
