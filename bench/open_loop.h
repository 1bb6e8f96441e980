// An open loop: messages at a fixed rate, whatever becomes of them.
//
// A sender that waits for its receiver sends less while things go badly, and so measures least
// when there is most to see. Here message number n is due at the begin plus n intervals; its
// latency counts from then. What it would have been from the real send is kept beside it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "cargo.h"
#include "histogram.h"

#include <cstdint>
#include <string>

namespace shmbus::bench {

// A message that knows when it was sent; when it was due follows from its number.
struct Dated {
    std::uint64_t number = 0;
    std::uint64_t sent_ticks = 0;
    std::uint64_t last = 0;
    std::uint64_t check = 0;

    std::uint64_t sum() const noexcept { return (number ^ sent_ticks ^ last) * stirrer; }
};
static_assert(sizeof(Dated) == 32);

struct Schedule {
    std::uint64_t begin_ticks = 0;
    double interval_ticks = 0;
    std::uint64_t count = 0;

    static Schedule of(std::size_t per_second, std::chrono::milliseconds span) {
        const double interval_ns = 1e9 / static_cast<double>(per_second);
        const double interval =
            static_cast<double>(tick_rate().ticks(std::chrono::seconds(1))) * interval_ns / 1e9;
        const auto count = static_cast<std::uint64_t>(static_cast<double>(span.count()) * 1e6 /
                                                      interval_ns);
        return {0, interval, std::max<std::uint64_t>(count, 2)};
    }

    std::uint64_t due(std::uint64_t number) const noexcept {
        return begin_ticks +
               static_cast<std::uint64_t>(static_cast<double>(number) * interval_ticks);
    }
    // The first fifth warms up.
    bool is_counted(std::uint64_t number) const noexcept { return number >= count / 5; }
};

// In shared memory: what the two ends find. The schedule's begin is set before the first message
// is sent, and the message carries it over.
struct OpenLoopBoard {
    Schedule schedule;
    std::uint64_t last_sent_ticks = 0;
    std::uint64_t handled = 0;
    std::uint64_t wrong = 0;
    alignas(4096) Histogram latency;
    Histogram uncorrected;
};

// Sends all of them, each when it is due or, when that has passed, at once.
template <typename Message, typename Send>
void send_on_schedule(OpenLoopBoard& board, Send send) {
    board.schedule.begin_ticks = now_ticks();
    const Schedule schedule = board.schedule;
    Message message{};
    std::uint64_t now = 0;
    for (std::uint64_t number = 0; number < schedule.count; ++number) {
        const std::uint64_t due = schedule.due(number);
        while ((now = now_ticks()) < due) relax();
        message.number = number;
        message.sent_ticks = now;
        message.last = number + 1 == schedule.count ? 1 : 0;
        message.check = message.sum();
        send(message);
    }
    board.last_sent_ticks = now;
}

// One message at the receiver's. True if it was the last one.
inline bool take_on_schedule(OpenLoopBoard& board, const Dated& message) noexcept {
    const std::uint64_t now = now_ticks();
    const Schedule& schedule = board.schedule;
    if (message.number != board.handled++ || message.check != message.sum()) ++board.wrong;
    if (schedule.is_counted(message.number)) {
        const std::uint64_t due = schedule.due(message.number);
        board.latency.record(now > due ? now - due : 0);
        board.uncorrected.record(now - message.sent_ticks);
    }
    return message.last != 0;
}

// What both ends found. Marks a rate that was not reached: its latencies are those of another one.
inline Sample sample_of(const OpenLoopBoard& board, std::string outcome) {
    Sample sample;
    sample.integrity = std::move(outcome);
    if (sample.integrity == "ok" && (board.wrong > 0 || board.handled != board.schedule.count))
        sample.integrity = "messages lost, damaged or disordered";
    sample.latency = std::make_shared<Histogram>(board.latency);
    sample.uncorrected = std::make_shared<Histogram>(board.uncorrected);
    const double ns = tick_rate().ns(board.last_sent_ticks - board.schedule.begin_ticks);
    if (ns <= 0) return sample;
    sample.rate_per_s = static_cast<double>(board.schedule.count - 1) / ns * 1e9;
    const double wanted_ns = tick_rate().ns(
        static_cast<std::uint64_t>(board.schedule.interval_ticks *
                                   static_cast<double>(board.schedule.count - 1)));
    if (ns > wanted_ns * 1.02)
        sample.mark = "target not achieved: " +
                      std::to_string(static_cast<long>(wanted_ns / ns * 100)) +
                      " % of the rate was sent";
    return sample;
}

}  // namespace shmbus::bench
