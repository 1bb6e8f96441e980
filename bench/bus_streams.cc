// The bus as a contestant of streams: one to one, packed, three to one, one to many.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "pages.h"
#include "peers/any_size.h"

#include <algorithm>
#include <memory>
#include <sched.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

// Joining, making lanes, a slow machine: what lies before and behind the slice.
constexpr milliseconds patience{20'000};
constexpr std::size_t most_receivers = 64;

struct Board {
    std::array<Tally, most_receivers> tallies;
};

// How long a receiver stays away when nothing was there. What suits depends on the cores' distance,
// for the bus as for its limit, and both try the same settings.
struct Loop {
    unsigned empty_pauses = 20;
    bool yielding = false;  // two receivers on one core
};

// A message may take a quarter of its lane; small ones stay in the lane that there is by default.
EndpointOptions wide_enough(std::size_t message_bytes) {
    EndpointOptions options;
    if (message_bytes > 65536) options.lane_bytes = 8 * message_bytes;
    return options;
}

// Everything that a receiver does: its handler is the tally, its loop is a poll.
template <typename Message>
void receive(const BusHouse& house, StartLine& line, const std::string& name, std::size_t senders,
             Loop loop, const EndpointOptions& options, Tally& tally) {
    Bus bus = house.join();
    Tally mine;
    mine.expect(senders);
    Endpoint endpoint = bus.endpoint(name, options);
    endpoint.on<Message>([&mine](const Message& message) { mine.take(message); });
    line.line_up();
    while (!mine.complete()) {
        if (endpoint.poll() > 0) continue;
        if (loop.yielding) ::sched_yield();
        else relax(loop.empty_pauses);
    }
    tally = mine;
}

template <typename Message, typename Send>
void send_stream(const BusHouse& house, StartLine& line, std::uint64_t sender, milliseconds span,
                 Send send) {
    Bus bus = house.join();
    line.line_up();  // the receivers' endpoints are there now
    Stream<Message> messages(sender, span);
    while (messages.more()) send(bus, messages);
}

// Types and no functions: a program that sends makes no further call for it, so none is measured.
template <std::size_t size>
struct SendOne {
    void operator()(Bus& bus, Stream<Parcel<size>>& messages) const {
        insist(bus.send(messages.next()), "sending");
    }
};

struct SendPacked {
    void operator()(Bus& bus, Stream<Parcel<32>>& messages) const {
        insist(bus.send_batch(messages.next_block()), "sending a batch");
    }
};

struct PublishOne {
    void operator()(Bus& bus, Stream<News<32>>& messages) const {
        const Result<Published> published = bus.publish(messages.next());
        if (!published) insist(published.error(), "publishing");
    }
};

// What was to be seen when the crew has ended: the slowest receiver counts.
Sample told_by(const Board& board, std::size_t receivers, std::string outcome) {
    Sample sample;
    sample.integrity = std::move(outcome);
    for (std::size_t i = 0; i < receivers && sample.integrity == "ok"; ++i) {
        sample.integrity = board.tallies[i].integrity();
        const std::optional<double> rate = board.tallies[i].rate_per_s();
        // An absent rate is less than any other: one receiver without leaves the whole without.
        sample.rate_per_s = i == 0 ? rate : std::min(sample.rate_per_s, rate);
    }
    return sample;
}

template <typename Message, typename Send>
Sample many_to_one(std::size_t senders, Loop loop, milliseconds span, Send send) {
    const BusHouse house;
    Shared<Board> board;
    Crew crew;
    crew.add("receiver", 0, [&](StartLine& line) {
        receive<Message>(house, line, "bench.sink", senders, loop, wide_enough(sizeof(Message)),
                         board->tallies[0]);
    });
    for (std::size_t i = 0; i < senders; ++i) {
        crew.add("sender " + std::to_string(i), 1, [&, i](StartLine& line) {
            send_stream<Message>(house, line, i, span, send);
        });
    }
    return told_by(*board, 1, crew.run(span + patience));
}

Sample one_to_many(std::size_t subscribers, Loop loop, milliseconds span) {
    loop.yielding = subscribers > 1;
    const BusHouse house;
    EndpointOptions options;
    // All lanes together must fit into the 64 MiB that containers give to shared memory.
    if (subscribers > 8) options.lane_bytes = std::size_t{256} << 10;
    Shared<Board> board;
    Crew crew;
    for (std::size_t i = 0; i < subscribers; ++i) {
        const std::string name = "bench.subscriber" + std::to_string(i);
        crew.add(name, 0, [&, i, name](StartLine& line) {
            receive<News<32>>(house, line, name, 1, loop, options, board->tallies[i]);
        });
    }
    crew.add("publisher", 1, [&](StartLine& line) {
        send_stream<News<32>>(house, line, 0, span, PublishOne());
    });
    return told_by(*board, subscribers, crew.run(span + patience));
}

// `run` is given a loop, and a span.
template <typename Run>
Contestant tuned(std::string name, Run run) {
    const auto loop = std::make_shared<Loop>();
    Contestant contestant;
    contestant.name = std::move(name);
    contestant.run = [=](milliseconds span) { return run(*loop, span); };
    contestant.tune = [=] {
        double best_rate = 0;
        for (const unsigned pauses : {1U, 20U, 100U, 500U}) {
            const Loop tried{.empty_pauses = pauses};
            const Sample sample = run(tried, milliseconds(40));
            if (sample.rate_per_s.value_or(0) <= best_rate) continue;
            best_rate = *sample.rate_per_s;
            *loop = tried;
        }
    };
    return contestant;
}

template <std::size_t size, typename Send>
Contestant streaming(std::size_t senders, std::string name, Send send) {
    return tuned(std::move(name), [=](Loop loop, milliseconds span) {
        return many_to_one<Parcel<size>>(senders, loop, span, send);
    });
}

}  // namespace

Contestant bus_stream(std::size_t payload_bytes) {
    return with_size(payload_bytes, []<std::size_t size>() {
        return streaming<size>(1, "bus, one way", SendOne<size>());
    });
}

Contestant bus_packed_stream() {
    return streaming<32>(1, "bus, packed by 64", SendPacked());
}

Contestant bus_three_to_one() { return streaming<32>(3, "bus, three to one", SendOne<32>()); }

Contestant bus_fanout(std::size_t subscribers) {
    Contestant contestant = tuned("bus, one to " + std::to_string(subscribers),
                                  [=](Loop loop, milliseconds span) {
                                      return one_to_many(subscribers, loop, span);
                                  });
    if (subscribers > 1) contestant.tune = nullptr;  // they yield to each other
    return contestant;
}

}  // namespace shmbus::bench
