// Waking sleepers: what a sender does after it has published, and what a sleeper does before it
// sleeps. Nothing but one load when nobody sleeps.
#pragma once

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/parking.h"
#include "lane/layout.h"

#include <bit>
#include <memory>

namespace shmbus::lane {

inline constexpr std::uint64_t all_consumers = (std::uint64_t{1} << most_consumers) - 1;

// Sends one datagram to the descriptor of a consumer that waits with epoll. See socket_bell.h.
class DescriptorBell {
public:
    virtual void ring(std::uint16_t consumer) noexcept = 0;

protected:
    ~DescriptorBell() = default;
};

// Wakes one sleeper, if there is one. A sleeper's bit is cleared by exactly one waker, who alone
// makes the system call; so a stream of sends to a consumer that is waking up costs one call.
//   killed after the bit, before the bell   the sleeper wakes by its time limit and looks around
template <class A>
void wake_one(DoorbellPage<A>& doorbell, DescriptorBell* descriptors) noexcept {
    std::uint64_t tried = 0;
    // Ends: each turn tries a consumer that was not tried before, or sees one bit fewer.
    for (;;) {
        // seq_cst: the sleeper's bit and its look around must not pass our record and this look.
        const std::uint64_t sleepers =
            doorbell.sleepers.load(std::memory_order_seq_cst) & ~tried & all_consumers;
        if (sleepers == 0) return;
        const auto consumer = static_cast<std::uint16_t>(std::countr_zero(sleepers));
        const std::uint64_t bit = std::uint64_t{1} << consumer;
        tried |= bit;
        // Its line comes while that of the bits is changed.
        base::prefetch_for_write(std::addressof(doorbell.bells[consumer]));
        // relaxed: set by the consumer before its bit among the sleepers.
        const bool by_descriptor =
            (doorbell.by_descriptor.load(std::memory_order_relaxed) & bit) != 0;
        // acq_rel: who clears the bit owns the waking. Lost: somebody else wakes that one.
        if ((doorbell.sleepers.fetch_and(~bit, std::memory_order_acq_rel) & bit) == 0) continue;
        // RUNG: the record that is there to be seen. Other end: Consumer::rung.
        doorbell.bells[consumer].fetch_add(1, std::memory_order_release);
        // Found by the word's own room: base::wake for the real ones, a model's for a model's.
        const bool woke = wake(doorbell.bells[consumer], 1) > 0;
        if (by_descriptor && descriptors != nullptr) descriptors->ring(consumer);
        // Nobody there: it is about to look at its bell, or it is dead. Wake another one too.
        if (woke || by_descriptor) return;
    }
}

// For who is about to sleep as this consumer: from here on every sender either has made its record
// visible to the caller's next look, or sees the bit. `can_barrier`: whether base::global_barrier()
// is there; where the kernel has no such call senders fence, and so must we.
template <class A>
void announce(DoorbellPage<A>& doorbell, std::uint16_t consumer, bool by_descriptor,
              bool can_barrier) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << consumer;
    // relaxed, all: before the bit among the sleepers, which is seq_cst. Where it is set a waker is
    // content although it met nobody on the bell.
    if (by_descriptor) doorbell.by_descriptor.fetch_or(bit, std::memory_order_relaxed);
    else if ((doorbell.by_descriptor.load(std::memory_order_relaxed) & bit) != 0)
        doorbell.by_descriptor.fetch_and(~bit, std::memory_order_relaxed);
    // seq_cst, against the senders' look at this word: see ring().
    doorbell.sleepers.fetch_or(bit, std::memory_order_seq_cst);
    if (!can_barrier || !base::global_barrier()) A::fence(std::memory_order_seq_cst);
}

template <class A>
void withdraw(DoorbellPage<A>& doorbell, std::uint16_t consumer) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << consumer;
    // relaxed: a waker that still sees it rings once for nothing. Who was woken has no bit left.
    if ((doorbell.sleepers.load(std::memory_order_relaxed) & bit) == 0) return;
    doorbell.sleepers.fetch_and(~bit, std::memory_order_relaxed);
}

// Called after each publish, or once after a batch. Where the sleeping side makes every sender's
// stores visible with membarrier a plain load is enough; otherwise `fence` asks for the barrier
// here. A locked operation on a word of our own would do on today's processors, not in the
// language: only a fence orders the record before the look at the sleepers.
template <class A>
[[gnu::always_inline]] inline void ring(DoorbellPage<A>& doorbell, bool fence,
                                        DescriptorBell* descriptors) noexcept {
    if (fence) A::fence(std::memory_order_seq_cst);
    // relaxed: see above; a bit that is missed here belongs to a sleeper that will look around.
    if (doorbell.sleepers.load(std::memory_order_relaxed) != 0) [[unlikely]]
        wake_one(doorbell, descriptors);
}

}  // namespace shmbus::lane
