// The bus as a contestant of continuity: its daemon is killed and started again under load.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "disk_limits.h"
#include "histogram.h"
#include "pages.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <poll.h>
#include <stdexcept>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{60'000};
constexpr std::size_t durable_in_flight = 64;
// So that there is something before and behind the death.
constexpr milliseconds least_span{300};
// A pace at which the handler is never behind, so that a gap is the daemon's and not a queue's.
constexpr std::chrono::microseconds pace{20};

struct Board {
    std::uint64_t sent = 0;
    std::uint64_t handled = 0;
    std::uint64_t wrong = 0;
    std::uint64_t restarts = 0;
    std::atomic<bool> restarted{false};
    alignas(4096) Histogram gaps;
};

void kill_daemon(const BusHouse& house) {
    const pid_t daemon = house.daemon();
    pollfd ended{static_cast<int>(::syscall(SYS_pidfd_open, daemon, 0)), POLLIN, 0};
    if (ended.fd < 0 || ::kill(daemon, SIGKILL) != 0)
        throw std::runtime_error("the daemon is not there to be killed");
    const bool is_dead = ::poll(&ended, 1, 10'000) == 1;
    ::close(ended.fd);
    if (!is_dead) throw std::runtime_error("the daemon does not die");
}

// In the middle of the slice; the next daemon is started by the first who joins.
void replace_daemon(const BusHouse& house, StartLine& line, milliseconds span, Board& board) {
    line.line_up();
    std::this_thread::sleep_for(span / 3);
    kill_daemon(house);
    const Bus bus = Bus::open(house.directory());
    ++board.restarts;
    // Edge RESTARTED: the count.
    board.restarted.store(true, std::memory_order_release);
}

// Whether the sending may end: time is over, and the daemon was replaced meanwhile.
bool is_over(const Board& board, std::uint64_t begin, std::uint64_t span_ticks) {
    // Edge RESTARTED, the reading end.
    return now_ticks() - begin >= span_ticks && board.restarted.load(std::memory_order_acquire);
}

template <typename Message, typename Send>
void send_until_replaced(StartLine& line, milliseconds span, Board& board, Send send) {
    Message message;
    fill_up(message);
    line.line_up();
    const std::uint64_t before = board.sent;
    const std::uint64_t begin = now_ticks();
    const std::uint64_t span_ticks = tick_rate().ticks(span);
    const std::uint64_t pace_ticks = tick_rate().ticks(pace);
    bool ended = false;
    while (!ended) {
        ended = is_over(board, begin, span_ticks);
        number(message, board.sent);
        if (ended) message.mark = static_cast<std::uint64_t>(Mark::end);
        while (now_ticks() - begin < (board.sent - before) * pace_ticks) relax();
        send(message);
        ++board.sent;
    }
}

void send_transient(const BusHouse& house, StartLine& line, milliseconds span, Board& board) {
    Bus bus = house.join();
    send_until_replaced<Parcel<32>>(line, span, board, [&](const Parcel<32>& message) {
        insist(bus.send(message), "sending");
    });
}

void send_durable(const BusHouse& house, StartLine& line, milliseconds span, Board& board) {
    Bus bus = house.join();
    std::deque<Receipt> receipts;
    bus.declare_endpoint<Kept<256>>("bench.sink");
    Kept<256> first;
    fill_up(first);
    number(first, board.sent++);
    // The first one makes the journal.
    if (const auto sent = bus.send(first); !sent) give_up(sent.error(), "sending durably");
    insist(bus.sync(), "making the journal");
    send_until_replaced<Kept<256>>(line, span, board, [&](const Kept<256>& message) {
        const Result<Receipt> sent = bus.send(message);
        if (!sent) give_up(sent.error(), "sending durably");
        receipts.push_back(*sent);
        if (receipts.size() < durable_in_flight) return;
        insist(receipts.front().wait(), "waiting for a receipt");
        receipts.pop_front();
    });
    insist(bus.sync(), "waiting for the last receipt");
}

template <typename Message>
void handle(const BusHouse& house, StartLine& line, bool may_repeat, Board& board) {
    Bus bus = house.join();
    bool ended = false;
    std::uint64_t last = 0;
    Endpoint endpoint = bus.endpoint("bench.sink");
    endpoint.on<Message>([&](const Message& message, Context& context) {
        const std::uint64_t now = now_ticks();
        if (last != 0) board.gaps.record(now - last);
        last = now;
        // What a dead daemon had handed on may come again, and says so.
        if (may_repeat && message.sequence < board.handled && context.envelope().redelivered)
            return;
        if (message.sequence != board.handled++) ++board.wrong;
        ended = message.mark == static_cast<std::uint64_t>(Mark::end);
    });
    line.line_up();
    while (!ended) endpoint.poll();
}

Sample restarted(bool durable, milliseconds span) {
    const DiskFolder folder;
    // The keeper's daemon reads it, and so does the one that comes after it.
    const InEnvironment journal("SHMBUS_JOURNAL", folder.path() + "/journal");
    const BusHouse house;
    Shared<Board> board;
    Crew crew;
    crew.add("handler", 0, [&](StartLine& line) {
        if (durable) handle<Kept<256>>(house, line, true, *board);
        else handle<Parcel<32>>(house, line, false, *board);
    });
    crew.add("sender", 1, [&](StartLine& line) {
        if (durable) send_durable(house, line, span, *board);
        else send_transient(house, line, span, *board);
    });
    crew.add("warden", 1,
             [&](StartLine& line) { replace_daemon(house, line, span, *board); });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    if (sample.integrity == "ok" && (board->wrong > 0 || board->handled != board->sent))
        sample.integrity = "messages lost or disordered";
    if (sample.integrity == "ok" && board->restarts == 0)
        sample.integrity = "the daemon was not replaced";
    sample.latency = std::make_shared<Histogram>(board->gaps);
    return sample;
}

}  // namespace

Contestant bus_restart(bool durable) {
    return {durable ? "durable commands, the daemon killed" : "commands, the daemon killed",
            [=](milliseconds span) { return restarted(durable, std::max(span, least_span)); }};
}

}  // namespace shmbus::bench
