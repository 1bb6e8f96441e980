// What is left in the bus's directory: nothing of the dead, whoever died first.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "system/stage.h"

using namespace system_tests;

namespace {

// Words: 0 sent, 1 in the handler, 2 ready.
int receive_and_stay(const Stage& stage) {
    Bus bus = stage.join();
    Endpoint endpoint = bus.endpoint("jobs");
    endpoint.on<Job>([&](const Job& job) {
        if (job.number < 5) return;
        stage.words->set(1, 1);
        shmbus::test::stay();
    });
    stage.words->set(2, 1);
    handle_jobs(endpoint, [] { return false; });
    return 0;
}

int send_and_stay(const Stage& stage) {
    Bus bus = stage.join();
    for (std::uint64_t number = 1; number <= 20; ++number) send(bus, 1, number);
    stage.words->set(0, 1);
    shmbus::test::stay();
}

// s sender, r receiver, d daemon: killed in this order, the daemon started again at the end.
void die_in_order(const std::string& order) {
    Stage stage;
    Child receiver([&] { return receive_and_stay(stage); });
    REQUIRE(stage.words->comes(2, 1));
    Child sender([&] { return send_and_stay(stage); });
    REQUIRE(stage.words->comes(0, 1));
    REQUIRE(stage.words->comes(1, 1));
    for (const char who : order) {
        if (who == 's') sender.kill_now();
        if (who == 'r') receiver.kill_now();
        if (who == 'd') stage.daemon.process().kill();
    }
    stage.daemon.kill_and_restart();
    REQUIRE_MESSAGE(stage.daemon.trouble().empty(), stage.daemon.trouble());
    {
        Bus bus = stage.join();
        Endpoint endpoint = bus.endpoint("jobs");
        std::uint64_t seen = 0;
        endpoint.on<Job>([&](const Job& job) { seen = std::max(seen, job.number); });
        CHECK(eventually([&] { return endpoint.poll() == 0 && seen == 20; }));
    }
    const bool tidy = eventually([&] { return stage.traces().empty(); });
    CHECK_MESSAGE(tidy, "left: " << stage.traces());
}

// The child of this process lives in a process namespace of its own, where it is number 1.
// False when that is not permitted here.
bool enter_namespace() {
    return ::unshare(CLONE_NEWPID | CLONE_NEWNS) == 0 &&
           ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

// Forked into a new process namespace with its own /proc. Ends with 77 when that is not permitted.
int behind_walls(const std::function<int()>& body) {
    if (!enter_namespace()) return 77;
    Child inside([&] {
        if (::mount("proc", "/proc", "proc", 0, nullptr) != 0) return 77;
        return ::getpid() == 1 ? body() : 78;
    });
    const int status = inside.reap();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 79;
}

bool namespaces_are_permitted() {
    Child probe([] { return behind_walls([] { return 0; }); });
    return shmbus::test::exited_with(probe.reap(), 0);
}

TEST_SUITE("system") {

TEST_CASE("whoever dies in whatever order, the directory is tidy after the next user") {
    std::string order = "drs";
    do {
        CAPTURE(order);
        die_in_order(order);
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("processes in different process namespaces share a bus, and a death is seen across") {
    if (!namespaces_are_permitted()) {
        MESSAGE("not tested: making a process namespace is not permitted here");
        return;
    }
    const Stage stage;
    // Words: 0 handled outside, 1 in the handler inside, 2 ready inside, 3 marked outside.
    Child walls([&] {
        return behind_walls([&] {
            Bus bus = stage.join();
            Endpoint endpoint = bus.endpoint("jobs");
            endpoint.on<Job>([&](const Job&) {
                stage.words->set(1, 1);
                ::kill(::getpid(), SIGKILL);  // ignored: the first process of a namespace
                ::_exit(9);                   // dies without a word to the bus
            });
            stage.words->set(2, 1);
            handle_jobs(endpoint, [] { return false; });
            return 0;
        });
    });
    REQUIRE(stage.words->comes(2, 1));
    Child outside([&] {
        Bus bus = stage.join();
        send(bus, 1, 1);
        if (!stage.words->comes(1, 1)) return 1;
        Endpoint endpoint = bus.endpoint("jobs");
        endpoint.on<Job>([&](const Job&, Context& context) {
            stage.words->set(3, context.redelivered() ? 1 : 0);
            stage.words->set(0, 1);
        });
        handle_jobs(endpoint, [&] { return stage.words->get(0) == 1; });
        return 0;
    });
    CHECK(ends_well(outside));
    CHECK(stage.words->get(3) == 1);
    CHECK(shmbus::test::exited_with(walls.reap(), 9));
}
}

}  // namespace
