// A daemon that has no descriptors left, or guards as many mapped files as it can: what waits
// meanwhile comes by itself when there is room again, and none of it twice.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>

#include "served_bus.h"
#include "shortage.h"
#include "worker.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Endpoint;

namespace {

// From here on this process opens so many descriptors more.
void leave_descriptors(int count) {
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 0;
    for (int fd = 0; count > 0; ++fd) {
        if (::fcntl(fd, F_GETFD) >= 0) continue;
        --count;
        limit.rlim_cur = static_cast<rlim_t>(fd) + 1;
    }
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

// The daemon that is served next runs short of descriptors when it first comes to this step.
void run_short(ServedBus& served, const std::string& at, int left) {
    served.at_step = [at, left, is_short = false](const char* name) mutable {
        if (!is_short && at == name) {
            is_short = true;
            leave_descriptors(left);
        }
    };
}

// Waits until it has gone on as far as it can, and lets it have as many as it wants again.
void end_shortage(ServedBus& served) {
    rlimit usual{};  // the daemon is our child
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &usual) == 0);
    rlimit now{};
    REQUIRE(wait_until([&] {
        return ::prlimit(served.daemon(), RLIMIT_NOFILE, nullptr, &now) == 0 &&
               now.rlim_cur < usual.rlim_cur;
    }));
    REQUIRE(wait_until([&] { return served.rests(); }));
    now.rlim_cur = now.rlim_max;
    REQUIRE(::prlimit(served.daemon(), RLIMIT_NOFILE, &now, nullptr) == 0);
}

// Starts a daemon that finds the journal only when it serves already, and so opens it in a turn.
void serve_without_journal(ServedBus& served) {
    const std::string kept = served.journal() + ".kept";
    std::filesystem::rename(served.journal(), kept);
    served.serve();
    std::filesystem::rename(kept, served.journal());
}

// A process that has taken a Plain and keeps it until it is killed.
[[nodiscard]] pid_t start_holder(const ServedBus& served) {
    return start_process([&](const std::function<void()>& is_ready) {
        Bus own = served.open();
        Endpoint place = own.endpoint("plain");
        place.on<Plain>([&](const Plain&) { is_ready(); });
        place.run();
    });
}

}  // namespace

TEST_CASE("a sender's lane that no descriptor was left for is read when there are some") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 1);
    served.kill_daemon();
    REQUIRE(bus.send(Work{2, 4}));
    run_short(served, "committed", 0);
    serve_without_journal(served);
    end_shortage(served);
    REQUIRE(bus.sync(20s));
    Worker worker(bus);
    CHECK(handle_until(worker.endpoint, [&] { return worker.order.size() == 2; }));
}

TEST_CASE("an endpoint that no descriptor was left for gets its messages when there are some") {
    ServedBus served;
    run_short(served, "receipts given", 0);
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 10);
    end_shortage(served);
    Worker worker(bus);
    CHECK(handle_until(worker.endpoint, [&] { return worker.order.size() == 10; }));
    CHECK(worker.marked() == 0);
}

TEST_CASE("what stands in a lane that no guard was left for comes once, however few are left") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 10);
    REQUIRE(wait_until([&] { return served.rests(); }));
    served.kill_daemon();
    Shortage& shortage = Shortage::make();
    std::size_t left = 0;
    SUBCASE("none") { left = 0; }
    SUBCASE("those for the journal's inbox") { left = 2; }
    SUBCASE("those for the endpoint's inbox as well") { left = 5; }
    SUBCASE("those for reading its lane as well") { left = 8; }
    served.at_step = [&](const char* name) {
        if (std::string_view(name) == "rows committed") shortage.take_guards(left);
    };
    served.serve();
    REQUIRE(wait_until([&] { return shortage.has_begun.load(); }));
    REQUIRE(wait_until([&] { return served.rests(); }));
    shortage.is_over = true;
    send_numbers(bus, 11, 11);
    Worker worker(bus);
    CHECK(handle_until(worker.endpoint, [&] { return worker.numbers().size() == 11; }));
    CHECK(worker.order.size() == 11);
    CHECK(worker.marked() == 0);
    CHECK(served.lanes_out().size() == 1);
}

TEST_CASE("what a killed process had sent is not thrown away while no guard is left") {
    ServedBus served;
    Shortage& shortage = Shortage::make();
    served.at_step = [&](const char* name) {
        if (std::string_view(name) == "room given") shortage.take_guards(0);
    };
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Plain>("plain");
    bus.declare_endpoint<Work>("worker");
    const pid_t sender = start_sender(served, 10);
    const std::array<pid_t, 3> others{start_sender(served, 0), start_sender(served, 0),
                                      start_sender(served, 0)};
    const std::string pages = served.directory() + "/participants";
    const auto count_pages = [&] {
        const std::filesystem::directory_iterator all(pages);
        return std::distance(begin(all), end(all));
    };
    // Each is cleared away by a sweep that has looked at all the others.
    const auto kill_and_wait = [&](pid_t child) {
        const auto there = count_pages();
        kill_process(child);
        REQUIRE(wait_until([&] { return count_pages() < there; }));
    };
    kill_and_wait(others[0]);
    send_numbers(bus, 1, 1);
    REQUIRE(wait_until([&] { return shortage.has_begun.load(); }));
    kill_process(sender);
    kill_and_wait(others[1]);
    kill_and_wait(others[2]);
    shortage.is_over = true;
    Endpoint endpoint = bus.endpoint("plain");
    std::uint64_t handled = 0;
    endpoint.on<Plain>([&](const Plain&) { ++handled; });
    CHECK(handle_until(endpoint, [&] { return handled == 10; }));
}

TEST_CASE("what a killed process held is not thrown away while nobody can look at its hands") {
    ServedBus served;
    // As a daemon that finds no descriptor left when it starts.
    served.at_step = [&](const char* name) {
        if (std::string_view(name) != "receipts given") return;
        for (std::uint32_t endpoint = 1; endpoint < 8; ++endpoint)
            served.state->inboxes().forget(endpoint);
        leave_descriptors(0);
    };
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Plain>("plain");
    bus.declare_endpoint<Work>("worker");
    const pid_t sender = start_sender(served, 1);
    const pid_t holder = start_holder(served);
    const std::array<pid_t, 2> others{start_sender(served, 0), start_sender(served, 0)};
    const auto count = [&](shmbus::directory::RowState state) {
        std::vector<shmbus::directory::Participant> all;
        REQUIRE(served.rows().participants(all));
        return std::ranges::count_if(all, [&](const auto& one) { return one.row.state == state; });
    };
    // Its lane is looked at, drained and in a hand; of the others it is seen that they live.
    kill_process(sender);
    kill_process(others[0]);
    REQUIRE(wait_until([&] { return count(shmbus::directory::RowState::live) == 3; }));
    REQUIRE(wait_until([&] { return count(shmbus::directory::RowState::leaving) == 1; }));
    send_numbers(bus, 1, 1);
    kill_process(holder);
    REQUIRE(wait_until([&] { return count(shmbus::directory::RowState::live) == 2; }));
    // The sweep that sees this one comes behind the one that saw the holder.
    kill_process(others[1]);
    REQUIRE(wait_until([&] { return count(shmbus::directory::RowState::live) == 1; }));
    CHECK(count(shmbus::directory::RowState::leaving) == 3);
    end_shortage(served);
    Endpoint endpoint = bus.endpoint("plain");
    std::uint64_t handled = 0, marked = 0;
    endpoint.on<Plain>([&](const Plain&, shmbus::Context& context) {
        ++handled;
        marked += context.redelivered() ? 1 : 0;
    });
    CHECK(handle_until(endpoint, [&] { return handled == 1; }));
    CHECK(marked == 1);
    REQUIRE(wait_until([&] { return count(shmbus::directory::RowState::leaving) == 0; }));
}

TEST_CASE("a lane that no guard was left for is not made again and again") {
    ServedBus served;
    Shortage& shortage = Shortage::make();
    std::size_t left = 0;
    SUBCASE("none behind the endpoint's inbox") { left = 2; }
    SUBCASE("none behind the daemon's hand on it") { left = 3; }
    served.at_step = [&](const char* name) {
        if (std::string_view(name) == "receipts given") shortage.take_guards(left);
    };
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 10);
    REQUIRE(wait_until([&] { return shortage.has_begun.load(); }));
    // It looks for room in between, and tries.
    const auto count_lanes = [&] {
        const std::filesystem::directory_iterator all(served.directory() + "/lanes");
        return std::distance(begin(all), end(all));
    };
    const auto before = count_lanes();
    const std::uint64_t steps = served.steps();
    REQUIRE(wait_until([&] { return served.steps() > steps + 20; }));
    CHECK(count_lanes() <= before + 1);
    shortage.is_over = true;
    Worker worker(bus);
    CHECK(handle_until(worker.endpoint, [&] { return worker.order.size() == 10; }));
    CHECK(worker.marked() == 0);
    CHECK(served.lanes_out().size() == 1);
}

}  // namespace durable_tests
