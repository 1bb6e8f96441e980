// The raw cache-line round trip: two lines, two processes, nothing else.
//
// SPDX-License-Identifier: BSL-1.0
#include "probe.h"

#include "crew.h"
#include "pages.h"
#include "ticks.h"

#include <array>
#include <atomic>
#include <stdexcept>

namespace shmbus::bench {
namespace {

struct alignas(64) Line {
    std::atomic<std::uint64_t> word{0};
};

// One line each way, or so many in turn, as a ring has them; those of the two ways lie pages apart,
// so that no prefetcher takes them for neighbours.
struct Table {
    alignas(4096) std::array<Line, most_raw_lines> pings;
    alignas(4096) std::array<Line, most_raw_lines> pongs;
    alignas(4096) Histogram latency;
};

constexpr std::uint64_t stop = ~std::uint64_t{0};

template <Spin spin>
void await(const std::atomic<std::uint64_t>& line, std::uint64_t wanted) {
    // acquire: edges PING and PONG, the stores are in ask() and answer().
    while (line.load(std::memory_order_acquire) != wanted) {
        if constexpr (spin == Spin::relaxed) relax();
    }
}

template <Spin spin, unsigned lines>
void answer(Table& table) {
    for (std::uint64_t next = 1;; ++next) {
        const std::atomic<std::uint64_t>& ping = table.pings[next % lines].word;
        std::uint64_t seen = 0;
        // Edge PING, the reading end.
        while ((seen = ping.load(std::memory_order_acquire)) != next) {
            if (seen == stop) return;
            if constexpr (spin == Spin::relaxed) relax();
        }
        // Edge PONG, the writing end.
        table.pongs[next % lines].word.store(next, std::memory_order_release);
    }
}

template <Spin spin, unsigned lines>
void ask(Table& table, std::uint64_t span_ticks) {
    const std::uint64_t begin = now_ticks();
    const std::uint64_t warm = begin + span_ticks / 10;
    std::uint64_t now = begin;
    std::uint64_t next = 1;
    for (; now - begin < span_ticks; ++next) {
        const std::uint64_t sent = now_ticks();
        // Edge PING, the writing end.
        table.pings[next % lines].word.store(next, std::memory_order_release);
        await<spin>(table.pongs[next % lines].word, next);
        now = now_ticks();
        if (sent > warm) table.latency.record(now - sent);
    }
    table.pings[next % lines].word.store(stop, std::memory_order_release);
}

template <Spin spin, unsigned lines>
RoundTrips run(std::chrono::milliseconds span) {
    Shared<Table> table;
    const std::uint64_t span_ticks = tick_rate().ticks(span);
    Crew crew;
    crew.add("asker", 0, [&](StartLine& line) {
        line.line_up();
        ask<spin, lines>(*table, span_ticks);
    });
    crew.add("answerer", 1, [&](StartLine& line) {
        line.line_up();
        answer<spin, lines>(*table);
    });
    RoundTrips result;
    result.integrity = crew.run(span + std::chrono::seconds(10));
    result.latency = std::make_shared<Histogram>(table->latency);
    return result;
}

template <unsigned lines>
RoundTrips run(std::chrono::milliseconds span, Spin spin) {
    return spin == Spin::relaxed ? run<Spin::relaxed, lines>(span) : run<Spin::tight, lines>(span);
}

double p50_ns(const RoundTrips& trips) { return tick_rate().ns(trips.latency->quantile(0.5)); }

}  // namespace

RoundTrips raw_round_trips(std::chrono::milliseconds span, Spin spin, unsigned lines) {
    switch (lines) {
        case 1: return run<1>(span, spin);
        case 2: return run<2>(span, spin);
        case 8: return run<8>(span, spin);
        case 64: return run<64>(span, spin);
        default: throw std::logic_error("no raw round trip over that many lines");
    }
}

double probe_ns() {
    // A busy machine may give one of the two processes no core for the whole of a short span.
    for (int attempt = 0; attempt < 20; ++attempt) {
        const RoundTrips trips = raw_round_trips(std::chrono::milliseconds(12), Spin::relaxed);
        if (trips.integrity != "ok") throw std::runtime_error("the probe: " + trips.integrity);
        if (trips.latency->count() > 0) return p50_ns(trips);
    }
    throw std::runtime_error("the probe never had two cores at once; is the machine overloaded?");
}

Placement placement_of(double probe_ns) {
    return probe_ns < 250 ? Placement::near : Placement::far;
}

Contestant raw_round_trip(unsigned lines) {
    const auto spin = std::make_shared<Spin>(Spin::relaxed);
    Contestant contestant;
    contestant.name = "raw cache-line round trip";
    contestant.run = [=](std::chrono::milliseconds span) {
        const RoundTrips trips = raw_round_trips(span, *spin, lines);
        Sample sample;
        sample.latency = trips.latency;
        sample.integrity = trips.integrity;
        return sample;
    };
    contestant.tune = [=] {
        const std::chrono::milliseconds span(30);
        const double relaxed = p50_ns(raw_round_trips(span, Spin::relaxed, lines));
        const double tight = p50_ns(raw_round_trips(span, Spin::tight, lines));
        *spin = relaxed <= tight ? Spin::relaxed : Spin::tight;
    };
    return contestant;
}

}  // namespace shmbus::bench
