// Ringing a consumer of our own awake: for stop(), stop tokens and the end of a wait.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>

#include "base/parking.h"
#include "lane/inbox_file.h"

namespace shmbus::detail {

class SelfBell {
public:
    // Throws SetupError.
    SelfBell(const base::File& inbox, std::uint16_t slot)
        : view_(inbox), bell_(&view_.doorbell().bells[slot]) {}
    // Any thread; does nothing that a signal handler may not do. Who is just about to sleep may
    // miss it, and looks around after 50 ms at the latest.
    void ring() noexcept {
        // RUNG: whatever the caller wants seen. Other end: Consumer::rung.
        bell_->fetch_add(1, std::memory_order_release);
        base::wake(*bell_, 1);
    }

private:
    lane::InboxView view_;
    base::StdWord<std::uint32_t>* bell_;
};

}  // namespace shmbus::detail
