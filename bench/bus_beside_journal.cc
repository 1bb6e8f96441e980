// The bus as a contestant of round trips beside a journal: while a third process sends durable
// messages as fast as they are taken, or has nothing to send.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "bus_messages.h"
#include "bus_trips.h"
#include "crew.h"
#include "disk_limits.h"
#include "pages.h"

#include <atomic>
#include <cstdlib>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{120'000};

struct Board {
    Trips trips;
    std::atomic<bool> trips_end{false};
    alignas(4096) Tally kept;
    std::uint64_t kept_meanwhile = 0;
};

// Nobody handles them before the round trips are over: a fourth process would take a part of a core
// that the journal does not cost.
void saturate(Bus& bus, bool saturated, Board& board) {
    SendOptions patient;
    patient.wait = std::chrono::seconds(30);
    Kept<256> message;
    fill_up(message);
    std::uint64_t sent = 0;
    const auto send = [&](Mark mark) {
        number(message, sent++);
        message.mark = static_cast<std::uint64_t>(mark);
        const Result<Receipt> kept = bus.send(message, patient);
        if (!kept) give_up(kept.error(), "saturating the journal");
    };
    // relaxed: carries nothing.
    while (saturated && !board.trips_end.load(std::memory_order_relaxed)) send(Mark::plain);
    board.kept_meanwhile = sent;
    send(Mark::end);
    insist(bus.sync(), "waiting for the last receipt");
}

void besiege(const BusHouse& house, StartLine& line, bool saturated, Board& board) {
    Bus bus = house.join();
    bus.declare_endpoint<Kept<256>>("bench.archive");
    Kept<256> first;
    fill_up(first);
    // Makes the journal, also where nothing follows; a number that is taken for none of the rest.
    number(first, 0);
    if (const auto made = bus.send(first); !made) give_up(made.error(), "making the journal");
    insist(bus.sync(), "making the journal");
    Endpoint archive = bus.endpoint("bench.archive");
    bool has_first = false;
    Tally mine;
    mine.expect(1);
    archive.on<Kept<256>>([&](const Kept<256>& message) {
        if (has_first) mine.take(message);
        has_first = true;
    });
    while (!has_first) archive.poll();
    line.line_up();  // endpoints are there
    line.line_up();  // as the asker and the answerer line up
    saturate(bus, saturated, board);
    line.line_up();  // the trips are over
    while (!mine.complete()) archive.poll();
    board.kept = mine;
}

Sample beside(bool saturated, milliseconds span) {
    const DiskFolder folder;
    // The keeper's daemon reads it.
    const InEnvironment journal("SHMBUS_JOURNAL", folder.path() + "/journal");
    const BusHouse house;
    Shared<Board> board;
    Crew crew;
    crew.add("asker", 0, [&](StartLine& line) {
        ask_32(house, line, span, board->trips, [&] {
            // relaxed: carries nothing.
            board->trips_end.store(true, std::memory_order_relaxed);
        });
    });
    crew.add("answerer", 1, [&](StartLine& line) { answer_32(house, line); });
    crew.add("durable sender", 0,
             [&](StartLine& line) { besiege(house, line, saturated, *board); });
    Sample sample = run_trips(crew, board->trips, span + patience);
    if (sample.integrity == "ok") sample.integrity = board->kept.integrity();
    if (sample.integrity == "ok" && saturated && board->kept_meanwhile == 0)
        sample.integrity = "no durable message was sent meanwhile";
    return sample;
}

}  // namespace

Contestant bus_beside_journal(bool saturated) {
    return {saturated ? "round trip, the journal saturated" : "round trip, the journal idle",
            [=](milliseconds span) { return beside(saturated, span); }};
}

}  // namespace shmbus::bench
