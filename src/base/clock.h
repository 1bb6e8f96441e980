// Reading the time: in nanoseconds for people and deadlines, in ticks for the fast path.
//
// Called anywhere, from any thread. Nothing here enters the kernel where the machine's clock is
// readable from user space (the usual case).
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <time.h>

namespace shmbus::base {

[[nodiscard]] inline std::uint64_t clock_ns(clockid_t which) noexcept {
    timespec time{};
    ::clock_gettime(which, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(time.tv_nsec);
}

// Since boot, the same for all processes of the host; never steps. For deadlines and durations.
[[nodiscard]] inline std::uint64_t now_ns() noexcept { return clock_ns(CLOCK_MONOTONIC); }

// So long from now; a century at most, so that the sum does not wrap.
[[nodiscard]] inline std::uint64_t deadline_in(std::chrono::nanoseconds span) noexcept {
    constexpr std::chrono::nanoseconds none{0};
    constexpr std::chrono::nanoseconds most = std::chrono::hours(876'000);
    return now_ns() + static_cast<std::uint64_t>(std::clamp(span, none, most).count());
}

// Since 1970; may step. For showing to people only.
[[nodiscard]] inline std::uint64_t realtime_ns() noexcept { return clock_ns(CLOCK_REALTIME); }

// The processor's own counter, a few nanoseconds per reading. Not ordered with the memory
// accesses around it; differs from machine to machine, hence TickRate.
[[nodiscard, gnu::always_inline]] inline std::uint64_t ticks() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    std::uint64_t counter = 0;
    asm volatile("mrs %0, cntvct_el0" : "=r"(counter));
    return counter;
#else
    return now_ns();
#endif
}

// Tells the processor that this is a spinning wait.
[[gnu::always_inline]] inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield" ::: "memory");
#else
    asm volatile("" ::: "memory");
#endif
}

// How long a tick is.
struct TickRate {
    double ns_per_tick = 1.0;

    // Spins for `span` and compares both clocks. The error is about the time of two clock
    // readings (well under 100 ns) in `span`, so 2 ms give better than 1 in 10000.
    [[nodiscard]] static TickRate calibrate(
        std::chrono::nanoseconds span = std::chrono::milliseconds{2}) noexcept {
        const std::uint64_t begin_ns = now_ns();
        const std::uint64_t begin_ticks = ticks();
        const std::uint64_t until_ns = begin_ns + static_cast<std::uint64_t>(span.count());
        std::uint64_t end_ns = begin_ns;
        while (end_ns < until_ns) {
            cpu_relax();
            end_ns = now_ns();
        }
        const std::uint64_t spent_ticks = ticks() - begin_ticks;
        if (spent_ticks == 0) return {};
        return {static_cast<double>(end_ns - begin_ns) / static_cast<double>(spent_ticks)};
    }

    [[nodiscard]] std::uint64_t to_ns(std::uint64_t tick_count) const noexcept {
        return static_cast<std::uint64_t>(static_cast<double>(tick_count) * ns_per_tick);
    }
    [[nodiscard]] std::uint64_t to_ticks(std::uint64_t span_ns) const noexcept {
        return static_cast<std::uint64_t>(static_cast<double>(span_ns) / ns_per_tick);
    }
};

// This machine's, found out by the first who asks: it spins for 2 ms.
[[nodiscard]] inline const TickRate& tick_rate() noexcept {
    static const TickRate rate = TickRate::calibrate();
    return rate;
}

}  // namespace shmbus::base
