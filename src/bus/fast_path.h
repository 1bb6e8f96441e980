// The way of nearly all messages through a batch: one handler, the size that their type has, no
// failure so far.
//
// Used by the polling thread, which goes on with Attempt where this stops. The cursor of the hand
// tells how far it came: one store per message, which says that the one before is done and this
// one begun. So either may go on after the other, also in another process.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "bus/attempt.h"

namespace shmbus::detail {

class FastPath {
public:
    FastPath(Delivery& delivery, Attempt& attempt, Dispatcher& dispatcher) noexcept
        : delivery_(delivery), attempt_(attempt), dispatcher_(dispatcher) {}

    // Handles messages of the batch, whose progress is not listed, from the first that is not done
    // of record `next`, in their order, at most `limit`; stops before the first one that is
    // different. Moves `next` to the record where it stopped; returns how many were handled. The
    // handler's exceptions do not come out.
    std::size_t handle(lane::Batch& batch, std::uint32_t& next, std::size_t limit);

    // The same for a batch of one record that was just taken. False: it was not handled.
    bool handle_single(lane::Batch& batch);

private:
    // Where it ended, and whether the record behind may go the same way.
    struct Reached {
        Place place;
        bool goes_on = false;
    };
    using Call = decltype(Dispatcher::Quick::call);
    bool handle_one(lane::Batch& batch, Place place, std::span<const std::byte> payload, Call call,
                    void* callable);
    Place handle_each(lane::Batch& batch, Place place, Place each, std::size_t count,
                      const std::byte* payload, std::size_t step, const Dispatcher::Quick& quick);
    Place handle_run(lane::Batch& batch, Place place, Place each, std::size_t count,
                     const std::byte* payload, std::size_t step, const Dispatcher::Quick& quick);
    Place handle_sampled(lane::Batch& batch, Place place, Place each, std::size_t count,
                         const std::byte* payload, std::size_t step, Dispatcher::Quick quick);
    Place handle_timed(lane::Batch& batch, Place place, Place each, std::size_t count,
                       const std::byte* payload, std::size_t step,
                       const Dispatcher::Quick& quick);
    void count(Meter::Word* counted, std::size_t handled) noexcept;
    // `quick`: of the record's type; may be null.
    Reached handle_packed(lane::Batch& batch, Place from, std::size_t limit,
                          const Dispatcher::Quick* quick);
    Reached handle_told(lane::Batch& batch, Place from, const Dispatcher::Plain& plain);
    Reached handle_plain(lane::Batch& batch, Place from, std::size_t limit,
                         const Dispatcher::Plain& plain);
    Place fail(lane::Batch& batch, std::string_view why) noexcept;

    Delivery& delivery_;
    Attempt& attempt_;
    Dispatcher& dispatcher_;
};

}  // namespace shmbus::detail
