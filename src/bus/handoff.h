// From the taking thread to the handler threads: the one door to moodycamel's ConcurrentQueue.
//
// One producer, many consumers, each with a token of its own; the queue's memory is allocated when
// the pool is made. ThreadSanitizer cannot follow the fences that the queue orders with, so in a
// build with it a plain queue behind a mutex stands in.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/clock.h"
#include "base/parking.h"

#include <deque>
#include <mutex>
#include <type_traits>

#include <concurrentqueue/concurrentqueue.h>

namespace shmbus::detail {

struct DispatchRow;

// One record for a handler thread.
struct Task {
    void* busy = nullptr;  // Pool::Busy
    const DispatchRow* row = nullptr;
    std::uint32_t index = 0;
};

#if defined(__SANITIZE_THREAD__)
inline constexpr bool under_thread_sanitizer = true;
#elif defined(__has_feature)
inline constexpr bool under_thread_sanitizer = __has_feature(thread_sanitizer);
#else
inline constexpr bool under_thread_sanitizer = false;
#endif

class LockFreeTasks {
public:
    explicit LockFreeTasks(std::size_t most) : tasks_(most), producer_(tasks_) {}
    struct Consumer {
        explicit Consumer(LockFreeTasks& tasks) : token(tasks.tasks_) {}
        moodycamel::ConsumerToken token;
    };
    void give(const Task& task) { tasks_.enqueue(producer_, task); }
    bool take(Consumer& consumer, Task& into) { return tasks_.try_dequeue(consumer.token, into); }

private:
    moodycamel::ConcurrentQueue<Task> tasks_;
    moodycamel::ProducerToken producer_;
};

class PlainTasks {
public:
    explicit PlainTasks(std::size_t) {}
    struct Consumer {
        explicit Consumer(PlainTasks&) {}
    };
    void give(const Task& task) {
        const std::lock_guard lock(mutex_);
        tasks_.push_back(task);
    }
    bool take(Consumer&, Task& into) {
        const std::lock_guard lock(mutex_);
        if (tasks_.empty()) return false;
        into = tasks_.front();
        tasks_.pop_front();
        return true;
    }

private:
    std::mutex mutex_;
    std::deque<Task> tasks_;
};

class Handoff {
public:
    using Tasks = std::conditional_t<under_thread_sanitizer, PlainTasks, LockFreeTasks>;
    using Consumer = Tasks::Consumer;
    // `most`: tasks that may be there at once.
    explicit Handoff(std::size_t most) : tasks_(most) {}
    [[nodiscard]] Consumer consumer() { return Consumer(tasks_); }

    // By the taking thread alone, and then ring.
    void give(const Task& task) { tasks_.give(task); }
    // Wakes so many sleepers.
    void ring(std::uint32_t given = base::all_sleepers) noexcept {
        if (given == 0) return;
        given_.fetch_add(1, std::memory_order_seq_cst);  // GIVEN. Other end: given.
        if (sleepers_.load(std::memory_order_seq_cst) != 0)
            base::wake(given_, static_cast<int>(given));
    }
    bool take(Consumer& consumer, Task& into) { return tasks_.take(consumer, into); }

    // How often the bell has rung: read it before take.
    [[nodiscard]] std::uint32_t given() const noexcept {
        // GIVEN: the task. Other end: ring.
        return given_.load(std::memory_order_seq_cst);
    }
    // Sleeps until it rings again, at most `limit`.
    void sleep(std::uint32_t seen, std::chrono::nanoseconds limit) noexcept {
        // seq_cst, against the look in ring: either the giver sees a sleeper, or the kernel sees
        // that the count has moved.
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        base::wait(base::watch(given_, seen), limit);
        sleepers_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: one wake too many at most
    }

private:
    Tasks tasks_;
    std::atomic<std::uint32_t> given_{0};
    std::atomic<std::uint32_t> sleepers_{0};
};

}  // namespace shmbus::detail
