// The scenarios over any peer's way: there and back, one way, one to many, waking a sleeper.
//
// How an end waits is tuned: a peer whose own threads need the core loses by spinning, one that is
// polled loses by sleeping. Each is shown at its best.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/way.h"

#include "cargo.h"
#include "crew.h"
#include "pages.h"
#include "peers/any_size.h"

#include <algorithm>
#include <limits>
#include <sched.h>
#include <stdexcept>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

// Connecting, a slow machine, what lies in queues: before and behind the slice.
constexpr milliseconds patience{30'000};
constexpr std::size_t most_receivers = 64;
constexpr unsigned empty_pauses = 20;

struct Board {
    Histogram latency;
    std::array<Tally, most_receivers> tallies;
};

// Calls `use` with each message until it returns false. The way's receiver may not give out parts.
template <std::size_t size, typename Use>
void receive_until(Receiver& receiver, Waiting waiting, Use use) {
    for (;;) {
        const std::span<const std::byte> got = receiver.receive();
        if (got.size() % size != 0) throw std::runtime_error("a message of another size came");
        if (got.empty() && waiting != Waiting::sleeping) stay_away(waiting);
        for (std::size_t at = 0; at < got.size(); at += size)
            if (!use(got.data() + at)) return;
    }
}

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
         Board& board) {
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
            board.tallies[0].template take_at<size>(message);
            return false;
        });
        board.latency.record(now_ticks() - sent);
    }
    line.line_up();  // nothing is on its way any more
}

template <std::size_t size>
Sample round_trips(const MakeWay& make, Waiting waiting, milliseconds span) {
    const auto there = make(size, 1);
    const auto back = make(size, 1);
    Shared<Board> board;
    Crew crew;
    crew.add("asker", 0, [&](StartLine& line) {
        ask<size>(*there, *back, line, waiting, span, *board);
    });
    crew.add("answerer", 1, [&](StartLine& line) { answer<size>(*there, *back, line, waiting); });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    if (sample.integrity == "ok") sample.integrity = board->tallies[0].integrity();
    sample.latency = std::make_shared<Histogram>(board->latency);
    return sample;
}

// How a stream is sent, to how many.
struct Course {
    std::size_t receivers = 1;
    bool packed = false;
};

template <std::size_t size>
void send_stream(Way& way, StartLine& line, Waiting waiting, bool packed, milliseconds span) {
    const auto sender = way.sender(waiting);
    line.line_up();  // all senders are there
    line.line_up();  // all receivers are there
    Stream<Cargo<size>> messages(0, span);
    while (messages.more()) {
        if (packed) {
            const std::span<const Cargo<size>> block = messages.next_block();
            sender->send(reinterpret_cast<const std::byte*>(block.data()), block.size());
        } else {
            sender->send(reinterpret_cast<const std::byte*>(&messages.next()), 1);
        }
    }
    line.line_up();  // nothing is on its way any more
}

template <std::size_t size>
Sample stream(const MakeWay& make, Course course, Waiting waiting, milliseconds span) {
    const auto way = make(size, course.receivers);
    Shared<Board> board;
    Crew crew;
    for (std::size_t i = 0; i < course.receivers; ++i) {
        crew.add("receiver " + std::to_string(i), 0, [&, i](StartLine& line) {
            line.line_up();  // all senders are there
            const auto receiver = way->receiver(i, waiting);
            line.line_up();  // all receivers are there
            // On the stack while counting: in shared memory every message would write it.
            Tally mine;
            receive_until<size>(*receiver, waiting, [&](const std::byte* message) {
                mine.take_at<size>(message);
                return !mine.complete();
            });
            board->tallies[i] = mine;
            line.line_up();  // nothing is on its way any more
        });
    }
    crew.add("sender", 1, [&](StartLine& line) {
        send_stream<size>(*way, line, waiting, course.packed, span);
    });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    for (std::size_t i = 0; i < course.receivers && sample.integrity == "ok"; ++i) {
        sample.integrity = board->tallies[i].integrity();
        const std::optional<double> rate = board->tallies[i].rate_per_s();
        // The slowest counts; one without a rate leaves the whole without.
        sample.rate_per_s = i == 0 ? rate : std::min(sample.rate_per_s, rate);
    }
    return sample;
}

using Measure = std::function<Sample(Waiting, milliseconds)>;

// Small is good.
double cost_of(const Sample& sample) {
    if (sample.integrity != "ok") return std::numeric_limits<double>::infinity();
    if (sample.latency) return static_cast<double>(sample.latency->quantile(0.5));
    return 1 / sample.rate_per_s.value_or(1e-9);
}

Contestant waiting_its_best(const std::string& name, std::vector<Waiting> choices,
                            const Measure& measure) {
    const auto chosen = std::make_shared<Waiting>(choices.front());
    Contestant contestant;
    contestant.name = name;
    contestant.run = [=](milliseconds span) { return measure(*chosen, span); };
    contestant.tune = [=] {
        double best = std::numeric_limits<double>::infinity();
        for (const Waiting tried : choices) {
            const double cost = cost_of(measure(tried, milliseconds(40)));
            if (cost >= best) continue;
            best = cost;
            *chosen = tried;
        }
    };
    return contestant;
}

const std::vector<Waiting> alone_on_a_core{Waiting::spinning, Waiting::yielding,
                                           Waiting::sleeping};
const std::vector<Waiting> many_on_a_core{Waiting::sleeping, Waiting::yielding};

Contestant streaming(const std::string& name, const MakeWay& make, Course course,
                     std::size_t bytes) {
    const auto& choices = course.receivers > 1 ? many_on_a_core : alone_on_a_core;
    return with_size(bytes, [&]<std::size_t size>() {
        return waiting_its_best(name, choices, [=](Waiting waiting, milliseconds span) {
            return stream<size>(make, course, waiting, span);
        });
    });
}

}  // namespace

void stay_away(Waiting waiting) noexcept {
    if (waiting == Waiting::yielding) ::sched_yield();
    else relax(empty_pauses);
}

void run_over(Peer& peer, const MakeWay& make) {
    const std::string name = peer.name;
    peer.pingpong = [=](std::size_t bytes) {
        return with_size(bytes, [&]<std::size_t size>() {
            return waiting_its_best(name, alone_on_a_core, [=](Waiting waiting, milliseconds span) {
                return round_trips<size>(make, waiting, span);
            });
        });
    };
    peer.oneway = [=](std::size_t bytes) { return streaming(name, make, {}, bytes); };
    peer.wakeup = [=] { return waking(name, make); };
}

void fan_out_over(Peer& peer, const MakeWay& make) {
    peer.fanout = [=, name = peer.name](std::size_t subscribers) {
        return streaming(name, make, {.receivers = subscribers}, 32);
    };
}

void pack_over(Peer& peer, const MakeWay& make) {
    peer.packed = [=, name = peer.name](std::size_t bytes) {
        return streaming(name, make, {.packed = true}, bytes);
    };
}

}  // namespace shmbus::bench
