// What sending and handling cost by themselves: a stream whose ends take turns on one core, so that
// no line travels.
//
// SPDX-License-Identifier: BSL-1.0
#include "bare_ring.h"
#include "bus_contestants.h"
#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "limit_contestants.h"
#include "pages.h"

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{10'000};
// 16 KiB of records: they stay in the core's first cache.
constexpr std::uint64_t in_a_turn = 256;
constexpr std::uint64_t warm_turns = 64;

struct Board {
    std::uint64_t messages = 0;
    std::uint64_t ticks = 0;
    Tally tally;
};

// `send` puts one message in; `handle` handles what is there and says how many that were.
template <class Message, class Send, class Handle>
void take_turns(Half half, milliseconds span, Send send, Handle handle, Board& board) {
    Stream<Message> messages(0, span);
    for (std::uint64_t turn = 0; messages.more(); ++turn) {
        std::uint64_t sent = 0;
        const std::uint64_t begin = now_ticks();
        for (; sent < in_a_turn && messages.more(); ++sent) send(messages.next());
        const std::uint64_t between = now_ticks();
        for (std::uint64_t handled = 0; handled < sent;) handled += handle();
        const std::uint64_t end = now_ticks();
        if (turn < warm_turns) continue;
        board.messages += sent;
        board.ticks += half == Half::sending ? between - begin : end - between;
    }
}

// Runs `turns`, given the tally of what it handles and the board.
template <class Turns>
Sample measured(milliseconds span, Turns turns) {
    Shared<Board> board;
    Crew crew;
    crew.add("both ends", 0, [&](StartLine& line) {
        line.line_up();
        // On the stack while counting, as in every other stream.
        Tally mine;
        mine.expect(1);
        turns(mine, *board);
        board->tally = mine;
    });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    if (sample.integrity == "ok") sample.integrity = board->tally.integrity();
    if (board->ticks > 0)
        sample.rate_per_s =
            static_cast<double>(board->messages) / tick_rate().ns(board->ticks) * 1e9;
    return sample;
}

Sample bus_turns(Half half, milliseconds span) {
    const BusHouse house;
    return measured(span, [&](Tally& tally, Board& board) {
        Bus bus = house.join();
        Endpoint endpoint = bus.endpoint("bench.sink");
        endpoint.on<Parcel<32>>([&](const Parcel<32>& message) { tally.take(message); });
        take_turns<Parcel<32>>(
            half, span, [&](const Parcel<32>& message) { insist(bus.send(message), "sending"); },
            [&] { return endpoint.poll(); }, board);
    });
}

Sample bare_turns(Half half, milliseconds span) {
    return measured(span, [&](Tally& tally, Board& board) {
        const BareRing ring(mebibyte);
        BareWriter writer(ring, RingTuning{});
        BareReader reader(ring);
        take_turns<Cargo<32>>(
            half, span, [&](const Cargo<32>& message) { writer.write(&message, 32); },
            [&] {
                return reader.template poll<32>(in_a_turn, [&](const std::byte* payload) {
                    tally.take(*reinterpret_cast<const Cargo<32>*>(payload));
                });
            },
            board);
    });
}

}  // namespace

Contestant bus_on_one_core(Half half) {
    return {"bus, both ends on one core", [=](milliseconds span) { return bus_turns(half, span); }};
}

Contestant bare_on_one_core(Half half) {
    return {"bare ring, both ends on one core",
            [=](milliseconds span) { return bare_turns(half, span); }};
}

}  // namespace shmbus::bench
