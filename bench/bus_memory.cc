// The bus as a contestant of memory: what the daemon needs while durable messages wait on disk for
// a handler that comes later, and while it gets them.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "disk_limits.h"
#include "pages.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{600'000};

struct Board {
    std::uint64_t most_bytes = 0;
    Tally tally;
};

// The most that was resident of a process at any time, pages it shares included.
std::uint64_t most_resident(pid_t process) {
    std::ifstream status("/proc/" + std::to_string(process) + "/status");
    constexpr std::string_view before = "VmHWM:";
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(before)) return std::stoull(line.substr(before.size())) << 10;
    throw std::runtime_error("the memory of process " + std::to_string(process) +
                             " is not to be read in /proc");
}

void pile_up(const BusHouse& house, StartLine& line, std::uint64_t count) {
    Bus bus = house.join();
    bus.declare_endpoint<Kept<256>>("bench.archive");
    SendOptions patient;
    patient.wait = std::chrono::seconds(60);
    Kept<256> message;
    fill_up(message);
    const std::uint64_t skipped = std::getenv("SHMBUS_BENCH_LOSE") != nullptr ? count / 2 : count;
    for (std::uint64_t i = 0; i < count; ++i) {
        if (i == skipped) continue;
        number(message, i);
        if (i + 1 == count) message.mark = static_cast<std::uint64_t>(Mark::end);
        const Result<Receipt> kept = bus.send(message, patient);
        if (!kept) give_up(kept.error(), "piling up");
    }
    insist(bus.sync(std::chrono::seconds(60)), "waiting for the last receipt");
    line.line_up();  // all of it is on disk
    line.line_up();  // it is gone
}

void clear_away(const BusHouse& house, StartLine& line, Board& board) {
    line.line_up();  // all of it is on disk
    Bus bus = house.join();
    Tally mine;
    mine.expect(1);
    Endpoint endpoint = bus.endpoint("bench.archive");
    endpoint.on<Kept<256>>([&](const Kept<256>& message) {
        mine.take(message);
    });
    while (!mine.complete()) endpoint.poll();
    board.most_bytes = most_resident(house.daemon());
    board.tally = mine;
    line.line_up();  // it is gone
}

Sample measured(std::uint64_t count, std::uint64_t allowed_bytes) {
    const DiskFolder folder;
    // The keeper's daemon reads it.
    const InEnvironment journal("SHMBUS_JOURNAL", folder.path() + "/journal");
    const BusHouse house;
    Shared<Board> board;
    Crew crew;
    crew.add("sender", 0, [&](StartLine& line) { pile_up(house, line, count); });
    crew.add("handler", 1, [&](StartLine& line) { clear_away(house, line, *board); });
    Sample sample;
    sample.integrity = crew.run(patience);
    if (sample.integrity == "ok") sample.integrity = board->tally.integrity();
    if (board->most_bytes > 0)
        sample.memory_bytes = static_cast<double>(board->most_bytes + allowed_bytes);
    return sample;
}

}  // namespace

Contestant bus_daemon_memory(std::uint64_t backlog, std::uint64_t allowed_bytes) {
    std::string name = "daemon's memory, " + std::to_string(backlog) + " waiting";
    if (allowed_bytes > 0) name += ", and " + std::to_string(allowed_bytes >> 20) + " MiB";
    return {std::move(name), [=](milliseconds) { return measured(backlog, allowed_bytes); }};
}

}  // namespace shmbus::bench
