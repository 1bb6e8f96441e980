// The bus as a contestant of wakes: a command to a sleeping handler.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "asleep.h"
#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "histogram.h"
#include "pages.h"

#include <atomic>
#include <unistd.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{20'000};

struct Board {
    alignas(4096) std::atomic<std::uint64_t> heard{0};
    std::atomic<pid_t> sleeper{0};
    alignas(4096) Histogram latency;
    std::uint64_t wrong = 0;
};

void sleep_and_handle(const BusHouse& house, StartLine& line, Board& board) {
    Bus bus = house.join();
    // relaxed: the line-up's edge LINED_UP carries it.
    board.sleeper.store(::getpid(), std::memory_order_relaxed);
    Endpoint endpoint = bus.endpoint("bench.sleeper");
    std::uint64_t wanted = 1;
    endpoint.on<Wake>([&](const Wake& wake) {
        const std::uint64_t now = now_ticks();
        if (wake.number != wanted++) ++board.wrong;
        if (wake.last != 0) endpoint.stop();
        else board.latency.record(now - wake.sent_ticks);
        // Edge HEARD: the sender may go on.
        board.heard.store(wake.number, std::memory_order_release);
    });
    line.line_up();
    endpoint.run();
}

void wake(const BusHouse& house, StartLine& line, milliseconds span, Board& board) {
    Bus bus = house.join();
    line.line_up();
    // relaxed: stored before the line-up.
    const Asleep sleeper(board.sleeper.load(std::memory_order_relaxed));
    const std::uint64_t begin = now_ticks();
    const std::uint64_t span_ticks = tick_rate().ticks(span);
    Wake message{};
    while (message.last == 0) {
        sleeper.wait();
        ++message.number;
        message.last = now_ticks() - begin >= span_ticks ? 1 : 0;
        message.sent_ticks = now_ticks();
        insist(bus.send(message), "waking");
        // Edge HEARD: the handler has run.
        while (board.heard.load(std::memory_order_acquire) != message.number) relax();
    }
}

Sample wakeups(milliseconds span) {
    const BusHouse house;
    Shared<Board> board;
    Crew crew;
    crew.add("waker", 0, [&](StartLine& line) { wake(house, line, span, *board); });
    crew.add("sleeper", 1, [&](StartLine& line) { sleep_and_handle(house, line, *board); });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    if (sample.integrity == "ok" && board->wrong > 0) sample.integrity = "commands out of order";
    sample.latency = std::make_shared<Histogram>(board->latency);
    return sample;
}

}  // namespace

Contestant bus_wakeup() { return {"bus wakes a sleeping handler", wakeups, {}}; }

}  // namespace shmbus::bench
