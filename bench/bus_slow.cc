// The bus as a contestant of patience: subscribers that sleep between events, beside a slow one.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "crew.h"
#include "open_loop.h"
#include "pages.h"

#include <array>
#include <atomic>
#include <shmbus/message.h>
#include <thread>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{20'000};
constexpr std::size_t per_second = 10'000;
constexpr std::size_t fast_ones = 3;
constexpr std::chrono::milliseconds slow_handler{1};  // ten times too slow

struct Tick : Dated {
    static constexpr auto message = shmbus::event("bench.tick", shmbus::transient);
};

struct Board {
    std::array<OpenLoopBoard, fast_ones> fast;
    std::atomic<std::uint64_t> slow_handled{0};
    std::uint64_t slow_wrong = 0;
    std::atomic<bool> ended{false};
};

void be_fast(const BusHouse& house, StartLine& line, std::size_t index, OpenLoopBoard& board) {
    Bus bus = house.join();
    EndpointOptions options;
    options.waiting = Waiting::sleep;
    Endpoint endpoint = bus.endpoint("bench.fast" + std::to_string(index), options);
    endpoint.on<Tick>([&](const Tick& tick) {
        // The one behind the last is for the slow subscriber.
        if (tick.number == board.schedule.count) return;
        if (take_on_schedule(board, tick)) endpoint.stop();
    });
    line.line_up();
    endpoint.run();
}

// Loses what it cannot keep up with, as it asked for; what it gets rises and is whole.
void be_slow(const BusHouse& house, StartLine& line, Board& board) {
    Bus bus = house.join();
    EndpointOptions options;
    options.waiting = Waiting::sleep;
    options.events_when_full = WhenFull::drop_newest;
    options.lane_bytes = 4096;
    Endpoint endpoint = bus.endpoint("bench.slow", options);
    std::uint64_t next = 0;
    endpoint.on<Tick>([&](const Tick& tick) {
        if (tick.number < next || tick.check != tick.sum()) ++board.slow_wrong;
        next = tick.number + 1;
        // relaxed: only counted, read after its process has ended.
        board.slow_handled.fetch_add(1, std::memory_order_relaxed);
        std::this_thread::sleep_for(slow_handler);
        // relaxed: carries nothing.
        if (board.ended.load(std::memory_order_relaxed)) endpoint.stop();
    });
    line.line_up();
    endpoint.run();
}

void publish(const BusHouse& house, StartLine& line, bool with_slow, Board& board) {
    Bus bus = house.join();
    line.line_up();
    const auto begin_all = [&] {
        for (std::size_t i = 1; i < fast_ones; ++i)
            board.fast[i].schedule.begin_ticks = board.fast[0].schedule.begin_ticks;
    };
    send_on_schedule<Tick>(board.fast[0], [&](const Tick& tick) {
        if (tick.number == 0) begin_all();
        const Result<Published> published = bus.publish(tick);
        if (!published) give_up(published.error(), "publishing");
    });
    // relaxed: carries nothing.
    board.ended.store(true, std::memory_order_relaxed);
    if (!with_slow) return;
    // It may sleep on an empty lane: one more event for it to see the end by.
    Tick last;
    last.number = board.fast[0].schedule.count;
    last.check = last.sum();
    if (const auto told = bus.publish(last); !told) give_up(told.error(), "ending");
}

Sample beside(bool with_slow, milliseconds span) {
    const BusHouse house;
    Shared<Board> board;
    for (OpenLoopBoard& fast : board->fast) fast.schedule = Schedule::of(per_second, span);
    Crew crew;
    for (std::size_t i = 0; i < fast_ones; ++i)
        crew.add("fast subscriber " + std::to_string(i), 0,
                 [&, i](StartLine& line) { be_fast(house, line, i, board->fast[i]); });
    if (with_slow)
        crew.add("slow subscriber", 0, [&](StartLine& line) { be_slow(house, line, *board); });
    crew.add("publisher", 1,
             [&](StartLine& line) { publish(house, line, with_slow, *board); });
    const std::string outcome = crew.run(span + patience);
    Sample sample;
    const auto latency = std::make_shared<Histogram>();
    for (OpenLoopBoard& fast : board->fast) {
        fast.last_sent_ticks = board->fast[0].last_sent_ticks;
        const Sample one = sample_of(fast, outcome);
        if (one.integrity != "ok") sample.integrity = one.integrity;
        if (!one.mark.empty()) sample.mark = one.mark;
        latency->add(*one.latency);
    }
    sample.latency = latency;
    if (sample.integrity == "ok" && board->slow_wrong > 0)
        sample.integrity = "the slow one got events damaged or disordered";
    // relaxed: its process has ended.
    if (with_slow && sample.integrity == "ok" &&
        board->slow_handled.load(std::memory_order_relaxed) == 0)
        sample.integrity = "the slow one got nothing";
    return sample;
}

}  // namespace

Contestant bus_beside_slow(bool with_slow) {
    return {with_slow ? "bus, beside a slow one" : "bus, without the slow one",
            [=](milliseconds span) { return beside(with_slow, span); }};
}

}  // namespace shmbus::bench
