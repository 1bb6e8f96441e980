// The bus as a contestant of disks: durable commands, so many in flight, and their receipts. The
// handler gets them afterwards, out of the journal for the most part, and looks at each.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "disk_limits.h"
#include "histogram.h"
#include "pages.h"

#include <atomic>
#include <cstdlib>
#include <deque>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{60'000};

struct Board {
    alignas(4096) Histogram latency;
    std::uint64_t received = 0;  // receipts within the span
    std::uint64_t elapsed_ticks = 0;
    std::uint64_t sent = 0;
    alignas(4096) std::uint64_t handled = 0;
    std::uint64_t wrong = 0;
};

template <std::size_t size>
void send_and_wait(const BusHouse& house, StartLine& line, milliseconds span, std::size_t in_flight,
                   Board& board) {
    BusOptions options;
    options.lane_bytes = std::size_t{16} << 20;
    Bus bus = house.join(options);
    line.line_up();
    struct OnTheWay {
        Receipt receipt;
        std::uint64_t sent_ticks;
    };
    std::deque<OnTheWay> on_the_way;
    Kept<size> message;
    fill_up(message);
    const auto send = [&] {
        number(message, board.sent++);
        const std::uint64_t now = now_ticks();
        const Result<Receipt> sent = bus.send(message);
        if (!sent) give_up(sent.error(), "sending durably");
        on_the_way.push_back({*sent, now});
    };
    const auto take_receipts = [&] {
        insist(on_the_way.front().receipt.wait(), "waiting for a receipt");
        const std::uint64_t now = now_ticks();
        while (!on_the_way.empty() && on_the_way.front().receipt.is_there()) {
            board.latency.record(now - on_the_way.front().sent_ticks);
            ++board.received;
            on_the_way.pop_front();
        }
        return now;
    };
    // The first ones make the journal, and are not counted.
    send();
    insist(bus.sync(), "making the journal");
    on_the_way.clear();
    const std::uint64_t begin = now_ticks();
    const std::uint64_t span_ticks = tick_rate().ticks(span);
    std::uint64_t now = begin;
    while (now - begin < span_ticks) {
        while (on_the_way.size() < in_flight) send();
        now = take_receipts();
    }
    board.elapsed_ticks = now - begin;
    message.mark = static_cast<std::uint64_t>(Mark::end);
    number(message, board.sent++);
    message.mark = static_cast<std::uint64_t>(Mark::end);
    if (const auto last = bus.send(message); !last) give_up(last.error(), "ending");
    insist(bus.sync(), "waiting for the last receipt");
    // Now the handler may come: three processes on two cores would measure the scheduler.
    line.line_up();
}

template <std::size_t size>
void handle(const BusHouse& house, StartLine& line, Board& board) {
    Bus bus = house.join();
    EndpointOptions options;
    options.lane_bytes = std::size_t{4} << 20;
    Endpoint endpoint = bus.endpoint("bench.archive", options);
    endpoint.on<Kept<size>>([&](const Kept<size>& message) {
        if (message.sequence != board.handled++) ++board.wrong;
        if (message.mark == static_cast<std::uint64_t>(Mark::end)) endpoint.stop();
    });
    line.line_up();
    line.line_up();
    endpoint.run();
}

template <std::size_t size>
Sample durable_sample(milliseconds span, std::size_t in_flight) {
    const DiskFolder folder;
    // The keeper's daemon reads it.
    const InEnvironment journal("SHMBUS_JOURNAL", folder.path() + "/journal");
    const BusHouse house;
    Shared<Board> board;
    Crew crew;
    crew.add("sender", 0, [&](StartLine& line) {
        send_and_wait<size>(house, line, span, in_flight, *board);
    });
    crew.add("handler", 1, [&](StartLine& line) { handle<size>(house, line, *board); });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    if (sample.integrity == "ok" && (board->wrong > 0 || board->handled != board->sent))
        sample.integrity = "messages lost or disordered";
    sample.latency = std::make_shared<Histogram>(board->latency);
    const double ns = tick_rate().ns(board->elapsed_ticks);
    if (ns > 0) sample.rate_per_s = static_cast<double>(board->received) / ns * 1e9;
    return sample;
}

}  // namespace

Contestant bus_durable(std::size_t payload_bytes, std::size_t in_flight) {
    const std::string name = "durable commands, " + std::to_string(in_flight) + " in flight";
    if (payload_bytes == 65536)
        return {name, [=](milliseconds span) { return durable_sample<65536>(span, in_flight); },
                {}};
    return {name, [=](milliseconds span) { return durable_sample<256>(span, in_flight); }, {}};
}

}  // namespace shmbus::bench
