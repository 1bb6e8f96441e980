// Waking sleepers: what a sender does after it has published, and what a sleeper does before it
// sleeps. Nothing but one load when nobody sleeps.
#pragma once

#include "base/parking.h"
#include "lane/layout.h"

#include <bit>

namespace shmbus::lane {

// Sends one datagram to the descriptor of a consumer that waits with epoll. See bus/descriptor.
class DescriptorBell {
public:
    virtual void ring(std::uint16_t consumer) noexcept = 0;

protected:
    ~DescriptorBell() = default;
};

// Wakes one sleeper, if there is one. A sleeper's bit is cleared by exactly one waker, who alone
// makes the system call; so a stream of sends to a consumer that is waking up costs one call.
//   killed after the bit, before the bell   the sleeper wakes by its time limit and looks around
inline void wake_one(StdDoorbell& doorbell, DescriptorBell* descriptors) noexcept {
    // Ends: each turn clears a bit, and bits are set only by consumers about to sleep.
    for (;;) {
        // seq_cst: the sleeper's bit and its look around must not pass our record and this look.
        const std::uint64_t sleepers = doorbell.sleepers.load(std::memory_order_seq_cst);
        if (sleepers == 0) return;
        const auto consumer = static_cast<std::uint16_t>(std::countr_zero(sleepers));
        const std::uint64_t bit = std::uint64_t{1} << consumer;
        // acq_rel: who clears the bit owns the waking.
        if ((doorbell.sleepers.fetch_and(~bit, std::memory_order_acq_rel) & bit) == 0) continue;
        if (consumer >= most_consumers) continue;
        // RUNG: the record that is there to be seen. Other end: Consumer::sleep.
        doorbell.bells[consumer].fetch_add(1, std::memory_order_release);
        const bool woke = base::wake(doorbell.bells[consumer], 1) > 0;
        // relaxed: set by the consumer before its bit among the sleepers.
        const bool by_descriptor =
            (doorbell.by_descriptor.load(std::memory_order_relaxed) & bit) != 0;
        if (by_descriptor && descriptors != nullptr) descriptors->ring(consumer);
        // Nobody there: it is about to look at its bell, or it is dead. Wake another one too.
        if (woke || by_descriptor) return;
    }
}

// Called after each publish, or once after a batch. Where the sleeping side makes every sender's
// stores visible with membarrier a plain load is enough; otherwise `fence` asks for the barrier
// here, as a locked operation on a word of our own stack.
[[gnu::always_inline]] inline void ring(StdDoorbell& doorbell, bool fence,
                                        DescriptorBell* descriptors) noexcept {
    if (fence) {
        base::StdWord<std::uint32_t> nothing;
        nothing.fetch_add(1, std::memory_order_seq_cst);
    }
    // relaxed: see above; a bit that is missed here belongs to a sleeper that will look around.
    if (doorbell.sleepers.load(std::memory_order_relaxed) != 0) [[unlikely]]
        wake_one(doorbell, descriptors);
}

}  // namespace shmbus::lane
