// The way of nearly all messages through a batch: one handler, the size that their type has, no
// failure so far.
//
// Used by the polling thread, which goes on with Attempt where this stops. What it leaves in the
// progress words is what Attempt would have left, so either may go on after the other, also in
// another process.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "bus/attempt.h"

namespace shmbus::detail {

class FastPath {
public:
    FastPath(Delivery& delivery, Attempt& attempt, const Dispatcher& dispatcher) noexcept
        : delivery_(delivery), attempt_(attempt), dispatcher_(dispatcher) {}

    // Handles messages of the batch, from the first that is not done of record `next`, in their
    // order, at most `limit`; stops before the first one that is different. Moves `next` to the
    // record where it stopped; returns how many were handled. The handler's exceptions do not come
    // out.
    std::size_t handle(lane::Batch& batch, std::uint32_t& next, std::size_t limit);

private:
    // Messages alike, one behind the other, from a record of the batch and an item in it.
    struct Run {
        lane::Batch* batch = nullptr;
        Place from;
        Dispatcher::Quick quick;
        const std::byte* payload = nullptr;
        std::size_t step = 0;  // bytes from a payload to the next
        std::size_t count = 0;
        std::size_t left = 0;    // of the packed record; count may be less
        bool is_packed = false;  // all in one record
    };
    // From the record and item at `from`, which is set already. False: what stands there is not for
    // us.
    bool find_run(std::size_t limit, Run& run);
    bool find_packed(std::size_t limit, Run& run);
    // Return how many were handled: all, or fewer when one has to go the other way.
    std::size_t handle_plain(const Run& run);
    std::size_t handle_packed(const Run& run);
    static bool call(Delivery& delivery, const Dispatcher::Quick& quick, const std::byte* payload,
                     Place place);
    std::size_t fail(const Run& run, std::string_view why) noexcept;

    Delivery& delivery_;
    Attempt& attempt_;
    const Dispatcher& dispatcher_;
};

}  // namespace shmbus::detail
