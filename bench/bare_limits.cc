// The limits of rings: one stream, one round trip, three streams to one reader.
//
// SPDX-License-Identifier: BSL-1.0
#include "limit_contestants.h"

#include "bare_ring.h"
#include "cargo.h"
#include "crew.h"
#include "histogram.h"
#include "peers/any_size.h"
#include "trips.h"

#include <algorithm>
#include <array>
#include <deque>
#include <stdexcept>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{10'000};
constexpr std::size_t records_per_poll = 256;

template <std::size_t size>
const Cargo<size>& cargo_in(const std::byte* payload) noexcept {
    return *reinterpret_cast<const Cargo<size>*>(payload);
}

// Polls all rings in turn until every sender has ended.
template <std::size_t size>
void receive(std::deque<BareRing>& rings, Tally& tally, RingTuning tuning) {
    std::deque<BareReader> readers;
    for (BareRing& ring : rings) readers.emplace_back(ring);
    // The tally is kept on the stack while counting: in shared memory every message would write it.
    Tally mine;
    mine.expect(rings.size());
    while (!mine.complete()) {
        std::size_t found = 0;
        for (BareReader& reader : readers) {
            found += reader.template poll<size>(records_per_poll, [&](const std::byte* payload) {
                mine.take(cargo_in<size>(payload));
            });
        }
        if (found == 0) relax(tuning.empty_pauses);
    }
    tally = mine;
}

// What a sender writes besides the record: its own state, its caller's, a return address. Each line
// of these that comes between two records costs a stream between cores some of its speed.
template <unsigned lines>
class OtherLines {
public:
    void store(std::uint64_t word) noexcept {
        // relaxed: nobody else reads them; atomic, so that they are really stored.
        for (Line& line : lines_) line.word.store(word, std::memory_order_relaxed);
    }

private:
    struct alignas(64) Line {
        std::atomic<std::uint64_t> word{0};
    };
    std::array<Line, lines> lines_;
};

template <std::size_t size, unsigned other_lines>
Sample stream(std::size_t senders, std::size_t ring_bytes, RingTuning tuning, milliseconds span) {
    std::deque<BareRing> rings;
    for (std::size_t i = 0; i < senders; ++i) rings.emplace_back(ring_bytes);
    Shared<Tally> tally;
    tally->expect(senders);
    Crew crew;
    crew.add("reader", 0, [&](StartLine& line) {
        line.line_up();
        receive<size>(rings, *tally, tuning);
    });
    for (std::size_t i = 0; i < senders; ++i) {
        crew.add("writer " + std::to_string(i), 1, [&, i](StartLine& line) {
            BareWriter writer(rings[i], tuning);
            line.line_up();
            Stream<Cargo<size>> messages(i, span);
            OtherLines<other_lines> others;
            while (messages.more()) {
                const Cargo<size>& cargo = messages.next();
                others.store(cargo.sequence);
                if (senders == 1) writer.write(&cargo, size);
                else writer.write_yielding(&cargo, size);
            }
        });
    }
    Sample sample;
    sample.integrity = crew.run(span + patience);
    if (sample.integrity == "ok") sample.integrity = tally->integrity();
    sample.rate_per_s = tally->rate_per_s();
    return sample;
}

template <std::size_t size, unsigned other_lines = 0>
Contestant streaming(std::size_t senders, std::size_t ring_bytes, std::string name) {
    const auto tuning = std::make_shared<RingTuning>();
    Contestant contestant;
    contestant.name = std::move(name);
    contestant.run = [=](milliseconds span) {
        return stream<size, other_lines>(senders, ring_bytes, *tuning, span);
    };
    contestant.tune = [=] {
        double best_rate = 0;
        for (const unsigned pauses : {1U, 20U, 100U, 500U}) {
            RingTuning tried;
            tried.empty_pauses = pauses;
            const Sample sample =
                stream<size, other_lines>(senders, ring_bytes, tried, milliseconds(40));
            if (sample.rate_per_s.value_or(0) <= best_rate) continue;
            best_rate = *sample.rate_per_s;
            *tuning = tried;
        }
    };
    return contestant;
}

// How the two sides of a round trip behave.
struct TripTuning {
    unsigned empty_pauses = 1;
    unsigned work_steps = 0;
};

// Keeps the core busy: each step needs the one before, three cycles or four.
void work(unsigned steps) noexcept {
    std::uint64_t number = steps;
    for (unsigned i = 0; i < steps; ++i) {
        number *= stirrer;
        asm volatile("" : "+r"(number));
    }
}

// So many steps take so long, as fast as the core is now.
unsigned steps_for(std::chrono::nanoseconds span) {
    constexpr unsigned tried = 100'000;
    work(tried);
    const std::uint64_t begin = now_ticks();
    work(tried);
    const double each_ns = tick_rate().ns(now_ticks() - begin) / tried;
    return static_cast<unsigned>(static_cast<double>(span.count()) / each_ns);
}

template <std::size_t size>
void echo(const BareRing& from, const BareRing& to, TripTuning tuning) {
    BareReader reader(from);
    BareWriter writer(to, RingTuning{});
    bool ended = false;
    while (!ended) {
        const std::size_t found = reader.template poll<size>(1, [&](const std::byte* payload) {
            // Really read and really written: the sum goes back in the filler's first word.
            Cargo<size> cargo = cargo_in<size>(payload);
            ended = cargo.mark == static_cast<std::uint64_t>(Mark::end);
            work(tuning.work_steps);
            writer.write(&cargo, size);
        });
        if (found == 0) relax(tuning.empty_pauses);
    }
}

template <std::size_t size>
void bounce(const BareRing& to, const BareRing& from, milliseconds span, TripTuning tuning,
            Trips& trips) {
    BareWriter writer(to, RingTuning{});
    BareReader reader(from);
    Stream<Cargo<size>> messages(0, span);
    while (messages.more()) {
        const Cargo<size>& cargo = messages.next();
        const std::uint64_t sent = now_ticks();
        work(tuning.work_steps);
        writer.write(&cargo, size);
        while (reader.template poll<size>(1, [&](const std::byte* payload) {
            trips.tally.take(cargo_in<size>(payload));
        }) == 0) {
            relax(tuning.empty_pauses);
        }
        trips.latency.record(now_ticks() - sent);
    }
}

template <std::size_t size>
Sample round_trips(milliseconds span, TripTuning tuning) {
    BareRing there(mebibyte);
    BareRing back(mebibyte);
    Shared<Trips> trips;
    Crew crew;
    crew.add("asker", 0, [&](StartLine& line) {
        line.line_up();
        bounce<size>(there, back, span, tuning, *trips);
    });
    crew.add("answerer", 1, [&](StartLine& line) {
        line.line_up();
        echo<size>(there, back, tuning);
    });
    return run_trips(crew, *trips, span + patience);
}

template <std::size_t size>
Contestant tripping(std::chrono::nanoseconds work) {
    const auto tuning = std::make_shared<TripTuning>();
    Contestant contestant;
    contestant.name = "bare rings, there and back";
    contestant.run = [=](milliseconds span) { return round_trips<size>(span, *tuning); };
    contestant.tune = [=] {
        TripTuning best{0, steps_for(work)};
        double best_ticks = 0;
        for (const unsigned pauses : {0U, 1U, 2U}) {
            const TripTuning tried{pauses, best.work_steps};
            const Sample sample = round_trips<size>(milliseconds(30), tried);
            if (sample.latency->count() == 0) continue;
            const double ticks = sample.latency->quantile(0.5);
            if (best_ticks > 0 && ticks >= best_ticks) continue;
            best_ticks = ticks;
            best = tried;
        }
        *tuning = best;
    };
    return contestant;
}

std::string ring_text(std::size_t ring_bytes) {
    return std::to_string(ring_bytes / mebibyte) + " MiB";
}

[[noreturn]] void refuse(std::size_t payload_bytes) {
    throw std::runtime_error("no limit for payloads of " + std::to_string(payload_bytes) +
                             " bytes; there are 32, 1024 and 65536");
}

}  // namespace

Contestant bare_stream(std::size_t payload_bytes, std::size_t ring_bytes) {
    const std::string name = "bare ring, " + ring_text(ring_bytes);
    return with_size(payload_bytes, [&]<std::size_t size>() {
        return streaming<size>(1, ring_bytes, name);
    });
}

Contestant bare_stream_beside(unsigned other_lines) {
    const std::string name =
        "bare ring, " + std::to_string(other_lines) + " other lines stored a message";
    switch (other_lines) {
        case 1: return streaming<32, 1>(1, mebibyte, name);
        case 2: return streaming<32, 2>(1, mebibyte, name);
        case 4: return streaming<32, 4>(1, mebibyte, name);
        default: throw std::runtime_error("no ring with " + std::to_string(other_lines) +
                                          " other lines a message; there are 1, 2 and 4");
    }
}

Contestant bare_round_trip(std::size_t payload_bytes, std::chrono::nanoseconds work) {
    switch (payload_bytes) {
        case 32: return tripping<32>(work);
        case 1024: return tripping<1024>(work);
        default: refuse(payload_bytes);
    }
}

Contestant bare_three_to_one(std::size_t payload_bytes) {
    const std::string name = "three bare rings, 1 MiB";
    switch (payload_bytes) {
        case 32: return streaming<32>(3, mebibyte, name);
        case 1024: return streaming<1024>(3, mebibyte, name);
        default: refuse(payload_bytes);
    }
}

}  // namespace shmbus::bench
