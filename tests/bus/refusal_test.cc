// Refusals and failures say the truth: who holds what since when, who gave up; and nobody who has
// gone, or does not listen, is waited for.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <atomic>
#include <optional>
#include <thread>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/inside.h"
#include "bus/messages.h"

using namespace bus_tests;
using namespace std::chrono_literals;
using shmbus::ErrorCode;
using Clock = std::chrono::steady_clock;

namespace {

shmbus::EndpointOptions small_lanes() {
    shmbus::EndpointOptions options;
    options.lane_bytes = 4096;
    return options;
}

// Refuses; would it wait, then for longer than the test has time for.
shmbus::SendOptions at_once() {
    shmbus::SendOptions options;
    options.when_full = shmbus::WhenFull::refuse;
    options.wait = 1h;
    return options;
}

// A process that asks `requests` times on a bus of its own without ever looking for an answer, and
// then stays. Ready, when the last one is sent.
class Asker {
public:
    Asker(const shmbus::testing::TemporaryBus& bus, std::uint64_t requests, bool waits_for_first) {
        int ends[2];
        REQUIRE(::pipe(ends) == 0);
        child_ = ::fork();
        REQUIRE(child_ >= 0);
        if (child_ == 0) {
            shmbus::Bus mine = shmbus::Bus::open(bus.directory());
            if (waits_for_first && !mine.request(Order{0, {}}).wait()) ::_exit(1);
            std::vector<shmbus::Pending<Accepted>> pending;
            for (std::uint64_t i = 1; i <= requests; ++i)
                pending.push_back(mine.request(Order{i, {}}));
            if (::write(ends[1], "x", 1) != 1) ::_exit(2);
            for (;;) ::pause();
        }
        ::close(ends[1]);
        ready_ = ends[0];
    }
    ~Asker() {
        kill();
        ::close(ready_);
    }
    Asker(const Asker&) = delete;
    Asker& operator=(const Asker&) = delete;
    void wait_until_ready() const {
        char byte = 0;
        REQUIRE(::read(ready_, &byte, 1) == 1);
    }
    void kill() {
        if (child_ <= 0) return;
        ::kill(child_, SIGKILL);
        CHECK(::waitpid(child_, nullptr, 0) == child_);
        child_ = -1;
    }

private:
    pid_t child_ = -1;
    int ready_ = -1;
};

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("a refusal says which process has held the oldest message, and since when") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options = small_lanes();
    options.waiting = shmbus::Waiting::sleep;
    shmbus::Endpoint endpoint = bus.endpoint("small", options);
    std::atomic<std::int64_t> in_handler{0};
    std::atomic<bool> go_on{false};
    endpoint.on<Order>([&](const Order&) {
        if (in_handler == 0) in_handler = Clock::now().time_since_epoch().count();
        comes([&] { return go_on.load(); });
    });
    const std::jthread runner([&](const std::stop_token& stop) { endpoint.run(stop); });
    // It has slept for a while: that is not the time for which it holds the message.
    std::this_thread::sleep_for(500ms);
    const auto sent = Clock::now();
    REQUIRE(bus.send(Order{0, {}}));
    REQUIRE(comes([&] { return in_handler != 0; }));
    std::this_thread::sleep_for(50ms);
    const auto held = Clock::now() - Clock::time_point(Clock::duration(in_handler.load()));
    shmbus::Result<void> result;
    for (std::uint64_t i = 1; i <= 64 && result; ++i) result = bus.send(Order{i, {}}, at_once());
    const auto most = Clock::now() - sent;
    const std::string text = result.error().text();
    const shmbus::Refusal details =
        result.error().details() != nullptr ? *result.error().details() : shmbus::Refusal{};
    go_on = true;
    CAPTURE(text);
    REQUIRE(result.error() == ErrorCode::full);
    CHECK(details.holder_pid == ::getpid());
    CHECK(details.endpoint == "small");
    // The clock it is measured with is good to a few per cent.
    CHECK(details.since > held * 9 / 10);
    CHECK(details.since < most * 11 / 10);
}

TEST_CASE("a failure names the process that gave the message up") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    REQUIRE(bus.send(Order{1, {}}));
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        shmbus::Bus mine = shmbus::Bus::open(temporary.directory());
        shmbus::Endpoint endpoint = mine.endpoint("orders");
        endpoint.on<Order>([](const Order&) { throw std::runtime_error("no"); });
        ::_exit(comes([&] { return endpoint.poll() != 0; }) ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    shmbus::Endpoint errors = bus.endpoint("error");
    shmbus::Failure failure;
    errors.on_any([&](std::span<const std::byte>, shmbus::Context& context) {
        failure = context.envelope().failure;
        CHECK(failure.endpoint == "orders");
        CHECK(failure.what == "no");
    });
    REQUIRE(comes([&] { return errors.poll() != 0; }));
    CHECK(failure.pid == child);
    CHECK(failure.reason == shmbus::FailureReason::handler_threw);
    CHECK(failure.attempts == 5);
    CHECK(failure.signal == 0);
}

TEST_CASE("an output that is not to wait for room fails its handler at once") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions full = small_lanes();
    full.events_wait = 1h;
    shmbus::Endpoint follows = bus.endpoint("follows", full);
    follows.on<Follow>([](const Follow&) {});
    follows.on<Happened>([](const Happened&) {});
    while (bus.send(Follow{1}, at_once())) {
    }
    shmbus::EndpointOptions once;
    once.attempts_when_throwing = 1;
    shmbus::Endpoint orders = bus.endpoint("orders", once);
    SUBCASE("sent") {
        orders.on<Order>([](const Order&, shmbus::Context& context) {
            context.send(Follow{2}, at_once()).value();
        });
    }
    SUBCASE("published to one that others wait for") {
        orders.on<Order>([](const Order&, shmbus::Context& context) {
            context.publish(Happened{2}, at_once()).value();
        });
    }
    REQUIRE(bus.send(Order{1, {}}));
    const auto begin = Clock::now();
    CHECK(orders.poll() == 1);
    CHECK(Clock::now() - begin < 10s);
    CHECK(orders.counts().threw == 1);
    CHECK(orders.counts().failed == 1);
}

TEST_CASE("replies to one who has gone are dropped and counted, all of them") {
    constexpr std::uint64_t unanswered = 100;
    shmbus::BusOptions options;
    options.lane_bytes = 4096;  // fewer than all of them fit
    shmbus::testing::TemporaryBus temporary(options);
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order& order) { return Accepted{order.number}; });
    bool was_there = false;
    SUBCASE("a lane to it is open") { was_there = true; }
    SUBCASE("it was never answered") { was_there = false; }
    Asker asker(temporary, unanswered, was_there);
    // One and no more: the asker goes on as soon as it has its answer.
    if (was_there) REQUIRE(comes([&] { return endpoint.poll(1) == 1; }));
    asker.wait_until_ready();
    asker.kill();
    // The daemon has seen it.
    REQUIRE(comes([&] { return files_in(temporary, "inboxes").size() == 2; }));
    std::uint64_t handled = 0;
    REQUIRE(comes([&] { return (handled += endpoint.poll()) == unanswered; }));
    CHECK(bus.counts().replies_to_gone == unanswered);
    CHECK(endpoint.counts().threw == 0);
    CHECK(endpoint.counts().failed == 0);
}

TEST_CASE("one who asks and never reads is waited for once, then its replies are dropped") {
    constexpr std::uint64_t unanswered = 120;
    shmbus::BusOptions options;
    options.lane_bytes = 4096;  // 64 replies at most
    shmbus::testing::TemporaryBus temporary(options);
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order& order) { return Accepted{order.number}; });
    const Asker asker(temporary, unanswered, false);
    asker.wait_until_ready();
    const auto begin = Clock::now();
    std::uint64_t handled = 0;
    REQUIRE(comes([&] { return (handled += endpoint.poll()) == unanswered; }));
    // A second for all of them, not for each.
    CHECK(Clock::now() - begin < 10s);
    CHECK(bus.counts().replies_to_gone >= unanswered - 64);
    CHECK(endpoint.counts().threw == 0);
    CHECK(endpoint.counts().handled == unanswered);
}

TEST_CASE("one who gives up at once again and again costs its replier nothing that grows") {
    shmbus::BusOptions options;
    options.lane_bytes = 4096;  // 64 replies at most
    shmbus::testing::TemporaryBus temporary(options);
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order& order) { return Accepted{order.number}; });
    constexpr std::uint64_t many = 5000;
    for (std::uint64_t i = 0; i < many; ++i) {
        static_cast<void>(bus.request(Order{i, {}}));  // gives up
        CHECK(endpoint.poll() == 1);
    }
    CHECK(endpoint.counts().handled == many);
    CHECK(endpoint.counts().threw == 0);
    CHECK(bus.counts().replies_to_gone == 0);
    // Each was read and dropped, save the last one, for which nobody has looked yet.
    CHECK(bus.counts().late_replies == many - 1);
    CHECK(files_in(temporary, "lanes").size() <= 3);  // one to each side, and one made ahead
}

TEST_CASE("requesters that come and go leave nothing behind in their replier") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Endpoint endpoint = temporary.bus().endpoint("orders");
    endpoint.on<Order>([](const Order& order) { return Accepted{order.number}; });
    std::size_t after_some = 0;
    for (int round = 0; round < 40; ++round) {
        {
            shmbus::Bus passing = shmbus::Bus::open(temporary.directory());
            static_cast<void>(passing.request(Order{1, {}}));
            REQUIRE(comes([&] { return endpoint.poll() == 1; }));
        }
        REQUIRE(comes([&] { return files_in(temporary, "participants").size() == 1; }));
        if (round == 5) after_some = open_descriptors();
    }
    CHECK(open_descriptors() <= after_some);
    CHECK(endpoint.counts().handled == 40);
}

TEST_CASE("a bus that was moved from is closed, whatever is asked of it; the other one goes on") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus first = shmbus::Bus::open(temporary.directory());
    shmbus::Endpoint endpoint = first.endpoint("orders");
    std::uint64_t handled = 0;
    endpoint.on<Order>([&](const Order&) { ++handled; });
    endpoint.on<Kept>([&](const Kept&) { ++handled; });
    // This thread knows its way on the bus.
    REQUIRE(first.send(Order{1, {}}));
    REQUIRE(first.send(Kept{1}));
    shmbus::Bus second = std::move(first);
    SUBCASE("by a constructor") {}
    SUBCASE("by an assignment") {
        shmbus::Bus third = shmbus::Bus::open(temporary.directory());
        third = std::move(second);
        second = std::move(third);
        std::swap(first, third);  // is moved to from nothing
    }
    const auto is_closed = [](const auto& answer) { return answer.error() == ErrorCode::closed; };
    const Order orders[] = {{2, {}}, {3, {}}};
    CHECK(is_closed(first.send(Order{2, {}})));
    CHECK(is_closed(first.send(Order{2, {}}, at_once())));
    CHECK(is_closed(first.send(Note{"two"})));
    CHECK(is_closed(first.send(Kept{2})));
    CHECK(is_closed(first.send_batch<Order>(orders)));
    CHECK(is_closed(first.send_each<Order>(orders)));
    CHECK(is_closed(first.publish(Happened{2})));
    CHECK(is_closed(first.publish(Report{2, "two"})));
    CHECK(is_closed(first.publish(KeptFact{2})));
    CHECK(is_closed(first.loan<Order>()));
    CHECK(is_closed(first.request(Order{2, {}}).wait()));
    CHECK(is_closed(first.sync(1h)));
    CHECK_FALSE(first.receipt().is_there());
    CHECK(is_closed(first.receipt().wait(1h)));
    CHECK(first.receipt().position() == 0);
    CHECK_THROWS_AS(static_cast<void>(first.endpoint("orders")), shmbus::SetupError);
    CHECK_THROWS_AS(first.declare_endpoint<Order>("orders"), shmbus::SetupError);
    CHECK(first.poll() == 0);
    CHECK(first.counts().sent == 0);
    CHECK(first.directory().empty());
    CHECK(first.wake_method().empty());

    CHECK(second.send(Order{4, {}}));
    CHECK(second.receipt().wait(10s));
    CHECK(second.counts().sent == 3);
    CHECK(second.directory() == temporary.directory());
    CHECK(comes([&] {
        endpoint.poll();
        return handled == 3;
    }));
}

TEST_CASE("an endpoint that was moved from is closed, whatever is asked of it; the other goes on") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus bus = shmbus::Bus::open(temporary.directory());
    shmbus::Endpoint first = bus.endpoint("orders");
    std::uint64_t handled = 0;
    first.on<Order>([&](const Order&) { ++handled; });
    shmbus::Endpoint second = std::move(first);
    SUBCASE("by a constructor") {}
    SUBCASE("by an assignment") {
        shmbus::Endpoint third = bus.endpoint("others");
        third = std::move(second);
        second = std::move(third);
        std::swap(first, third);
    }
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(first.poll() == 0);
    CHECK_FALSE(first.wait(1h));
    first.run();
    first.stop();
    CHECK(first.name().empty());
    CHECK(first.counts().handled == 0);
    CHECK_THROWS_AS(first.on<Order>([](const Order&) {}), shmbus::SetupError);
    CHECK_THROWS_AS(first.on_any([](auto, auto&) {}), shmbus::SetupError);
    CHECK_THROWS_AS(first.subscribe<Happened>(), shmbus::SetupError);
    CHECK_THROWS_AS(first.unsubscribe<Happened>(), shmbus::SetupError);
    CHECK_THROWS_AS(static_cast<void>(first.fd()), shmbus::SetupError);
    CHECK_THROWS_AS(static_cast<void>(first.arm()), shmbus::SetupError);

    CHECK(second.name() == "orders");
    CHECK(comes([&] {
        second.poll();
        return handled == 1;
    }));
    CHECK(second.counts().handled == 1);
}
}
