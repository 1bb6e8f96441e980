// The bus, and the bare ring that is its limit, at fixed rates; and the bus for long.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bare_ring.h"
#include "bus_house.h"
#include "crew.h"
#include "limit_contestants.h"
#include "open_loop.h"
#include "pages.h"

#include <fstream>
#include <shmbus/message.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{20'000};
constexpr std::size_t soak_per_second = 200'000;
constexpr std::uint64_t soak_growth_pages = 64;
constexpr std::uint64_t any_growth = ~std::uint64_t{0};

struct OnTime : Dated {
    static constexpr auto message = shmbus::command("bench.on_time", shmbus::transient);
};

// Pages of the calling process that are its own.
std::uint64_t own_pages() {
    std::uint64_t size = 0;
    std::uint64_t resident = 0;
    std::uint64_t shared = 0;
    std::ifstream("/proc/self/statm") >> size >> resident >> shared;
    return resident - shared;
}

// Returns by how many pages it grew since it was warm.
std::uint64_t receive(const BusHouse& house, StartLine& line, OpenLoopBoard& board) {
    Bus bus = house.join();
    bool ended = false;
    std::uint64_t warm = 0;
    Endpoint endpoint = bus.endpoint("bench.sink");
    endpoint.on<OnTime>([&](const OnTime& message) {
        if (message.number == board.schedule.count / 5) warm = own_pages();
        ended = take_on_schedule(board, message);
    });
    line.line_up();
    while (!ended)
        if (endpoint.poll() == 0) relax();
    const std::uint64_t now = own_pages();
    return now > warm ? now - warm : 0;
}

Sample bus_on_schedule(std::size_t per_second, std::uint64_t most_growth_pages,
                       milliseconds span) {
    const BusHouse house;
    Shared<OpenLoopBoard> board;
    Shared<std::uint64_t> grown;
    board->schedule = Schedule::of(per_second, span);
    Crew crew;
    crew.add("receiver", 0, [&](StartLine& line) { *grown = receive(house, line, *board); });
    crew.add("sender", 1, [&](StartLine& line) {
        Bus bus = house.join();
        line.line_up();
        send_on_schedule<OnTime>(
            *board, [&](const OnTime& message) { insist(bus.send(message), "sending"); });
    });
    Sample sample = sample_of(*board, crew.run(span + patience));
    if (sample.integrity == "ok" && *grown > most_growth_pages)
        sample.integrity = "the receiver grew by " + std::to_string(*grown) + " pages";
    return sample;
}

Sample ring_on_schedule(std::size_t per_second, milliseconds span) {
    BareRing ring(mebibyte);
    Shared<OpenLoopBoard> board;
    board->schedule = Schedule::of(per_second, span);
    Crew crew;
    crew.add("reader", 0, [&](StartLine& line) {
        BareReader reader(ring);
        bool ended = false;
        line.line_up();
        while (!ended) {
            const std::size_t found = reader.poll<sizeof(Dated)>(64, [&](const std::byte* bytes) {
                ended = take_on_schedule(*board, *reinterpret_cast<const Dated*>(bytes));
            });
            if (found == 0) relax();
        }
    });
    crew.add("writer", 1, [&](StartLine& line) {
        BareWriter writer(ring, RingTuning{});
        line.line_up();
        send_on_schedule<Dated>(
            *board, [&](const Dated& message) { writer.write(&message, sizeof message); });
    });
    return sample_of(*board, crew.run(span + patience));
}

}  // namespace

Contestant bus_at_rate(std::size_t per_second) {
    return {"bus, " + std::to_string(per_second) + " a second",
            [=](milliseconds span) {
                return bus_on_schedule(per_second, any_growth, span);
            }};
}

Contestant bare_at_rate(std::size_t per_second) {
    return {"bare ring", [=](milliseconds span) { return ring_on_schedule(per_second, span); }};
}

Contestant bus_soak() {
    return {"bus, for long", [](milliseconds span) {
                return bus_on_schedule(soak_per_second, soak_growth_pages, span);
            }};
}

}  // namespace shmbus::bench
