// The scenarios over any peer's way: there and back, one way, one to many, waking a sleeper.
//
// How an end waits is tuned: a peer whose own threads need the core loses by spinning, one that is
// polled loses by sleeping. Each is shown at its best.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/way_measures.h"

#include "peers/attempt.h"
#include "ticks.h"

#include <limits>
#include <sched.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr unsigned empty_pauses = 20;

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
    contestant.run = [=](milliseconds span) {
        return attempt([&] { return measure(*chosen, span); });
    };
    contestant.tune = [=] {
        double best = std::numeric_limits<double>::infinity();
        for (const Waiting tried : choices) {
            const double cost =
                cost_of(attempt([&] { return measure(tried, milliseconds(40)); }));
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
    return waiting_its_best(name, choices, [=](Waiting waiting, milliseconds span) {
        return way_stream(make, course, bytes, waiting, span);
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
        return waiting_its_best(name, alone_on_a_core, [=](Waiting waiting, milliseconds span) {
            return way_round_trips(make, bytes, waiting, span);
        });
    };
    peer.oneway = [=](std::size_t bytes) { return streaming(name, make, {}, bytes); };
    peer.wakeup = [=] {
        return Contestant{
            name, [=](milliseconds span) { return attempt([&] { return way_wakes(make, span); }); },
            {}};
    };
    peer.fanout = [=](std::size_t subscribers) {
        return streaming(name, make, {.receivers = subscribers}, 32);
    };
}

void pack_over(Peer& peer, const MakeWay& make) {
    peer.packed = [=, name = peer.name](std::size_t bytes) {
        return streaming(name, make, {.packed = true}, bytes);
    };
}

}  // namespace shmbus::bench
