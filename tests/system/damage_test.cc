// Damage that a process does to itself or to others, and what the others make of it.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <vector>

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system/stage.h"

using namespace system_tests;
using shmbus::ErrorCode;

namespace {

// The page of this process's sign of life. By name: to close any descriptor of it would take the
// lock away that proves the process alive.
std::string own_page() {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        const std::string path = std::filesystem::read_symlink(entry.path(), gone).string();
        if (path.find("/participants/") != std::string::npos) return path;
    }
    return {};
}

enum class Damage : std::uint8_t { cut_short, wiped };

void damage(const std::string& page, Damage how) {
    if (::truncate(page.c_str(), 0) != 0) ::_exit(40);
    if (how == Damage::wiped && ::truncate(page.c_str(), 4096) != 0) ::_exit(41);
}

// Holds Job 1 and damages its own page. Words: 2 ready, 3 damaged.
int hold_damaged(const Stage& stage, Damage how) {
    Bus bus = stage.join();
    Endpoint endpoint = bus.endpoint("jobs", small_lanes());
    endpoint.on<Job>([&](const Job&) {
        damage(own_page(), how);
        stage.words->set(3, 1);
        for (;;) ::pause();
    });
    stage.words->add(2);
    handle_jobs(endpoint, [] { return false; });
    return 0;
}

// Words: 0 handled, 1 marked.
int survive(const Stage& stage, std::uint64_t all) {
    Bus bus = stage.join();
    Endpoint endpoint = bus.endpoint("jobs", small_lanes());
    endpoint.on<Job>([&](const Job& job, Context& context) {
        if (context.redelivered()) stage.words->add(1, job.number);
        stage.words->add(0);
    });
    stage.words->add(2);
    handle_jobs(endpoint, [&] { return stage.words->get(0) >= all; });
    return 0;
}

// Puts `now` wherever `before` stands in a lane of the bus.
void change_in_lanes(const std::string& bus, std::uint64_t before, std::uint64_t now) {
    for (const auto& entry : std::filesystem::directory_iterator(bus + "/lanes")) {
        std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
        std::vector<char> bytes(std::filesystem::file_size(entry.path()));
        file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
            if (std::memcmp(bytes.data() + at, &before, 8) != 0) continue;
            file.seekp(static_cast<std::streamoff>(at));
            file.write(reinterpret_cast<const char*>(&now), 8);
        }
    }
}

TEST_SUITE("system") {

TEST_CASE("a process that damages its own sign of life lives for the others until it is dead") {
    Damage how{};
    bool new_daemon = false;
    SUBCASE("cut short") { how = Damage::cut_short; }
    SUBCASE("wiped") { how = Damage::wiped; }
    SUBCASE("cut short, and a new daemon looks at it") {
        how = Damage::cut_short;
        new_daemon = true;
    }
    Stage stage;
    Child survivor([&] { return survive(stage, 30); });
    REQUIRE(stage.words->comes(2, 1));
    // Whoever gets Job 1 keeps it, so it goes while the damaged one alone is there to take it.
    survivor.signal(SIGSTOP);
    Child damaged([&] { return hold_damaged(stage, how); });
    REQUIRE(stage.words->comes(2, 2));
    Bus bus = stage.join();
    send(bus, 1, 1);
    REQUIRE(stage.words->comes(3, 1));
    survivor.signal(SIGCONT);
    if (new_daemon) stage.daemon.kill_and_restart();
    for (std::uint64_t number = 2; number <= 30; ++number) send(bus, 1, number);
    REQUIRE(stage.words->comes(0, 29));
    const auto observer = test::join(stage.folder.bus());
    // The survivor, this process twice, and the damaged one: some sweeps of the daemon later still.
    const auto until = std::chrono::steady_clock::now() + 300ms;
    while (std::chrono::steady_clock::now() < until)
        CHECK(observer->status().value().participants == 4);
    CHECK(stage.words->get(1) == 0);
    damaged.kill_now();
    REQUIRE(stage.words->comes(0, 30));
    CHECK(stage.words->get(1) == 1);  // Job 1, and no other
    CHECK(ends_well(survivor));
    CHECK(eventually([&] { return observer->status().value().participants == 2; }));
}

TEST_CASE("what an endpoint held when its handle was destroyed is for the others") {
    Stage stage;
    shmbus::BusOptions options;
    options.start_daemon = false;
    options.daemon_timeout = 100ms;
    Bus bus = Bus::open(stage.folder.bus(), options);
    std::optional<Endpoint> one(bus.endpoint("jobs", small_lanes()));
    std::uint64_t handled = 0;
    one->on<Job>([&](const Job&) { ++handled; });
    const std::array<Job, 5> jobs{Job{1, 1}, Job{1, 2}, Job{1, 3}, Job{1, 4}, Job{1, 5}};
    REQUIRE(bus.send_batch<Job>(jobs));
    // One record of five: two are handled, three are left in the hand.
    CHECK(one->poll(2) == 2);
    Bus theirs = Bus::open(stage.folder.bus(), options);
    std::optional<Endpoint> other;
    std::uint64_t others = 0;
    const auto open = [&](Bus& where) {
        other.emplace(where.endpoint("jobs", small_lanes()));
        other->on<Job>([&](const Job&, Context& context) {
            CHECK(context.redelivered());
            ++others;
        });
    };
    SUBCASE("with a daemon") {
        open(theirs);
        one.reset();
    }
    SUBCASE("without one, and its process waits for something later") {
        open(theirs);
        Endpoint elsewhere = bus.endpoint("elsewhere");
        stage.daemon.process().kill();
        one.reset();
        stage.daemon.kill_and_restart();
        CHECK(eventually([&] { return elsewhere.wait(1ms), other->poll(), others == 3; }));
    }
    SUBCASE("without one, and its process asks for something later") {
        open(theirs);
        stage.daemon.process().kill();
        one.reset();
        stage.daemon.kill_and_restart();
        CHECK(eventually([&] {
            bus.declare_endpoint<>("another");
            return other->poll(), others == 3;
        }));
    }
    SUBCASE("without one, and its process opens it again") {
        stage.daemon.process().kill();
        one.reset();
        stage.daemon.kill_and_restart();
        open(bus);
    }
    CHECK(eventually([&] { return other->poll(), others == 3; }));
    CHECK(handled == 2);
    // All hands are free again: the lane can be filled and drained.
    for (std::uint64_t number = 0; number < 100; ++number) {
        static_cast<void>(bus.send(Job{1, number}));
        if (number == 0) other->on<Job>([&](const Job&) { ++others; });
        other->poll();
    }
    CHECK(eventually([&] { return other->poll(), others == 103; }));
}

TEST_CASE("a message of another user is copied before its handler sees it") {
    if (::geteuid() != 0) {
        MESSAGE("not run: only root can become another user");
        return;
    }
    constexpr std::uint64_t as_sent = 0x5ca1ab1e'0ddba11e, changed = 0xdecea5ed'ba5eba11;
    const test::Folder folder;
    REQUIRE(::chmod(folder.path().c_str(), 0711) == 0);
    const std::string file = folder.path() + "/config.toml";
    std::ofstream(file) << "group = 65534\n";
    test::Daemon daemon(folder.bus(), {"--config", file});
    REQUIRE(daemon.trouble() == "");
    shmbus::BusOptions options;
    options.start_daemon = false;
    const SharedWords words;
    // Of the other user and of ours, each after the other.
    for (const uid_t sender : {uid_t{65534}, uid_t{0}}) {
        Child child([&] {
            if (sender != 0 && (::setgroups(0, nullptr) != 0 || ::setgid(sender) != 0 ||
                                ::setuid(sender) != 0))
                return 10;
            Bus bus = Bus::open(folder.bus(), options);
            shmbus::SendOptions there;
            there.destination = "jobs";
            if (!eventually([&] { return bus.send(Job{sender, as_sent}, there).has_value(); }))
                return 11;
            words->add(0);
            return shmbus::test::stay();
        });
        Bus bus = Bus::open(folder.bus(), options);
        Endpoint endpoint = bus.endpoint("jobs");
        std::uint64_t seen = 0;
        endpoint.on<Job>([&](const Job& job) {
            CHECK(job.sender == sender);
            CHECK(job.number == as_sent);
            change_in_lanes(folder.bus(), as_sent, changed);
            seen = job.number;
        });
        CHECK(eventually([&] { return endpoint.poll() == 1; }));
        CHECK(seen == (sender == 0 ? changed : as_sent));
    }
}
}

}  // namespace
