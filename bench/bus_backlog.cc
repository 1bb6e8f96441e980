// The bus as a contestant of backlogs: a lane is filled while nobody reads, then emptied.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "pages.h"

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{30'000};
constexpr std::size_t lane_bytes = std::size_t{16} << 20;
// A record of 32 bytes takes 64; so many fill most of the lane.
constexpr std::uint64_t backlog = 200'000;

struct Board {
    std::uint64_t built = 0;
    std::uint64_t build_ticks = 0;
    std::uint64_t drain_ticks = 0;
    bool ended = false;  // carried by the line-up
    Tally tally;
};

void build(const BusHouse& house, StartLine& line, milliseconds span, Board& board) {
    Bus bus = house.join();
    Parcel<32> message;
    fill_up(message);
    line.line_up();  // the endpoint is there
    const std::uint64_t begin = now_ticks();
    const std::uint64_t span_ticks = tick_rate().ticks(span);
    std::uint64_t sent = 0;
    while (!board.ended) {
        const std::uint64_t first = now_ticks();
        for (std::uint64_t i = 0; i < backlog; ++i) {
            number(message, sent++);
            insist(bus.send(message), "building");
        }
        const std::uint64_t now = now_ticks();
        // The first one touches the lane's memory for the first time.
        if (sent > backlog) {
            board.build_ticks += now - first;
            board.built += backlog;
        }
        board.ended = now - begin >= span_ticks && sent > backlog;
        line.line_up();  // it stands
        line.line_up();  // it is gone
    }
}

void drain(const BusHouse& house, StartLine& line, Board& board) {
    EndpointOptions options;
    options.lane_bytes = lane_bytes;
    Bus bus = house.join();
    Tally mine;
    mine.expect(0);
    std::uint64_t handled = 0;
    Endpoint endpoint = bus.endpoint("bench.sink", options);
    endpoint.on<Parcel<32>>([&](const Parcel<32>& message) {
        mine.take(message);
        ++handled;
    });
    line.line_up();
    bool ended = false;
    for (std::uint64_t round = 1; !ended; ++round) {
        line.line_up();  // it stands
        ended = board.ended;
        const std::uint64_t first = now_ticks();
        while (handled < round * backlog) endpoint.poll();
        if (round > 1) board.drain_ticks += now_ticks() - first;
        board.tally = mine;
        line.line_up();  // it is gone
    }
}

Sample measured(Backlog phase, milliseconds span) {
    const BusHouse house;
    Shared<Board> board;
    Crew crew;
    crew.add("drainer", 0, [&](StartLine& line) { drain(house, line, *board); });
    crew.add("builder", 1, [&](StartLine& line) { build(house, line, span, *board); });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    if (sample.integrity == "ok") sample.integrity = board->tally.integrity();
    const std::uint64_t ticks =
        phase == Backlog::build ? board->build_ticks : board->drain_ticks;
    if (ticks > 0)
        sample.rate_per_s = static_cast<double>(board->built) / tick_rate().ns(ticks) * 1e9;
    return sample;
}

}  // namespace

Contestant bus_backlog(Backlog phase) {
    return {phase == Backlog::build ? "bus builds a backlog" : "bus drains a backlog",
            [=](milliseconds span) { return measured(phase, span); }};
}

}  // namespace shmbus::bench
