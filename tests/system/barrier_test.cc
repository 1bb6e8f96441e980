// Processes that the kernel denies its barrier, as old kernels and some containers do: senders pay
// a fence, and nobody sleeps through a message.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include "support/barrier_filter.h"
#include "system/stage.h"

using namespace system_tests;
using shmbus::test::deny_barrier;

namespace {

constexpr std::uint64_t all_jobs = 2'000;

// Words: 0 handled, 1 the receiver is ready.
int receive(const Stage& stage, bool denied) {
    if (denied) deny_barrier();
    Bus bus = stage.join();
    shmbus::EndpointOptions options;
    options.waiting = shmbus::Waiting::sleep;
    Endpoint endpoint = bus.endpoint("jobs", options);
    endpoint.on<Job>([&](const Job&) {
        stage.words->add(0);
        if (stage.words->get(0) == all_jobs) endpoint.stop();
    });
    stage.words->set(1, 1);
    endpoint.run();
    return 0;
}

// One at a time, so that the receiver sleeps before each.
int send_singly(const Stage& stage, bool denied) {
    if (denied) deny_barrier();
    Bus bus = stage.join();
    if (bus.wake_method() != (denied ? "fence" : "membarrier")) return 2;
    for (std::uint64_t number = 1; number <= all_jobs; ++number) {
        send(bus, 1, number);
        if (!stage.words->comes(0, number)) return 3;
    }
    return 0;
}

void run(bool deny_sender, bool deny_receiver) {
    const Stage stage;
    Child receiver([&] { return receive(stage, deny_receiver); });
    REQUIRE(stage.words->comes(1, 1));
    Child sender([&] { return send_singly(stage, deny_sender); });
    CHECK(sender.reap() == 0);
    CHECK(receiver.reap() == 0);
    CHECK(stage.words->get(0) == all_jobs);
}

}  // namespace

TEST_SUITE("system") {

TEST_CASE("without the kernel's barrier senders fence, and sleepers wake all the same") {
    SUBCASE("nobody has it") { run(true, true); }
    SUBCASE("the sender has none") { run(true, false); }
    SUBCASE("the sleeper has none") { run(false, true); }
}

}
