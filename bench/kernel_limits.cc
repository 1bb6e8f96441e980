// The limits of the kernel and of one core: futex wakes, copies, pauses of the machine itself.
//
// SPDX-License-Identifier: BSL-1.0
#include "limit_contestants.h"

#include "asleep.h"
#include "crew.h"
#include "histogram.h"
#include "pages.h"
#include "shared_futex.h"
#include "ticks.h"

#include <atomic>
#include <cstring>
#include <unistd.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{10'000};

constexpr std::uint32_t stop = 0xffffffff;

struct Bed {
    alignas(4096) std::atomic<std::uint32_t> bell{0};
    alignas(4096) std::atomic<std::uint32_t> heard{0};
    std::atomic<std::uint64_t> rung_at{0};
    std::atomic<int> sleeper{0};
    alignas(4096) Histogram latency;
};

void sleep_and_hear(Bed& bed) {
    std::uint32_t seen = 0;
    while (seen != stop) {
        std::uint32_t next = seen;
        // Edge RUNG: carries the waker's stamp.
        while ((next = bed.bell.load(std::memory_order_acquire)) == seen) {
            futex_wait(bed.bell, seen);
        }
        // relaxed: ordered by RUNG.
        const std::uint64_t rung_at = bed.rung_at.load(std::memory_order_relaxed);
        if (next != stop) bed.latency.record(now_ticks() - rung_at);
        seen = next;
        // Edge HEARD: the waker may use the stamp again.
        bed.heard.store(seen, std::memory_order_release);
    }
}

void ring_when_asleep(Bed& bed, std::uint64_t span_ticks) {
    // relaxed: stored before the line-up, whose edge LINED_UP carries it.
    const Asleep sleeper(bed.sleeper.load(std::memory_order_relaxed));
    const std::uint64_t begin = now_ticks();
    for (std::uint32_t round = 1; now_ticks() - begin < span_ticks; ++round) {
        sleeper.wait();
        // relaxed: ordered by RUNG.
        bed.rung_at.store(now_ticks(), std::memory_order_relaxed);
        // Edge RUNG: the stamp stands.
        bed.bell.store(round, std::memory_order_release);
        futex_wake_one(bed.bell);
        // Edge HEARD: the sleeper has used the stamp.
        while (bed.heard.load(std::memory_order_acquire) != round) relax();
    }
    // Edge RUNG, without a stamp this time.
    bed.bell.store(stop, std::memory_order_release);
    futex_wake_one(bed.bell);
}

Sample wake_sample(milliseconds span) {
    Shared<Bed> bed;
    Crew crew;
    crew.add("waker", 0, [&](StartLine& line) {
        line.line_up();
        ring_when_asleep(*bed, tick_rate().ticks(span));
    });
    crew.add("sleeper", 1, [&](StartLine& line) {
        // relaxed: the line-up's edge LINED_UP carries it.
        bed->sleeper.store(::getpid(), std::memory_order_relaxed);
        line.line_up();
        sleep_and_hear(*bed);
    });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    sample.latency = std::make_shared<Histogram>(bed->latency);
    return sample;
}

struct Pair {
    alignas(4096) std::atomic<std::uint32_t> there{0};
    alignas(4096) std::atomic<std::uint32_t> back{0};
    alignas(4096) Histogram latency;
};

// Sleeps until `word` is no longer `seen`.
std::uint32_t await(std::atomic<std::uint32_t>& word, std::uint32_t seen) {
    std::uint32_t next = seen;
    // Edge TURN: nothing but the number itself is handed over.
    while ((next = word.load(std::memory_order_acquire)) == seen) futex_wait(word, seen);
    return next;
}

void hand_on(std::atomic<std::uint32_t>& word, std::uint32_t value) {
    // Edge TURN, the writing end.
    word.store(value, std::memory_order_release);
    futex_wake_one(word);
}

void answer_turns(Pair& pair) {
    for (std::uint32_t seen = 0; seen != stop;) {
        seen = await(pair.there, seen);
        hand_on(pair.back, seen);
    }
}

void ask_turns(Pair& pair, std::uint64_t span_ticks) {
    const std::uint64_t begin = now_ticks();
    std::uint64_t now = begin;
    for (std::uint32_t turn = 1; now - begin < span_ticks; ++turn) {
        const std::uint64_t sent = now_ticks();
        hand_on(pair.there, turn);
        await(pair.back, turn - 1);
        now = now_ticks();
        pair.latency.record(now - sent);
    }
    hand_on(pair.there, stop);
}

Sample turn_sample(milliseconds span) {
    Shared<Pair> pair;
    Crew crew;
    crew.add("asker", 0, [&](StartLine& line) {
        line.line_up();
        ask_turns(*pair, tick_rate().ticks(span));
    });
    crew.add("answerer", 1, [&](StartLine& line) {
        line.line_up();
        answer_turns(*pair);
    });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    sample.latency = std::make_shared<Histogram>(pair->latency);
    return sample;
}

struct Alone {
    Histogram latency;
    std::uint64_t count = 0;
    std::uint64_t elapsed_ticks = 0;
};

Sample alone(milliseconds span, void (*work)(Alone&, std::uint64_t)) {
    Shared<Alone> board;
    Crew crew;
    crew.add("spinner", 0, [&](StartLine&) { work(*board, tick_rate().ticks(span)); });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    sample.latency = std::make_shared<Histogram>(board->latency);
    const double elapsed_ns = tick_rate().ns(board->elapsed_ticks);
    if (elapsed_ns > 0) sample.rate_per_s = static_cast<double>(board->count) / elapsed_ns * 1e9;
    return sample;
}

void copy_again_and_again(Alone& board, std::uint64_t span_ticks) {
    constexpr std::size_t bytes = 65536;
    const Pages from(bytes);
    const Pages to(bytes);
    const std::uint64_t begin = now_ticks();
    std::uint64_t now = begin;
    for (; now - begin < span_ticks; ++board.count) {
        std::memcpy(to.data(), from.data(), bytes);
        // Without this the compiler may see that nobody reads the copy.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        const std::uint64_t last = now;
        now = now_ticks();
        if (last != begin) board.latency.record(now - last);
    }
    board.elapsed_ticks = now - begin;
}

void watch_the_clock(Alone& board, std::uint64_t span_ticks) {
    const std::uint64_t long_gap = tick_rate().ticks(milliseconds(1));
    const std::uint64_t begin = now_ticks();
    std::uint64_t now = begin;
    while (now - begin < span_ticks) {
        const std::uint64_t last = now;
        now = now_ticks();
        board.latency.record(now - last);
        if (now - last > long_gap) ++board.count;
    }
    board.elapsed_ticks = now - begin;
}

}  // namespace

Contestant futex_wake() { return {"futex wake, one way", wake_sample, {}}; }

Contestant futex_round_trip() { return {"futex round trip", turn_sample, {}}; }

Contestant copy_in_cache() {
    return {"memcpy of 64 KiB in cache",
            [](milliseconds span) { return alone(span, copy_again_and_again); },
            {}};
}

Contestant machine_pauses() {
    return {"pauses of the machine",
            [](milliseconds span) { return alone(span, watch_the_clock); },
            {}};
}

}  // namespace shmbus::bench
