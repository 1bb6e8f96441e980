// The bus as a contestant of round trips, alone or among idle lanes.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "bus_messages.h"
#include "bus_trips.h"
#include "crew.h"
#include "histogram.h"
#include "pages.h"
#include "trips.h"

#include <atomic>
#include <stdexcept>
#include <thread>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{30'000};
// A thousand of these must fit into the 64 MiB that containers give to shared memory.
constexpr std::size_t idle_lane_bytes = 4096;

template <std::size_t size>
void answer(const BusHouse& house, StartLine& line, std::size_t idle_lanes) {
    Bus bus = house.join();
    bool ended = false;
    std::size_t hellos = 0;
    Endpoint endpoint = bus.endpoint("bench.answerer");
    endpoint.on<Hello>([&](const Hello&) { ++hellos; });
    endpoint.on<Ping<size>>([&](const Ping<size>& ping, Context& context) {
        Pong<size> pong;
        static_cast<Cargo<size>&>(pong) = ping;
        insist(context.send(pong), "answering");
        ended = ping.mark == static_cast<std::uint64_t>(Mark::end);
    });
    line.line_up();  // endpoints are there
    while (hellos < idle_lanes) endpoint.poll();
    line.line_up();  // idle lanes are there and empty
    while (!ended) endpoint.poll();
    // What the last handler sent goes out before it returns; nothing is left to do.
    line.line_up();
}

template <std::size_t size>
void ask(const BusHouse& house, StartLine& line, milliseconds span, Trips& trips,
         const std::function<void()>& at_end = [] {}) {
    Bus bus = house.join();
    bool answered = false;
    Tally mine;
    mine.expect(1);
    Endpoint endpoint = bus.endpoint("bench.asker");
    endpoint.on<Pong<size>>([&](const Pong<size>& pong) {
        mine.take(pong);
        answered = true;
    });
    line.line_up();  // endpoints are there
    line.line_up();  // idle lanes are there and empty
    Stream<Ping<size>> messages(0, span);
    while (messages.more()) {
        const Ping<size>& ping = messages.next();
        answered = false;
        const std::uint64_t sent = now_ticks();
        insist(bus.send(ping), "asking");
        while (!answered) endpoint.poll();
        trips.latency.record(now_ticks() - sent);
    }
    trips.tally = mine;
    at_end();
    line.line_up();
}

// A lane belongs to a thread, so every idle lane needs one; they sleep from hello to end.
void idle(const BusHouse& house, StartLine& line, std::size_t lanes) {
    BusOptions options;
    options.lane_bytes = idle_lane_bytes;
    Bus bus = house.join(options);
    line.line_up();  // endpoints are there
    std::atomic<std::size_t> refused{0};
    std::atomic<bool> ended{false};
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < lanes; ++i) {
        threads.emplace_back([&, i] {
            // relaxed: only counted, and read after the threads were joined.
            if (!bus.send(Hello{i})) refused.fetch_add(1, std::memory_order_relaxed);
            // Edge IDLE_END: nothing but the flag.
            ended.wait(false, std::memory_order_acquire);
        });
    }
    line.line_up();  // the answerer has heard every hello
    line.line_up();  // the asker is done
    // Edge IDLE_END, the writing end.
    ended.store(true, std::memory_order_release);
    ended.notify_all();
    for (std::thread& thread : threads) thread.join();
    const std::size_t missing = refused.load(std::memory_order_relaxed);
    if (missing > 0) throw std::runtime_error(std::to_string(missing) + " hellos were refused");
}

template <std::size_t size>
Sample round_trips(std::size_t idle_lanes, milliseconds span) {
    const BusHouse house;
    Shared<Trips> trips;
    Crew crew;
    crew.add("asker", 0, [&](StartLine& line) { ask<size>(house, line, span, *trips); });
    crew.add("answerer", 1, [&](StartLine& line) { answer<size>(house, line, idle_lanes); });
    if (idle_lanes > 0) {
        crew.add("idler", 0, [&](StartLine& line) { idle(house, line, idle_lanes); });
    }
    return run_trips(crew, *trips, span + patience);
}

}  // namespace

void ask_32(const BusHouse& house, StartLine& line, milliseconds span, Trips& trips,
            const std::function<void()>& at_end) {
    ask<32>(house, line, span, trips, at_end);
}

void answer_32(const BusHouse& house, StartLine& line) { answer<32>(house, line, 0); }

Contestant bus_round_trip(std::size_t payload_bytes, std::size_t idle_lanes) {
    const std::string name =
        idle_lanes == 0 ? "bus round trip"
                        : "bus round trip, " + std::to_string(idle_lanes) + " idle lanes";
    switch (payload_bytes) {
        case 32:
            return {name, [=](milliseconds span) { return round_trips<32>(idle_lanes, span); }, {}};
        case 1024:
            return {name, [=](milliseconds span) { return round_trips<1024>(idle_lanes, span); },
                    {}};
        default:
            throw std::runtime_error("no round trip of " + std::to_string(payload_bytes) +
                                     " bytes; there are 32 and 1024");
    }
}

}  // namespace shmbus::bench
