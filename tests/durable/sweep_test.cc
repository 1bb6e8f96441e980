// A death that no memory is left for, at any allocation of the sweeps that clear it away: the
// daemon goes on, and when there is some again nothing is left of the dead, and nothing is counted
// twice.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mapping.h"
#include "daemon/server.h"
#include "daemon/state.h"
#include "lane/inbox_file.h"
#include "question.h"
#include "served_bus.h"
#include "support/own_new.h"
#include "wire/names.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Endpoint;
using shmbus::test::own_new;

namespace {

namespace daemon = shmbus::daemon;

struct Rumour {
    static constexpr auto message = shmbus::event("test.sweep.told", shmbus::transient);
    std::uint64_t number = 0;
};

// Shared with the daemon.
struct NoMemory {
    std::atomic<bool> serves{false};
    std::atomic<std::uint64_t> fails_at{0};  // an allocation, counted from the next SIGUSR1 on
    std::atomic<bool> lasts{false};          // until the SIGUSR1 after that
    std::atomic<std::uint64_t> told{0};      // how often it was told
    std::atomic<std::uint64_t> failed{0};    // how often it has begun
    std::atomic<std::uint64_t> logged{0};
};
NoMemory* of_daemon = nullptr;

void be_told(int) {
    own_new() = {.fails_at = of_daemon->fails_at,
                 .lasts = of_daemon->lasts,
                 .acts_at = of_daemon->fails_at,
                 .act = [] { ++of_daemon->failed; }};
    ++of_daemon->told;
}

// As any daemon does, until it is killed.
[[nodiscard]] pid_t start_daemon(const ServedBus& served, NoMemory& shortage) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) std::abort();
    of_daemon = &shortage;
    if (::signal(SIGUSR1, be_told) == SIG_ERR) std::abort();
    try {
        const auto log = [&](shmbus::LogLevel, const std::string& text) {
            if (text.find("no memory left") != std::string::npos) ++shortage.logged;
        };
        daemon::State state(daemon::Home(served.config), served.config, log);
        daemon::Durable durable(state);
        daemon::Server server(state, durable);
        shortage.serves = true;
        static_cast<void>(server.run());
    } catch (...) {
    }
    ::_exit(1);
}

// What stands in the folders of the bus.
[[nodiscard]] std::vector<std::string> files_of(const ServedBus& served) {
    std::vector<std::string> found;
    for (const char* const folder : {"participants", "inboxes", "lanes"})
        for (const auto& entry :
             std::filesystem::directory_iterator(served.directory() + "/" + folder))
            found.push_back(entry.path());
    std::ranges::sort(found);
    return found;
}

// What the lanes that are gone have carried into this endpoint, in units.
[[nodiscard]] std::uint64_t carried_into(const ServedBus& served, const char* endpoint) {
    const auto row = served.rows().find_endpoint(endpoint);
    const auto file = shmbus::base::File::open_at(
        AT_FDCWD,
        served.directory() + "/inboxes/" +
            shmbus::wire::numbered_file(row->index, row->row.generation),
        shmbus::base::Access::read_only);
    const shmbus::base::Mapping page(file,
                                     {shmbus::lane::consumers_page_at, shmbus::lane::page_bytes},
                                     shmbus::base::Access::read_only);
    return page.at<shmbus::lane::StdConsumers>(0).kept_units.load(std::memory_order_relaxed);
}

// A process that has a place at "shared", lanes into it and into "peer", a publication and a reply
// inbox with a lane into it, and has taken two messages.
[[nodiscard]] pid_t start_victim(const ServedBus& served, Endpoint& peer) {
    std::array<int, 2> ready{};
    REQUIRE(::pipe(ready.data()) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        Bus own = served.open();
        Endpoint place = own.endpoint("shared");
        place.on<Plain>([&](const Plain&) {
            if (::write(ready[1], "!", 1) == 1) ::pause();
            ::_exit(1);
        });
        if (!own.publish(Rumour{1}) || !own.request(Question{1}).wait() || !own.send(Plain{1}) ||
            !own.send(Plain{2}))
            ::_exit(1);
        // Ends: in the handler.
        for (;;)
            if (place.poll() == 0) place.wait(1ms);
    }
    ::close(ready[1]);
    REQUIRE(handle_until(peer, [&] {
        pollfd watched{ready[0], POLLIN, 0};
        return ::poll(&watched, 1, 0) == 1;
    }));
    char one = 0;
    REQUIRE(::read(ready[0], &one, 1) == 1);
    ::close(ready[0]);
    return child;
}

}  // namespace

TEST_CASE("a death is cleared up wholly at a later sweep, whatever allocation of one fails") {
    void* const memory = ::mmap(nullptr, sizeof(NoMemory), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    NoMemory& shortage = *new (memory) NoMemory;
    ServedBus served;
    const pid_t child = start_daemon(served, shortage);
    REQUIRE(wait_until([&] { return shortage.serves.load(); }));
    {
        Bus bus = served.open();
        Endpoint peer = bus.endpoint("peer");
        peer.on<Rumour>([](const Rumour&) {});
        peer.on<Question>([](const Question& question, shmbus::Context& context) {
            context.reply(Answer{question.number}).value();
        });
        Endpoint shared = bus.endpoint("shared");
        std::uint64_t handled = 0;
        shared.on<Plain>([&](const Plain&) { ++handled; });
        std::vector<std::string> files;  // as they are when all is cleared up
        bool died = false;
        const auto has_died = [&] {
            return died = died || ::waitpid(child, nullptr, WNOHANG) == child;
        };
        const auto tell = [&](std::uint64_t fails_at) {
            const std::uint64_t told = shortage.told;
            shortage.fails_at = fails_at;
            REQUIRE(::kill(child, SIGUSR1) == 0);
            REQUIRE(wait_until([&] { return shortage.told > told || has_died(); }));
        };
        const shmbus::directory::DirectoryReader rows = served.rows();
        const auto remains = [&]() -> std::string {
            std::vector<shmbus::directory::Participant> participants;
            std::vector<shmbus::directory::PublicationRow> publications;
            std::vector<shmbus::directory::LaneRow> lanes;
            std::vector<shmbus::directory::Endpoint> endpoints;
            if (!rows.participants(participants) || !rows.publications(publications) ||
                !rows.lanes(lanes) || !rows.endpoints(endpoints))
                return "rows that keep changing";
            if (participants.size() != 1) return "its row";
            if (!publications.empty()) return "its publication";
            if (!lanes.empty()) return "a lane's row";
            for (const auto& endpoint : endpoints)
                if (endpoint.row.kind == shmbus::directory::EndpointKind::reply_inbox)
                    return "its reply inbox's row";
            if (!files.empty() && files_of(served) != files) return "a file";
            for (const auto& endpoint : endpoints) {
                if (endpoint.row.kind != shmbus::directory::EndpointKind::ordinary) continue;
                shmbus::lane::InboxAdmin inbox(shmbus::base::File::open_at(
                    AT_FDCWD,
                    served.directory() + "/inboxes/" +
                        shmbus::wire::numbered_file(endpoint.index, endpoint.row.generation),
                    shmbus::base::Access::read_write));
                if (!inbox.lanes().empty()) return "a lane in an inbox's table";
                int places = 0;
                for (std::uint16_t slot = 0; slot < shmbus::lane::most_consumers; ++slot)
                    places += inbox.consumer(slot) != 0 ? 1 : 0;
                if (places != 1) return "its place among consumers";
            }
            return {};
        };
        std::uint64_t into_peer = 0;
        std::uint64_t into_shared = 0;
        // Whether that allocation was made, and failed, before all was cleared up.
        const auto fails = [&](std::uint64_t at) {
            const std::uint64_t failed = shortage.failed;
            const std::uint64_t peer_before = carried_into(served, "peer");
            const std::uint64_t shared_before = carried_into(served, "shared");
            handled = 0;
            const pid_t victim = start_victim(served, peer);
            tell(at);
            kill_process(victim);
            const auto takes = [&](auto&& enough) {
                return handle_until(shared, [&] { return has_died() || enough(); });
            };
            INFO("allocation ", at, ", and all that follow: ", shortage.lasts.load());
            CHECK(takes([&] {
                return shortage.failed > failed || (handled == 2 && remains().empty());
            }));
            REQUIRE_FALSE(died);
            tell(0);
            const bool is_clear = takes([&] { return handled == 2 && remains().empty(); });
            INFO("what remains: ", remains());
            CHECK(is_clear);
            CHECK(handled == 2);
            if (into_peer == 0) {
                into_peer = carried_into(served, "peer");
                into_shared = carried_into(served, "shared");
            }
            CHECK(carried_into(served, "peer") == peer_before + into_peer);
            CHECK(carried_into(served, "shared") == shared_before + into_shared);
            return shortage.failed > failed;
        };
        // Makes the error endpoint as well, for those that might kill once more.
        REQUIRE_FALSE(fails(0));
        files = files_of(served);
        for (const bool lasts : {false, true}) {
            shortage.lasts = lasts;
            std::uint64_t at = 1;
            // Ends: no death makes the daemon make so many allocations.
            while (fails(at)) REQUIRE(++at < 2000);
            MESSAGE("failed up to allocation ", at - 1);
            CHECK(at > 20);
        }
        CHECK(shortage.logged > 0);
        kill_process(child);
    }
    ::munmap(memory, sizeof(NoMemory));
}

}  // namespace durable_tests
