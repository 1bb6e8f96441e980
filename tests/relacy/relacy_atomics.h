// The atomics policy of the model checker: src/lane/protocol.h and doorbell.h run on it unchanged.
//
// Every operation of a word is a point where Relacy may switch threads and where a load may see an
// old value that its order allows. Beyond that a word knows the line it is called from, so that
// one order at a time can be weakened, and ends a thread's life before a chosen operation.
//
// A word is watched only after watch(): the others, such as the progress of records that a model
// does not have, are plain memory and cost nothing.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include <relacy/relacy.hpp>
// Relacy renames these for programs that are written for it; ours is not.
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno

namespace shmbus::test {

enum class Operation : std::uint8_t { load, store, exchange, change, fence };

// Where an operation stands in the source; the texts are the compiler's.
struct Site {
    const char* function = "";
    const char* file = "";
    unsigned line = 0;
    Operation operation{};
    std::memory_order order{};
    [[nodiscard]] bool is_at(const char* other_file, unsigned other_line) const {
        return line == other_line && std::strcmp(file, other_file) == 0;
    }
};

// What the running model does with orders and deaths. One model runs at a time, in one thread:
// Relacy's own threads are fibres of it.
struct Run {
    static constexpr unsigned never = ~0U;

    // The orders at these lines are replaced by the ones given here: planted mistakes.
    std::array<Site, 4> weakened;
    // Every place that an operation came from while recording. A plain array: inside a model the
    // heap is the checker's.
    bool recording = false;
    std::array<Site, 128> sites;
    std::size_t site_count = 0;
    // Operations that each thread may still do before it dies.
    std::array<unsigned, 4> left{never, never, never, never};
};

// A policy's functions are static, so what they share is.
inline Run& run() {
    static Run the_run;
    return the_run;
}

inline bool is_dead() { return run().left[rl::thread_index()] == 0; }

// True when the thread is dead now; counts the operation otherwise.
inline bool dies_here() {
    unsigned& left = run().left[rl::thread_index()];
    if (left == Run::never) return false;
    if (left > 0) --left;
    return left == 0;
}

inline void record(const Site& site) {
    Run& current = run();
    for (std::size_t i = 0; i < current.site_count; ++i)
        if (current.sites[i].is_at(site.file, site.line)) return;
    if (current.site_count < current.sites.size()) current.sites[current.site_count++] = site;
}

inline rl::memory_order order_at(std::memory_order order, Operation operation,
                                 const char* function, const char* file, unsigned line) {
    if (run().recording) record({function, file, line, operation, order});
    for (const Site& planted : run().weakened)
        if (planted.is_at(file, line)) order = planted.order;
    switch (order) {
        case std::memory_order_relaxed: return rl::mo_relaxed;
        case std::memory_order_consume: return rl::mo_consume;
        case std::memory_order_acquire: return rl::mo_acquire;
        case std::memory_order_release: return rl::mo_release;
        case std::memory_order_acq_rel: return rl::mo_acq_rel;
        case std::memory_order_seq_cst: break;
    }
    return rl::mo_seq_cst;
}

template <class T>
class RelacyWord {
public:
    RelacyWord() = default;
    RelacyWord(const RelacyWord&) = delete;
    RelacyWord& operator=(const RelacyWord&) = delete;
    ~RelacyWord() {
        if (watched_) model().~Model();
    }

    // From here on the checker sees this word. Only before the threads start.
    void watch() {
        ::new (static_cast<void*>(room_.data())) Model(plain_);
        watched_ = true;
    }

    T load(std::memory_order order, const char* function = __builtin_FUNCTION(),
           const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) const {
        if (!watched_) return plain_;
        if (dies_here()) return 0;
        return model().load(order_at(order, Operation::load, function, file, line),
                            {function, file, line});
    }
    void store(T value, std::memory_order order, const char* function = __builtin_FUNCTION(),
               const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
        if (!watched_) {
            plain_ = value;
            return;
        }
        if (dies_here()) return;
        model().store(value, order_at(order, Operation::store, function, file, line),
                      {function, file, line});
    }
    T exchange(T value, std::memory_order order, const char* function = __builtin_FUNCTION(),
               const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
        if (!watched_) return std::exchange(plain_, value);
        if (dies_here()) return 0;
        return model().exchange(value, order_at(order, Operation::exchange, function, file, line),
                                {function, file, line});
    }
    // For a dead thread every exchange succeeds: that ends all loops.
    bool compare_exchange(T& expected, T desired, std::memory_order order,
                          std::memory_order failure, const char* function = __builtin_FUNCTION(),
                          const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
        if (!watched_) {
            if (plain_ != expected) {
                expected = plain_;
                return false;
            }
            plain_ = desired;
            return true;
        }
        if (dies_here()) return true;
        if (failure != std::memory_order_relaxed) RL_ASSERT(!"only relaxed failures are modelled");
        const rl::debug_info where(function, file, line);
        return model().compare_exchange_strong(
            expected, desired, order_at(order, Operation::exchange, function, file, line), where,
            rl::mo_relaxed, where);
    }
    T fetch_add(T amount, std::memory_order order, const char* function = __builtin_FUNCTION(),
                const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
        if (!watched_) return std::exchange(plain_, plain_ + amount);
        if (dies_here()) return 0;
        return model().fetch_add(amount, order_at(order, Operation::change, function, file, line),
                                 {function, file, line});
    }
    T fetch_or(T bits, std::memory_order order, const char* function = __builtin_FUNCTION(),
               const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
        if (!watched_) return std::exchange(plain_, plain_ | bits);
        if (dies_here()) return 0;
        return model().fetch_or(bits, order_at(order, Operation::change, function, file, line),
                                {function, file, line});
    }
    T fetch_and(T bits, std::memory_order order, const char* function = __builtin_FUNCTION(),
                const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
        if (!watched_) return std::exchange(plain_, plain_ & bits);
        if (dies_here()) return 0;
        return model().fetch_and(bits, order_at(order, Operation::change, function, file, line),
                                 {function, file, line});
    }

private:
    using Model = rl::atomic<T>;
    Model& model() const {
        return *std::launder(reinterpret_cast<Model*>(const_cast<std::byte*>(room_.data())));
    }

    T plain_ = 0;
    bool watched_ = false;
    alignas(Model) mutable std::array<std::byte, sizeof(Model)> room_;
};

struct RelacyAtomics {
    template <class T>
    using word = RelacyWord<T>;

    static void fence(std::memory_order order, const char* function = __builtin_FUNCTION(),
                      const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
        if (dies_here()) return;
        const rl::memory_order mapped = order_at(order, Operation::fence, function, file, line);
        if (mapped != rl::mo_relaxed) rl::atomic_thread_fence(mapped, {function, file, line});
    }
};

}  // namespace shmbus::test
