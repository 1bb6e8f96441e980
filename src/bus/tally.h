// A counter that one thread writes and any thread reads.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <cstdint>

#include "base/figure.h"

namespace shmbus::detail {

class Tally {
public:
    void add(std::uint64_t more) noexcept { base::add_alone(count_, more); }
    void set(std::uint64_t count) noexcept {
        count_.store(count, std::memory_order_relaxed);  // relaxed: a figure to show
    }
    [[nodiscard]] std::uint64_t read() const noexcept {
        return count_.load(std::memory_order_relaxed);  // relaxed: as above
    }

private:
    std::atomic<std::uint64_t> count_{0};
};

}  // namespace shmbus::detail
