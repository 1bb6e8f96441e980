// Wakes over a way: from the sender's stamp to a receiver that was asleep.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/way_measures.h"

#include "asleep.h"
#include "crew.h"
#include "pages.h"
#include "ticks.h"

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <unistd.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

struct Ring {
    std::uint64_t number;
    std::uint64_t sent_ticks;
    std::uint64_t last;
    std::uint64_t unused;
};
static_assert(sizeof(Ring) == 32);

struct Board {
    alignas(4096) std::atomic<std::uint64_t> heard{0};
    std::atomic<pid_t> sleeper{0};
    alignas(4096) Histogram latency;
    std::uint64_t wrong = 0;
};

void sleep_and_hear(Way& way, StartLine& line, Board& board) {
    // relaxed: the line-up's edge LINED_UP carries it.
    board.sleeper.store(::getpid(), std::memory_order_relaxed);
    line.line_up();  // the sender is there
    const auto receiver = way.receiver(0, Waiting::sleeping);
    line.line_up();  // the receiver is there
    Ring ring{};
    for (std::uint64_t wanted = 1; ring.last == 0; ++wanted) {
        std::span<const std::byte> got;
        while (got.empty()) got = receiver->receive();
        const std::uint64_t now = now_ticks();
        if (got.size() != sizeof ring) throw std::runtime_error("a wake of another size came");
        std::memcpy(&ring, got.data(), sizeof ring);
        if (ring.number != wanted) ++board.wrong;
        if (ring.last == 0) board.latency.record(now - ring.sent_ticks);
        // Edge HEARD: the sender may go on.
        board.heard.store(ring.number, std::memory_order_release);
    }
    line.line_up();  // nothing is on its way any more
}

void wake(Way& way, StartLine& line, milliseconds span, Board& board) {
    const auto sender = way.sender(Waiting::sleeping);
    line.line_up();  // the sender is there
    line.line_up();  // the receiver is there
    // relaxed: stored before the line-up.
    const Asleep sleeper(board.sleeper.load(std::memory_order_relaxed));
    const std::uint64_t begin = now_ticks();
    const std::uint64_t span_ticks = tick_rate().ticks(span);
    Ring ring{};
    while (ring.last == 0) {
        sleeper.wait();
        ++ring.number;
        ring.last = now_ticks() - begin >= span_ticks ? 1 : 0;
        ring.sent_ticks = now_ticks();
        sender->send(reinterpret_cast<const std::byte*>(&ring), 1);
        // Edge HEARD: the receiver has used the stamp.
        while (board.heard.load(std::memory_order_acquire) != ring.number) relax();
    }
    line.line_up();  // nothing is on its way any more
}

}  // namespace

Sample way_wakes(const MakeWay& make, milliseconds span) {
    const auto way = make(sizeof(Ring), 1);
    Shared<Board> board;
    Crew crew;
    crew.add("waker", 0, [&](StartLine& line) { wake(*way, line, span, *board); });
    crew.add("sleeper", 1, [&](StartLine& line) { sleep_and_hear(*way, line, *board); });
    Sample sample;
    sample.integrity = crew.run(span + way_patience);
    if (sample.integrity == "ok" && board->wrong > 0) sample.integrity = "wakes out of order";
    sample.latency = std::make_shared<Histogram>(board->latency);
    return sample;
}

}  // namespace shmbus::bench
