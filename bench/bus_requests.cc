// The bus as a contestant of requests: asked, and waited for, as a caller does it.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "histogram.h"
#include "pages.h"
#include "trips.h"

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{20'000};

void answer(const BusHouse& house, StartLine& line) {
    Bus bus = house.join();
    bool ended = false;
    Endpoint endpoint = bus.endpoint("bench.answerer");
    endpoint.on<Question>([&](const Question& question) {
        Answer given;
        static_cast<Cargo<32>&>(given) = question;
        ended = question.mark == static_cast<std::uint64_t>(Mark::end);
        return given;
    });
    line.line_up();
    while (!ended) endpoint.poll();
    line.line_up();  // the last reply is read
}

void ask(const BusHouse& house, StartLine& line, milliseconds span, Trips& trips) {
    Bus bus = house.join();
    Tally mine;
    mine.expect(1);
    line.line_up();
    Stream<Question> messages(0, span);
    while (messages.more()) {
        const Question& question = messages.next();
        const std::uint64_t sent = now_ticks();
        const Result<Answer> answer = bus.request(question).wait();
        if (!answer) give_up(answer.error(), "asking");
        trips.latency.record(now_ticks() - sent);
        mine.take(*answer);
    }
    trips.tally = mine;
    line.line_up();
}

Sample requests(milliseconds span) {
    const BusHouse house;
    Shared<Trips> trips;
    Crew crew;
    crew.add("asker", 0, [&](StartLine& line) { ask(house, line, span, *trips); });
    crew.add("answerer", 1, [&](StartLine& line) { answer(house, line); });
    return run_trips(crew, *trips, span + patience);
}

}  // namespace

Contestant bus_request() { return {"bus, request and reply", requests}; }

}  // namespace shmbus::bench
