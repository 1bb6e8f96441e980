// A lane into the journal as those of its process see it who wait for receipts.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/receipt.h>

#include <cstdint>
#include <memory>

#include "bus/thread_place.h"
#include "lane/receipt.h"

namespace shmbus::detail {

class BusCore;

// Shared by the thread that writes the lane and every receipt of it. Any thread. In a forked child
// the lane is not mapped: nothing is known there of what the parent has sent.
class ReceiptLane {
public:
    // Throws SetupError.
    ReceiptLane(const base::File& lane, std::weak_ptr<BusCore> whose)
        : view(lane), bus(std::move(whose)) {}
    [[nodiscard]] bool is_in_child() const noexcept {
        // relaxed: changes only in a child, before anything else runs there.
        return fork_count().load(std::memory_order_relaxed) != forks_when_made_;
    }
    lane::ReceiptView view;
    std::weak_ptr<BusCore> bus;

private:
    // relaxed: see is_in_child.
    std::uint32_t forks_when_made_ = fork_count().load(std::memory_order_relaxed);
};

}  // namespace shmbus::detail
