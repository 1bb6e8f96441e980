// A lane into the journal as those of its process see it who wait for receipts.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/receipt.h>

#include <memory>

#include "lane/receipt.h"

namespace shmbus::detail {

class BusCore;

// Shared by the thread that writes the lane and every receipt of it. Any thread.
class ReceiptLane {
public:
    // Throws SetupError.
    ReceiptLane(const base::File& lane, std::weak_ptr<BusCore> whose)
        : view(lane), bus(std::move(whose)) {}
    lane::ReceiptView view;
    std::weak_ptr<BusCore> bus;
};

}  // namespace shmbus::detail
