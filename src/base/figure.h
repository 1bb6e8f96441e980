// A figure in shared memory that one thread writes and anybody reads.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <cstdint>

namespace shmbus::base {

// Adds without a locked operation, for the one thread that writes this word.
template <class Word>
[[gnu::always_inline]] inline void add_alone(Word& figure, std::uint64_t more) noexcept {
    // relaxed, both: nothing is ordered by it.
    figure.store(figure.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

}  // namespace shmbus::base
