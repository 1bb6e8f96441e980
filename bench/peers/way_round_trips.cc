// There and back over two ways: an asker, an answerer that sends back what it has got.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/way_measures.h"

#include "cargo.h"
#include "crew.h"
#include "pages.h"
#include "peers/any_size.h"
#include "trips.h"

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

template <std::size_t size>
void answer(Way& there, Way& back, StartLine& line, Waiting waiting) {
    const auto sender = back.sender(waiting);
    line.line_up();  // all senders are there
    const auto receiver = there.receiver(0, waiting);
    line.line_up();
    receive_until<size>(*receiver, waiting, [&](const std::byte* message) {
        sender->send(message, 1);
        return word_at(message + 8) != static_cast<std::uint64_t>(Mark::end);
    });
    line.line_up();  // nothing is on its way any more
}

template <std::size_t size>
void ask(Way& there, Way& back, StartLine& line, Waiting waiting, milliseconds span,
         Trips& trips) {
    const auto sender = there.sender(waiting);
    line.line_up();  // all senders are there
    const auto receiver = back.receiver(0, waiting);
    line.line_up();
    Stream<Cargo<size>> messages(0, span);
    while (messages.more()) {
        const Cargo<size>& cargo = messages.next();
        const std::uint64_t sent = now_ticks();
        sender->send(reinterpret_cast<const std::byte*>(&cargo), 1);
        receive_until<size>(*receiver, waiting, [&](const std::byte* message) {
            trips.tally.template take_at<size>(message);
            return false;
        });
        trips.latency.record(now_ticks() - sent);
    }
    line.line_up();  // nothing is on its way any more
}

template <std::size_t size>
Sample round_trips(const MakeWay& make, Waiting waiting, milliseconds span) {
    const auto there = make(size, 1);
    const auto back = make(size, 1);
    Shared<Trips> trips;
    Crew crew;
    crew.add("asker", 0, [&](StartLine& line) {
        ask<size>(*there, *back, line, waiting, span, *trips);
    });
    crew.add("answerer", 1, [&](StartLine& line) { answer<size>(*there, *back, line, waiting); });
    return run_trips(crew, *trips, span + way_patience);
}

}  // namespace

Sample way_round_trips(const MakeWay& make, std::size_t bytes, Waiting waiting,
                       milliseconds span) {
    return with_size(bytes, [&]<std::size_t size>() {
        return round_trips<size>(make, waiting, span);
    });
}

}  // namespace shmbus::bench
