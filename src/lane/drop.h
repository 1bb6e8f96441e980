// Letting the oldest messages of a full lane go: the writer takes them on the readers' behalf.
//
// Used by the lane's writing thread, for subscriptions whose policy is drop_oldest. It moves the
// head as a consumer would, but names no hand; what a consumer holds is never touched.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <cstdint>

#include "base/fault_guard.h"
#include "base/file.h"
#include "base/mapping.h"
#include "lane/writer.h"

namespace shmbus::lane {

class Dropper {
public:
    // Maps the readers' page of the lane and the hands of the inbox for writing, which other
    // writers never need. Throws SetupError.
    Dropper(const base::File& lane, const base::File& inbox);
    Dropper(const Dropper&) = delete;
    Dropper& operator=(const Dropper&) = delete;

    // Takes the oldest record that nobody has taken. How many messages went with it; 0 when every
    // record is in somebody's hand. Count the room afterwards.
    //   killed before the head moves   nothing happened
    //   killed after                   the record is gone; its room is counted by the next reader
    [[nodiscard]] std::uint64_t drop_one(const Writer& writer) noexcept;

private:
    std::atomic<bool> lost_{false};
    base::Mapping reader_page_;
    base::Mapping hands_;
    base::FaultGuard reader_guard_;
    base::FaultGuard hands_guard_;
};

}  // namespace shmbus::lane
