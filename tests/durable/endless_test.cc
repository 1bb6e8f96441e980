// A stranger's sender that writes on and on, always just ahead of whoever looks: a look at what its
// lane has ends all the same.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/durable.h"
#include "daemon/state.h"
#include "lane/lane_file.h"
#include "lane/protocol.h"
#include "served_bus.h"
#include "wire/record.h"

namespace durable_tests {

using shmbus::Bus;
namespace base = shmbus::base;
namespace daemon = shmbus::daemon;
namespace lane = shmbus::lane;
namespace wire = shmbus::wire;

namespace {

constexpr std::uint64_t page_units = lane::page_bytes / wire::unit_bytes;

// Writes a page of the lane at the moment at which the reader comes to it: the others cannot be
// read by it meanwhile, and each look at one is a fault that is answered here.
struct Endless {
    std::byte* read_at = nullptr;   // where the reader has the lane's data
    std::byte* write_at = nullptr;  // where we have it
    std::uint64_t pages = 0;
    std::uint64_t salt = 0;
    std::uint64_t next = 0;         // position of the next page
    std::uint64_t written = 0;      // pages

    // From this position to the end of its page; that page alone can be read then.
    void write_from(std::uint64_t position) {
        using Word = base::StdWord<std::uint64_t>;
        const std::uint64_t units = pages * page_units;
        next = (position / page_units + 1) * page_units;
        for (std::uint64_t at = position; at < next; ++at) {
            std::byte* const record = write_at + at % units * wire::unit_bytes;
            auto* const words = reinterpret_cast<Word*>(record);
            // For subscribers: no endpoint of its own.
            for (std::uint64_t word = 2; word < 4; ++word)
                words[word].store(0, std::memory_order_relaxed);
            words[1].store(wire::Meta{32, 1, 1, wire::has_durable}.word(),
                           std::memory_order_relaxed);
            lane::publish(words[0], salt, at);
        }
        ++written;
        const std::uint64_t open = position / page_units % pages;
        for (std::uint64_t page = 0; page < pages; ++page)
            if (::mprotect(read_at + page * lane::page_bytes, lane::page_bytes,
                           page == open ? PROT_READ : PROT_NONE) != 0)
                std::abort();
    }
};
Endless endless;

void write_on(int, siginfo_t* info, void*) {
    const auto fault = static_cast<std::byte*>(info->si_addr) - endless.read_at;
    const std::uint64_t page = endless.next / page_units % endless.pages;
    if (fault < 0 || static_cast<std::uint64_t>(fault) / lane::page_bytes != page) std::abort();
    endless.write_from(endless.next);
}

// Where this process has the lane's data.
[[nodiscard]] std::set<std::byte*> mapped_at(const std::string& path) {
    std::set<std::byte*> found;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        if (!line.ends_with(path)) continue;
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        std::uint64_t from = 0;
        char dash = 0;
        std::string rights;
        std::istringstream(line) >> std::hex >> begin >> dash >> end >> rights >> from;
        if (from <= lane::data_at && lane::data_at - from < end - begin)
            found.insert(reinterpret_cast<std::byte*>(begin + (lane::data_at - from)));
    }
    return found;
}

enum class Ended : int { ended = 10, not_endless };

[[nodiscard]] Ended look_at(const daemon::Config& config, const std::string& path) {
    daemon::State state(daemon::Home(config), config, [](auto, const auto&) {});
    daemon::Durable durable(state);
    const std::set<std::byte*> of_sender = mapped_at(path);
    // Nobody's: so it looks at all that is there, and has opened the lane.
    constexpr wire::Reference nobody = wire::make_reference(4'000, 1);
    static_cast<void>(durable.why_needed(nobody));
    // Twice, one behind the other.
    for (std::byte* const at : mapped_at(path))
        if (endless.read_at == nullptr && !of_sender.contains(at)) endless.read_at = at;
    if (endless.read_at == nullptr) return Ended::not_endless;
    const lane::LaneParts ours(base::File::open_at(AT_FDCWD, path, base::Access::read_write),
                               lane::LaneParts::Side::writer);
    endless.write_at = ours.data();
    endless.pages = ours.identity().capacity / lane::page_bytes;
    endless.salt = ours.identity().salt;
    struct sigaction act {};
    act.sa_sigaction = write_on;
    act.sa_flags = SA_SIGINFO;
    if (::sigaction(SIGSEGV, &act, nullptr) != 0) return Ended::not_endless;
    endless.write_from(
        lane::position_in(ours.reader_page().head.load(std::memory_order_relaxed)));
    static_cast<void>(durable.why_needed(nobody));
    // It went round, and was always given more.
    return endless.written > endless.pages ? Ended::ended : Ended::not_endless;
}

}  // namespace

TEST_CASE("a request's look into a lane that its sender writes on and on ends") {
    ServedBus served;
    served.config.journal_lane_bytes = 4 * lane::page_bytes;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 1);
    REQUIRE(wait_until([&] { return served.rests(); }));
    served.kill_daemon();
    const std::vector<std::string> lanes_out = served.lanes_out();
    std::vector<std::string> lanes_in;
    for (const auto& entry : std::filesystem::directory_iterator(served.directory() + "/lanes"))
        if (std::ranges::find(lanes_out, entry.path().string()) == lanes_out.end())
            lanes_in.push_back(entry.path());
    REQUIRE(lanes_in.size() == 1);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::alarm(20);  // the look would go on for ever
        ::_exit(static_cast<int>(look_at(served.config, lanes_in.front())));
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK_FALSE(WIFSIGNALED(status));
    CHECK(WEXITSTATUS(status) == static_cast<int>(Ended::ended));
}

}  // namespace durable_tests
