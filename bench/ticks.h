// The clock of the benchmarks: the processor's own counter, read in a few nanoseconds.
//
// Reading `steady_clock` costs 20 to 30 ns, a fifth of the near round trip that is measured here.
// Where no counter is known the clock of the standard library serves, at that price.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace shmbus::bench {

// Waits for what stands before it in the program: a read that ran ahead of the awaited load would
// make round trips look shorter than they were.
inline std::uint64_t now_ticks() noexcept {
#if defined(__x86_64__)
    unsigned processor = 0;
    return __rdtscp(&processor);
#elif defined(__aarch64__)
    std::uint64_t ticks = 0;
    asm volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
    return ticks;
#else
    return static_cast<std::uint64_t>(
        std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

// Tells the core that this is a waiting loop.
inline void relax() noexcept {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield" : : : "memory");
#endif
}

inline void relax(unsigned times) noexcept {
    for (unsigned i = 0; i < times; ++i) relax();
}

// How long one tick is, measured once against the steady clock and carried into forked children.
class TickRate {
public:
    // Spins for `span` to measure.
    static TickRate measure(std::chrono::milliseconds span = std::chrono::milliseconds(20)) {
        using Clock = std::chrono::steady_clock;
        const Clock::time_point begin = Clock::now();
        const std::uint64_t begin_ticks = now_ticks();
        while (Clock::now() - begin < span) relax();
        const std::uint64_t end_ticks = now_ticks();
        const std::chrono::duration<double, std::nano> elapsed = Clock::now() - begin;
        return TickRate(elapsed.count() / static_cast<double>(end_ticks - begin_ticks));
    }

    double ns(double ticks) const noexcept { return ticks * ns_per_tick_; }
    double ns(std::uint64_t ticks) const noexcept { return ns(static_cast<double>(ticks)); }

    std::uint64_t ticks(std::chrono::nanoseconds span) const noexcept {
        return static_cast<std::uint64_t>(static_cast<double>(span.count()) / ns_per_tick_);
    }

private:
    explicit TickRate(double ns_per_tick) noexcept : ns_per_tick_(ns_per_tick) {}

    double ns_per_tick_;
};

// The rate of this machine, measured at the first call. A function-local static because every
// child must use the figure of its parent: two measurements would differ by their own error.
inline const TickRate& tick_rate() {
    static const TickRate rate = TickRate::measure();
    return rate;
}

}  // namespace shmbus::bench
