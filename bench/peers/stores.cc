// The durable ladder over any peer's store: so many messages without an acknowledgement at a time.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/store.h"

#include "cargo.h"
#include "crew.h"
#include "disk_limits.h"
#include "pages.h"
#include "peers/attempt.h"

#include <cstdlib>
#include <deque>
#include <stdexcept>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

// Reading back may take longer than writing did.
constexpr milliseconds patience{120'000};

struct Board {
    Histogram latency;
    std::uint64_t acknowledged = 0;  // within the span
    std::uint64_t elapsed_ticks = 0;
    Tally read;
};

// Numbers messages, sends them, and knows which ones are on their way.
class Window {
public:
    Window(Store& store, Board& board) : store_(store), board_(board) { fill_up(message_); }

    void send(Mark mark = Mark::plain) {
        // To whoever reads it back this is a message lost on its way.
        if (loses_one_ && sent_ == 5) ++sent_;
        number(message_, sent_++);
        message_.mark = static_cast<std::uint64_t>(mark);
        const std::uint64_t now = now_ticks();
        store_.send(reinterpret_cast<const std::byte*>(&message_));
        on_the_way_.push_back(now);
    }

    // Waits for the oldest, takes all that have come. `counted` ones make the figures.
    void take(bool counted) {
        std::size_t count = store_.acknowledged();
        const std::uint64_t now = now_ticks();
        if (count > on_the_way_.size())
            throw std::runtime_error("more was acknowledged than sent");
        for (; count > 0; --count) {
            if (counted) board_.latency.record(now - on_the_way_.front());
            if (counted) ++board_.acknowledged;
            on_the_way_.pop_front();
        }
    }

    void take_all() {
        while (!on_the_way_.empty()) take(false);
    }

    std::size_t on_the_way() const noexcept { return on_the_way_.size(); }
    std::uint64_t sent() const noexcept { return sent_ - (loses_one_ ? 1 : 0); }

private:
    bool loses_one_ = std::getenv("SHMBUS_BENCH_LOSE") != nullptr;  // for tests
    Store& store_;
    Board& board_;
    Cargo<stored_bytes> message_;
    std::uint64_t sent_ = 0;
    std::deque<std::uint64_t> on_the_way_;  // when each was sent
};

// Returns how many there must be.
std::uint64_t write_all(StoreHouse& house, milliseconds span, std::size_t in_flight, Board& board) {
    const auto store = house.open();
    Window window(*store, board);
    // The first one makes files, and is not counted.
    window.send(Mark::begin);
    window.take_all();
    const std::uint64_t begin = now_ticks();
    const std::uint64_t span_ticks = tick_rate().ticks(span);
    while (now_ticks() - begin < span_ticks) {
        while (window.on_the_way() < in_flight) window.send();
        window.take(true);
    }
    board.elapsed_ticks = now_ticks() - begin;
    window.send(Mark::end);
    window.take_all();
    return window.sent();
}

Sample stored(const MakeHouse& make, std::size_t in_flight, milliseconds span) {
    const DiskFolder folder;
    const auto house = make(folder.path());
    Shared<Board> board;
    Crew crew;
    crew.add("sender", 0, [&](StartLine&) {
        const std::uint64_t count = write_all(*house, span, in_flight, *board);
        // All by a new connection: what only this one had in its memory does not count.
        house->open()->read_back(count, [&](const std::byte* message) {
            board->read.take_at<stored_bytes>(message);
        });
    });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    if (sample.integrity == "ok") sample.integrity = board->read.integrity();
    sample.latency = std::make_shared<Histogram>(board->latency);
    const double ns = tick_rate().ns(board->elapsed_ticks);
    if (ns > 0) sample.rate_per_s = static_cast<double>(board->acknowledged) / ns * 1e9;
    return sample;
}

}  // namespace

void keep_in(Peer& peer, const MakeHouse& make) {
    peer.durable = [=, name = peer.name](std::size_t in_flight) {
        const auto run = [=](milliseconds span) {
            return attempt([&] { return stored(make, in_flight, span); });
        };
        return Contestant{name, run, {}};
    };
}

}  // namespace shmbus::bench
