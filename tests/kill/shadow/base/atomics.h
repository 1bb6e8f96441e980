// Stands in for src/base/atomics.h where the lane is built to be killed between any two steps.
//
// The same words with the same layout, but every operation calls step() first. The kill test
// compiles the rooms base and lane a second time with this directory before src, so that the real
// Writer, Consumer and InboxAdmin are what runs, whole and unchanged.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>

namespace shmbus::test {
// Counts, and ends the process by SIGKILL when the count says so. See steps.cc.
void step() noexcept;
}  // namespace shmbus::test

namespace shmbus::base {

template <class T>
class StdWord {
public:
    constexpr StdWord() noexcept = default;
    constexpr explicit StdWord(T value) noexcept : value_(value) {}
    StdWord(const StdWord&) = delete;
    StdWord& operator=(const StdWord&) = delete;

    [[nodiscard]] T load(std::memory_order order) const noexcept {
        test::step();
        return value_.load(order);
    }
    void store(T value, std::memory_order order) noexcept {
        test::step();
        value_.store(value, order);
    }
    T exchange(T value, std::memory_order order) noexcept {
        test::step();
        return value_.exchange(value, order);
    }
    [[nodiscard]] bool compare_exchange(T& expected, T desired, std::memory_order order,
                                        std::memory_order failure) noexcept {
        test::step();
        return value_.compare_exchange_strong(expected, desired, order, failure);
    }
    T fetch_add(T amount, std::memory_order order) noexcept {
        test::step();
        return value_.fetch_add(amount, order);
    }
    T fetch_or(T bits, std::memory_order order) noexcept {
        test::step();
        return value_.fetch_or(bits, order);
    }
    T fetch_and(T bits, std::memory_order order) noexcept {
        test::step();
        return value_.fetch_and(bits, order);
    }

private:
    std::atomic<T> value_{};

    static_assert(sizeof(std::atomic<T>) == sizeof(T));
};

struct StdAtomics {
    template <class T>
    using word = StdWord<T>;

    static void fence(std::memory_order order) noexcept {
        test::step();
        std::atomic_thread_fence(order);
    }
};

}  // namespace shmbus::base
