// Dying, or being overtaken, at the n-th step: the count behind every shared word of the kill test.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <functional>

namespace shmbus::test {

// From here on this process's operations on shared words count, and before the `kill_at`-th it
// kills itself. Nothing counts until this was called.
void die_at_step(std::uint64_t kill_at) noexcept;
// The same, but before the `at`-th operation others do `what`, whose own operations do not count.
void interrupt_at_step(std::uint64_t at, std::function<void()> what);
// Nothing counts from here on. True when the step was reached.
bool end_of_steps() noexcept;

}  // namespace shmbus::test
