// Processes that are stopped, not dead: they keep what they have, and nobody waits for them.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <map>
#include <set>
#include <thread>

#include "system/stage.h"

using namespace system_tests;

namespace {

std::uint64_t now_ns() {
    return static_cast<std::uint64_t>(std::chrono::nanoseconds(
        std::chrono::steady_clock::now().time_since_epoch()).count());
}

// Words: 0 handled, 1 marked, 2 consumers ready, 3 in the handler of Job 1, 4 go on from there,
// 5 time of a kill, 6 time when the survivor had it.
int consume(const Stage& stage, bool holds_first, std::uint64_t all) {
    Bus bus = stage.join();
    Endpoint endpoint = bus.endpoint("jobs", small_lanes());
    endpoint.on<Job>([&](const Job& job, Context& context) {
        if (job.number == 1 && context.redelivered()) stage.words->set(6, now_ns());
        if (job.number == 1 && holds_first) {
            stage.words->set(3, 1);
            while (stage.words->get(4) == 0) std::this_thread::sleep_for(1ms);
        }
        if (context.redelivered()) stage.words->add(1);
        stage.words->add(0);
    });
    stage.words->add(2);
    handle_jobs(endpoint, [&] { return stage.words->get(0) >= all; });
    return 0;
}

TEST_SUITE("system") {

TEST_CASE("a stopped receiver keeps what it took, others go on over many full lanes' worth") {
    const Stage stage;
    // Twenty times what a lane of 4 KiB holds, while the oldest message of it is held.
    constexpr std::uint64_t all = 64 * 20;
    Child stopped([&] { return consume(stage, true, all); });
    REQUIRE(stage.words->comes(2, 1));
    Bus bus = stage.join();
    send(bus, 1, 1);
    REQUIRE(stage.words->comes(3, 1));
    stopped.signal(SIGSTOP);
    Child other([&] { return consume(stage, false, all); });
    REQUIRE(stage.words->comes(2, 2));
    for (std::uint64_t number = 2; number <= all; ++number) send(bus, 1, number);
    REQUIRE(stage.words->comes(0, all - 1));
    // Nothing takes the message away from it: no timeout, no second delivery.
    CHECK(stage.words->get(0) == all - 1);
    stage.words->set(4, 1);
    stopped.signal(SIGCONT);
    CHECK(ends_well(stopped));
    CHECK(ends_well(other));
    CHECK(stage.words->get(0) == all);
    CHECK(stage.words->get(1) == 0);
}

TEST_CASE("while the daemon is stopped messages go on and a death is noticed by sleepers") {
    Stage stage;
    Child holder([&] { return consume(stage, true, 31); });
    REQUIRE(stage.words->comes(2, 1));
    Bus bus = stage.join();
    send(bus, 1, 1);
    REQUIRE(stage.words->comes(3, 1));
    Child survivor([&] { return consume(stage, false, 31); });
    REQUIRE(stage.words->comes(2, 2));
    stage.daemon.process().signal(SIGSTOP);
    // Fewer than fill the lane: another one would have to wait for the daemon.
    for (std::uint64_t number = 2; number <= 30; ++number) send(bus, 1, number);
    REQUIRE(stage.words->comes(0, 29));
    const std::uint64_t killed = now_ns();
    holder.kill_now();
    REQUIRE(stage.words->comes(6, 1));
    const std::uint64_t took = stage.words->get(6) - killed;
    MESSAGE("from the kill to the survivor's handler: " << took / 1000 << " us");
    CHECK(took < 2'000'000'000);
    REQUIRE(stage.words->comes(0, 30));
    CHECK(stage.words->get(1) >= 1);
    stage.daemon.process().signal(SIGCONT);
    send(bus, 1, 31);
    CHECK(ends_well(survivor));
}

// The daemon is asked for the type first, and then the lane is full: one deadline for both.
TEST_CASE("a request waits no longer for room than until its deadline, counted from the call") {
    constexpr auto stopped_for = 800ms;
    constexpr auto deadline = 1000ms;
    Stage stage;
    Bus bus = stage.join();
    Endpoint endpoint = bus.endpoint("jobs", small_lanes());
    endpoint.on<Job>([](const Job&) {});
    shmbus::RequestOptions options;
    options.destination = "jobs";
    options.deadline = deadline;
    // From here on this bus has a place for answers.
    static_cast<void>(bus.request(Question{0}, options));
    shmbus::SendOptions at_once;
    at_once.when_full = shmbus::WhenFull::refuse;
    while (bus.send(Job{1, 1}, at_once)) continue;
    stage.daemon.process().signal(SIGSTOP);
    std::jthread later([&] {
        std::this_thread::sleep_for(stopped_for);
        stage.daemon.process().signal(SIGCONT);
    });
    const auto begin = std::chrono::steady_clock::now();
    const auto answer = bus.request(Riddle{1}, options).wait();
    const auto took = std::chrono::steady_clock::now() - begin;
    REQUIRE_FALSE(answer);
    CHECK(answer.error() == shmbus::ErrorCode::full);
    CHECK(took >= deadline);
    CHECK(took < stopped_for + deadline);
}

// The first request of a bus asks the daemon for a place for answers.
TEST_CASE("the deadline of a bus's first request counts from the call") {
    constexpr auto stopped_for = 800ms;
    constexpr auto deadline = 1000ms;
    Stage stage;
    Bus bus = stage.join();
    Endpoint endpoint = bus.endpoint("jobs");
    stage.daemon.process().signal(SIGSTOP);
    const std::jthread later([&] {
        std::this_thread::sleep_for(stopped_for);
        stage.daemon.process().signal(SIGCONT);
    });
    shmbus::RequestOptions options;
    options.destination = "jobs";
    options.deadline = deadline;
    const auto begin = std::chrono::steady_clock::now();
    const auto answer = bus.request(Question{1}, options).wait();
    const auto took = std::chrono::steady_clock::now() - begin;
    REQUIRE_FALSE(answer);
    CHECK(answer.error() == shmbus::ErrorCode::timeout);
    CHECK(took >= deadline);
    CHECK(took < stopped_for + deadline);
}

TEST_CASE("a stopped sender with an open loan holds up nobody else, and its loan is still good") {
    const Stage stage;
    Child receiver([&] { return consume(stage, false, 501); });
    REQUIRE(stage.words->comes(2, 1));
    Child lender([&] {
        Bus bus = stage.join();
        auto loan = bus.loan<Job>();
        if (!loan) return 1;
        *loan = Job{2, 1000};
        stage.words->set(3, 1);
        while (stage.words->get(4) == 0) std::this_thread::sleep_for(1ms);
        loan.commit();
        return 0;
    });
    REQUIRE(stage.words->comes(3, 1));
    lender.signal(SIGSTOP);
    Bus bus = stage.join();
    for (std::uint64_t number = 1; number <= 500; ++number) send(bus, 1, number);
    REQUIRE(stage.words->comes(0, 500));
    stage.words->set(4, 1);
    lender.signal(SIGCONT);
    CHECK(ends_well(lender));
    CHECK(ends_well(receiver));
    CHECK(stage.words->get(0) == 501);
}
}

}  // namespace
