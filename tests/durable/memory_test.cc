// What happens at any allocation of the daemon's: no memory is left, and the turn is given up, the
// daemon goes on, and every message is handled once; or a file is cut short there.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shmbus/result.h>

#include "daemon/outlet.h"
#include "daemon/server.h"
#include "daemon/state.h"
#include "daemon/step.h"
#include "journal/journal.h"
#include "served_bus.h"
#include "support/own_new.h"
#include "wire/names.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Endpoint;
using shmbus::test::own_new;

namespace {

namespace daemon = shmbus::daemon;

// Shared with the daemon.
struct Wish {
    std::atomic<bool> serves{false};        // as any daemon does; asked by a signal, it only turns
    std::atomic<bool> turns{false};
    std::atomic<std::uint64_t> fails_at{0};  // counted over turns, from the next one on
    std::atomic<bool> lasts{false};          // to the end of the turn in which it begins
    std::atomic<std::uint64_t> again{0};     // and once more, counted from the next turn on
    std::atomic<std::uint64_t> failed{0};    // how often it has begun
    std::atomic<std::uint64_t> logged{0};
};

// Of this thread's allocations.
void fail_at(std::uint64_t at, bool lasts) {
    own_new().fails_at = at;
    own_new().lasts = lasts;
    own_new().has_failed = false;
}

[[noreturn]] void turn_for_ever(daemon::Durable& durable, Wish& wish) {
    for (;;) {
        if (const std::uint64_t at = wish.fails_at.exchange(0); at != 0)
            fail_at(at, wish.lasts);
        static_cast<void>(durable.turn());
        if (!own_new().has_failed) continue;
        fail_at(wish.again.exchange(0), wish.lasts);
        ++wish.failed;
    }
}

[[nodiscard]] pid_t start_daemon(const ServedBus& served, Wish& wish) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    // It turns for ever: should the test be killed, nobody would end it.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) std::abort();
    const auto log = [&](shmbus::LogLevel, const std::string& text) {
        if (text.find("no memory left") != std::string::npos) ++wish.logged;
    };
    daemon::State state(daemon::Home(served.config), served.config, log);
    daemon::Durable durable(state);
    daemon::Server server(state, durable);
    wish.serves = true;
    static_cast<void>(server.run());
    wish.turns = true;
    turn_for_ever(durable, wish);
}

// What the journal has left for the endpoint when an outlet has taken up its lanes, and the
// endpoint's inbox was cut short at that allocation. Nothing: it makes fewer of them.
[[nodiscard]] std::optional<std::uint64_t> left_after_cut(daemon::Config config,
                                                          const std::string& folder,
                                                          const char* endpoint, std::uint64_t at) {
    constexpr int none = 100;
    ::test::copy_sparsely(config.directory, folder + "/bus");
    ::test::copy_sparsely(config.journal, folder + "/journal");
    config.directory = folder + "/bus";
    config.journal = folder + "/journal";
    const pid_t child = ::fork();
    if (child == 0) {
        daemon::State state(daemon::Home(config), config, [](auto, const auto&) {});
        shmbus::journal::RealStorage storage(config.journal);
        shmbus::journal::Options options;
        options.segment_bytes = config.journal_segment_bytes;
        shmbus::journal::Journal journal(storage, options);
        const std::uint32_t index = state.find_endpoint(endpoint);
        const std::uint32_t generation =
            state.tables().row<shmbus::directory::EndpointRow>(index).generation;
        static const std::string inbox =
            config.directory + "/inboxes/" + shmbus::wire::numbered_file(index, generation);
        own_new().act = [] {
            if (::truncate(inbox.c_str(), 4096) != 0) std::abort();
        };
        own_new().acts_at = at;
        try {
            daemon::Outlet outlet(state, index, generation, journal.status().durable_lsn);
            if (std::exchange(own_new().acts_at, 0) != 0) ::_exit(none);
            static_cast<void>(outlet.fill(journal));
            static_cast<void>(outlet.settle(journal, {}));
        } catch (const shmbus::SetupError&) {  // cut before it was open
            own_new().acts_at = 0;
        }
        if (journal.commit().outcome != shmbus::journal::Outcome::ok) ::_exit(none + 1);
        ::_exit(static_cast<int>(journal.backlog(shmbus::wire::make_reference(index, generation))));
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    std::filesystem::remove_all(folder + "/bus");
    std::filesystem::remove_all(folder + "/journal");
    REQUIRE(WIFEXITED(status));
    if (WEXITSTATUS(status) == none) return {};
    return static_cast<std::uint64_t>(WEXITSTATUS(status));
}

// What a first daemon after a reboot makes of it that no memory is left at that allocation from
// the opened journal to the published rows, and enough when it is asked again.
enum class Start : int { whole = 10, without_failure, not_again, without_rows };
std::uint64_t start_fails_at = 0;

[[nodiscard]] Start start_after_reboot(const daemon::Config& config, std::uint64_t at) {
    daemon::State state(daemon::Home(config), config, [](auto, const auto&) {});
    start_fails_at = at;
    daemon::on_step = [](const char* name) {
        const std::string_view step(name);
        if (step == "journal opened") fail_at(std::exchange(start_fails_at, 0), false);
        if (step == "rows committed") own_new().fails_at = 0;
    };
    daemon::Durable durable(state);
    const bool has_failed = own_new().has_failed;
    try {
        static_cast<void>(durable.address());
    } catch (const daemon::Refusal&) {
        return Start::not_again;
    }
    if (state.find_endpoint("worker") == 0 ||
        state.tables().live_rows<shmbus::directory::TypeRow>() != 2 ||
        state.tables().live_rows<shmbus::directory::SubscriptionRow>() != 1)
        return Start::without_rows;
    return has_failed ? Start::whole : Start::without_failure;
}

// Whether a daemon that no memory is left for when a request makes it look into its lanes reads
// them afterwards: `sent` messages are then on disk.
enum class Look : int { whole = 10, without_failure, lane_lost };

[[nodiscard]] Look look_fails(const daemon::Config& config, std::uint64_t at, std::uint64_t sent) {
    daemon::State state(daemon::Home(config), config, [](auto, const auto&) {});
    daemon::Durable durable(state);
    fail_at(at, false);
    try {
        // Nobody's: so it looks at all that is there.
        static_cast<void>(durable.why_needed(shmbus::wire::make_reference(4'000, 1)));
    } catch (const std::bad_alloc&) {
    }
    own_new().fails_at = 0;
    const bool has_failed = own_new().has_failed;
    while (durable.turn()) {
    }
    const std::uint32_t index = state.find_endpoint("worker");
    const auto generation = state.tables().row<shmbus::directory::EndpointRow>(index).generation;
    const std::string left = durable.why_needed(shmbus::wire::make_reference(index, generation));
    if (!left.starts_with(std::to_string(sent) + " durable messages")) return Look::lane_lost;
    return has_failed ? Look::whole : Look::without_failure;
}

// What becomes of it that this allocation of keeping a new endpoint's row fails, when it is asked
// again, as a client does. Out of service, the journal takes no rows until it is back.
enum class Keeping : int { acknowledged = 10, without_failure, out_of_service };

[[nodiscard]] Keeping keeping_fails(const daemon::Config& config, int at) {
    daemon::State state(daemon::Home(config), config, [](auto, const auto&) {});
    daemon::Durable durable(state);
    shmbus::directory::EndpointRow row{};
    row.kind = shmbus::directory::EndpointKind::ordinary;
    row.lane_bytes = 4096;
    row.uid = ::geteuid();
    state.make_endpoint(row, "late" + std::to_string(at));
    state.tables().commit();
    fail_at(static_cast<std::uint64_t>(at), false);
    try {
        durable.keep_changes();
    } catch (const std::bad_alloc&) {
    }
    own_new().fails_at = 0;
    if (!own_new().has_failed) return Keeping::without_failure;
    durable.keep_changes();
    const std::string why = durable.why_needed(shmbus::wire::make_reference(4'000, 1));
    return why.empty() ? Keeping::acknowledged : Keeping::out_of_service;
}

}  // namespace

TEST_SUITE("durable") {

TEST_CASE("what no memory was left for at the first start after a reboot comes back at the next") {
    ServedBus served;
    served.serve();
    {
        Bus bus = served.open();
        Endpoint worker = bus.endpoint("worker");
        worker.on<Work>([](const Work&) {});
        worker.on<Done>([](const Done&) {});
        send_numbers(bus, 1, 1);
    }
    served.wipe_memory();
    auto outcome = Start::whole;
    std::uint64_t at = 1;
    // Ends: with the first allocation that a start does not make.
    for (; outcome == Start::whole; ++at) {
        REQUIRE(at < 1000);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) ::_exit(static_cast<int>(start_after_reboot(served.config, at)));
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        served.wipe_memory();
        INFO("allocation ", at);
        REQUIRE(WIFEXITED(status));
        outcome = static_cast<Start>(WEXITSTATUS(status));
        INFO("it ended with ", WEXITSTATUS(status));
        CHECK((outcome == Start::whole || outcome == Start::without_failure));
    }
    MESSAGE("failed up to allocation ", at - 2);
    CHECK(at > 3);
}

TEST_CASE("rows that change again and again take no more memory each time") {
    ServedBus served;
    daemon::State state(daemon::Home(served.config), served.config, [](auto, const auto&) {});
    auto& tables = state.tables();
    using shmbus::directory::LaneRow;
    static_cast<void>(tables.take_changes());
    const auto used = [] { return ::mallinfo2().uordblks + ::mallinfo2().hblkhd; };
    const std::size_t before = used();
    for (int time = 0; time < 10'000; ++time) {
        for (std::uint32_t row = 1; row <= 50; ++row)
            static_cast<void>(tables.change<LaneRow>(row));
        tables.commit();
    }
    CHECK(used() < before + (64 << 10));
    CHECK(tables.take_changes().size() == 50);
}

TEST_CASE("a request's look into the lanes that no memory is left for loses none of them") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 1);
    std::uint64_t sent = 1;
    std::uint64_t at = 1;
    // Ends: with the first allocation that such a look does not make.
    for (bool has_failed = true; has_failed; ++at) {
        REQUIRE(at < 1000);
        served.kill_daemon();
        REQUIRE(bus.send(Work{++sent, 2 * sent}));
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) ::_exit(static_cast<int>(look_fails(served.config, at, sent)));
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        INFO("allocation ", at);
        REQUIRE(WIFEXITED(status));
        const auto look = static_cast<Look>(WEXITSTATUS(status));
        has_failed = look != Look::without_failure;
        CHECK(look != Look::lane_lost);
    }
    CHECK(at > 5);
}

TEST_CASE("a row that no memory was left for is on disk once it is acknowledged all the same") {
    ServedBus served;
    served.serve();
    {
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        send_numbers(bus, 1, 1);
    }
    served.kill_daemon();
    const auto kept_endpoints = [&] {
        shmbus::journal::RealStorage storage(served.journal());
        const shmbus::journal::Journal journal(storage);
        constexpr auto table = static_cast<std::uint16_t>(shmbus::directory::Table::endpoints);
        return std::ranges::count_if(journal.ledger().items, [](const auto& item) {
            return item.first.type == table;
        });
    };
    const auto before = kept_endpoints();
    int at = 1;
    // Ends: with the first allocation that is not made.
    for (auto keeping = Keeping::acknowledged; keeping != Keeping::without_failure; ++at) {
        REQUIRE(at < 1000);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) ::_exit(static_cast<int>(keeping_fails(served.config, at)));
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        INFO("allocation ", at);
        REQUIRE(WIFEXITED(status));
        keeping = static_cast<Keeping>(WEXITSTATUS(status));
        if (keeping != Keeping::out_of_service) CHECK(kept_endpoints() == before + at);
    }
    CHECK(at > 3);
}

TEST_CASE("nothing counts as handled because an inbox was cut short while its lanes are taken up") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    Endpoint worker = bus.endpoint("worker");
    const ::test::Folder folder("cut");
    std::uint64_t cuts = 0;
    bool comes_alone = false;
    SUBCASE("all of them in one hand") {}
    SUBCASE("the first one in a hand, the others behind it") { comes_alone = true; }
    worker.on<Work>([&](const Work& work) {
        if (work.number != 1) return;
        // The first is alone in its hand, or all of them are in ours.
        if (comes_alone) {
            std::thread([&] { send_numbers(bus, 2, 5); }).join();
            CHECK(wait_until([&] { return served.rests(); }));
        }
        served.kill_daemon();
        // Left by the killed one, and no file that can be copied.
        std::filesystem::remove(served.directory() + "/control.sock");
        for (std::uint64_t at = 1;; ++at) {
            const auto left = left_after_cut(served.config, folder.path(), "worker", at);
            if (!left) break;
            INFO("allocation ", at);
            CHECK(*left == 5);
            ++cuts;
        }
    });
    send_numbers(bus, 1, comes_alone ? 1 : 5);
    CHECK(handle_until(worker, [&] { return cuts != 0; }));
    MESSAGE("cut short at so many allocations: ", cuts);
    CHECK(cuts > 3);
}

TEST_CASE("a turn that no memory is left for is given up; the next goes on, and nothing is lost") {
    void* const memory = ::mmap(nullptr, sizeof(Wish), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    Wish& wish = *new (memory) Wish;
    ServedBus served;
    const pid_t child = start_daemon(served, wish);
    REQUIRE(wait_until([&] { return wish.serves.load(); }));
    std::map<std::uint64_t, int> handled;
    std::map<std::uint64_t, int> heard;
    {
        Bus bus = served.open();
        Endpoint one = bus.endpoint("one");
        Endpoint two = bus.endpoint("two");
        one.on<Work>([&](const Work& work) { ++handled[work.number]; });
        two.on<Done>([&](const Done& done) { ++heard[done.number]; });
        std::uint64_t number = 0;
        const auto send = [&] {
            ++number;
            REQUIRE(bus.send(Work{number, 2 * number}, {.wait = 20s}));
            REQUIRE(bus.publish(Done{number}, {.wait = 20s}));
        };
        const auto has_died = [&] { return ::waitpid(child, nullptr, WNOHANG) == child; };
        const auto all_came = [&] {
            one.poll();
            two.poll();
            return handled.size() == number && heard.size() == number;
        };
        send();
        REQUIRE(wait_until(all_came));
        ::kill(child, SIGTERM);
        REQUIRE(wait_until([&] { return wish.turns.load(); }));
        // What failed while a message was on its way, and how often.
        const auto fail = [&](std::uint64_t at, std::uint64_t again) {
            const std::uint64_t failed = wish.failed;
            wish.again = again;
            wish.fails_at = at;
            REQUIRE(wait_until([&] { return wish.fails_at == 0 || has_died(); }));
            send();
            bool died = false;
            CHECK(wait_until([&] { return (died = has_died()) || all_came(); }));
            INFO("allocation ", at, ", then ", again, ", and all that follow: ", wish.lasts.load());
            REQUIRE_FALSE(died);
            return wish.failed - failed;
        };
        for (const bool lasts : {false, true}) {
            wish.lasts = lasts;
            // Ends, both: no message makes the daemon make so many allocations.
            std::uint64_t at = 1;
            for (; fail(at, 0) == 1; ++at) REQUIRE(at < 2000);
            std::uint64_t again = 1;
            // Of those that take the service up again only some: each costs a second.
            for (; fail(1, again) == 2; again += 1 + again) REQUIRE(again < 2000);
            MESSAGE("failed up to allocation ", at - 1, " of a turn, ", again - 1, " of the next");
            // How many a turn makes depends on what it finds; that they did fail does not.
            CHECK(at > 5);
            CHECK(again > 15);
        }
        CHECK(wish.logged > 0);
        for (const auto& counts : {handled, heard})
            for (const auto& [which, times] : counts) CHECK(times == 1);
        kill_process(child);
    }
    // What is on disk says the same.
    served.serve();
    Bus bus = served.open();
    Endpoint one = bus.endpoint("one");
    one.on<Work>([&](const Work& work) { ++handled[work.number]; });
    REQUIRE(bus.send(Work{1'000'000, 0}, {.wait = 20s}));
    CHECK(handle_until(one, [&] { return handled.contains(1'000'000); }));
    CHECK(wait_until([&] { return served.rests(); }));
    for (const auto& [which, times] : handled) CHECK(times == 1);
    ::munmap(memory, sizeof(Wish));
}

}

}  // namespace durable_tests
