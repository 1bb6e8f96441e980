// Futexes that work between processes: never the PRIVATE kind.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/parking.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

namespace shmbus::base {

namespace {

constexpr long futex_waitv_call = 449;  // the same on all architectures
constexpr std::size_t max_watched = 128;
constexpr std::uint32_t futex_32_bits = 2;
constexpr std::chrono::milliseconds longest_wait_without_waitv{2};

// As the kernel defines it; the C library's headers may be older than the kernel.
struct Watched {
    std::uint64_t expected;
    std::uint64_t address;
    std::uint32_t flags;
    std::uint32_t reserved;
};
static_assert(sizeof(Watched) == 24);

[[nodiscard]] timespec time_spec(std::uint64_t span_ns) noexcept {
    return {.tv_sec = static_cast<time_t>(span_ns / 1'000'000'000U),
            .tv_nsec = static_cast<long>(span_ns % 1'000'000'000U)};
}

[[nodiscard]] std::uint64_t at_least_zero(std::chrono::nanoseconds span) noexcept {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(span.count(), 0));
}

[[nodiscard]] WaitEnd end_of(long answer) noexcept {
    if (answer >= 0) return WaitEnd::woken;
    switch (errno) {
        case EAGAIN: return WaitEnd::changed;
        case ETIMEDOUT: return WaitEnd::timed_out;
        case EINTR: return WaitEnd::woken;
        default: return WaitEnd::unusable;
    }
}

[[nodiscard]] bool is_usable(const void* word) noexcept {
    return word != nullptr && reinterpret_cast<std::uintptr_t>(word) % 4 == 0;
}

}  // namespace

WaitEnd wait(WatchedWord word, std::chrono::nanoseconds timeout) noexcept {
    if (!is_usable(word.word)) return WaitEnd::unusable;
    const timespec span = time_spec(at_least_zero(timeout));
    return end_of(::syscall(SYS_futex, word.word, FUTEX_WAIT, word.expected, &span, nullptr, 0));
}

bool can_wait_for_any() noexcept {
    // Static in the function: the kernel's answer is the same for the life of the process. No
    // words at all are EINVAL where the call exists; ENOSYS, or EPERM in a sandbox, otherwise.
    static const bool can =
        ::syscall(futex_waitv_call, nullptr, 0, 0, nullptr, 0) < 0 && errno == EINVAL;
    return can;
}

WaitEnd wait_any(std::span<const WatchedWord> words, std::chrono::nanoseconds timeout) noexcept {
    if (words.empty()) return WaitEnd::unusable;
    if (words.size() == 1) return wait(words.front(), timeout);
    if (!can_wait_for_any())
        return wait(words.front(), std::min<std::chrono::nanoseconds>(timeout,
                                                                      longest_wait_without_waitv));
    std::array<Watched, max_watched> list;
    const std::size_t count = std::min(words.size(), max_watched);
    for (std::size_t i = 0; i < count; ++i)
        list[i] = {words[i].expected, reinterpret_cast<std::uintptr_t>(words[i].word),
                   futex_32_bits, 0};
    const timespec until = time_spec(now_ns() + at_least_zero(timeout));
    return end_of(
        ::syscall(futex_waitv_call, list.data(), count, 0, &until, CLOCK_MONOTONIC));
}

int wake_address(const void* word, int count) noexcept {
    const long woken = ::syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
    return woken > 0 ? static_cast<int>(woken) : 0;
}

}  // namespace shmbus::base
