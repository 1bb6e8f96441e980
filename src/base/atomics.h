// The atomics policy: which words the protocols are written in.
//
// Lane and directory code is a template over a policy `Atomics` and spells its shared words as
// `Atomics::template word<T>`. The library uses StdAtomics; the tests use a second policy with
// the same members that stops, counts or kills before each operation. No default memory orders:
// every operation names its own.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>

namespace shmbus::base {

// A word of shared memory. Zeroed memory is a valid word holding zero.
template <class T>
class StdWord {
public:
    constexpr StdWord() noexcept = default;
    constexpr explicit StdWord(T value) noexcept : value_(value) {}
    StdWord(const StdWord&) = delete;
    StdWord& operator=(const StdWord&) = delete;

    [[nodiscard, gnu::always_inline]] T load(std::memory_order order) const noexcept {
        return value_.load(order);
    }
    [[gnu::always_inline]] void store(T value, std::memory_order order) noexcept {
        value_.store(value, order);
    }
    [[gnu::always_inline]] T exchange(T value, std::memory_order order) noexcept {
        return value_.exchange(value, order);
    }
    // Never fails without reason. When it fails, `expected` holds what was found, read with
    // order `failure`.
    [[nodiscard, gnu::always_inline]] bool compare_exchange(T& expected, T desired,
                                                            std::memory_order order,
                                                            std::memory_order failure) noexcept {
        return value_.compare_exchange_strong(expected, desired, order, failure);
    }
    [[gnu::always_inline]] T fetch_add(T amount, std::memory_order order) noexcept {
        return value_.fetch_add(amount, order);
    }
    [[gnu::always_inline]] T fetch_or(T bits, std::memory_order order) noexcept {
        return value_.fetch_or(bits, order);
    }
    [[gnu::always_inline]] T fetch_and(T bits, std::memory_order order) noexcept {
        return value_.fetch_and(bits, order);
    }
    // The same word for code that cannot see this class.
    [[nodiscard]] std::atomic<T>& standard() noexcept { return value_; }

private:
    std::atomic<T> value_{};

    static_assert(std::atomic<T>::is_always_lock_free,
                  "a word shared by processes cannot be guarded by a lock of one of them");
    static_assert(sizeof(std::atomic<T>) == sizeof(T));
};

// The policy that the library is built with.
struct StdAtomics {
    template <class T>
    using word = StdWord<T>;

    [[gnu::always_inline]] static void fence(std::memory_order order) noexcept {
        std::atomic_thread_fence(order);
    }
};

}  // namespace shmbus::base
