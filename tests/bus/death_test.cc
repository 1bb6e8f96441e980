// Deaths and forks: what a killed consumer held, poison messages, children, many processes.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <set>
#include <string_view>
#include <thread>
#include <vector>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/inside.h"
#include "bus/messages.h"

using namespace bus_tests;
using namespace std::chrono_literals;
using shmbus::ErrorCode;

namespace {

// Runs `body` in a forked child that has not touched the bus, and ends there.
template <class Body>
pid_t in_child(Body body) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        body();
        ::_exit(0);
    }
    return child;
}

int status_of(pid_t child) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return status;
}

std::chrono::steady_clock::time_point soon() { return std::chrono::steady_clock::now() + 20s; }

// A bus whose daemon was not started by this process's forks: made before the children.
struct Pipe {
    Pipe() { REQUIRE(::pipe(ends) == 0); }
    ~Pipe() {
        ::close(ends[0]);
        ::close(ends[1]);
    }
    void say() const { CHECK(::write(ends[1], "x", 1) == 1); }
    void hear() const {
        char byte = 0;
        CHECK(::read(ends[0], &byte, 1) == 1);
    }
    int ends[2];
};

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("a survivor takes over what a killed consumer held, marked, and nothing is lost") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    Pipe holding;
    const pid_t child = in_child([&] {
        shmbus::Bus mine = shmbus::Bus::open(temporary.directory());
        shmbus::Endpoint endpoint = mine.endpoint("orders");
        endpoint.on<Order>([&](const Order& order) {
            if (order.number < 5) return;
            holding.say();
            for (;;) ::pause();
        });
        for (;;) endpoint.poll();
    });
    for (std::uint64_t i = 0; i < 40; ++i) REQUIRE(bus.send(Order{i, {}}));
    holding.hear();
    ::kill(child, SIGKILL);
    status_of(child);
    shmbus::Endpoint survivor = bus.endpoint("orders");
    std::multiset<std::uint64_t> seen;
    std::set<std::uint64_t> marked;
    std::uint32_t attempt_of_held = 0;
    survivor.on<Order>([&](const Order& order, shmbus::Context& context) {
        seen.insert(order.number);
        if (context.redelivered()) marked.insert(order.number);
        if (order.number == 5) attempt_of_held = context.attempt();
    });
    const auto limit = soon();
    while (seen.size() < 35 && std::chrono::steady_clock::now() < limit) survivor.poll();
    CHECK(survivor.poll() == 0);
    REQUIRE(seen.size() == 35);
    for (std::uint64_t i = 5; i < 40; ++i) CHECK(seen.count(i) == 1);
    CHECK(marked.contains(5));
    CHECK(attempt_of_held == 2);
    CHECK(survivor.counts().redelivered == marked.size());
}

TEST_CASE("who is killed between two polls has done what it handled, and begun nothing else") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    Pipe polled;
    const pid_t child = in_child([&] {
        shmbus::Bus mine = shmbus::Bus::open(temporary.directory());
        shmbus::Endpoint endpoint = mine.endpoint("orders");
        endpoint.on<Order>([](const Order&) {});
        // The first of its type goes the long way.
        while (endpoint.poll() == 0) {
        }
        polled.say();
        // Four of ten: the batch stays open.
        for (std::size_t handled = 0; handled < 4;) handled += endpoint.poll(4 - handled);
        polled.say();
        for (;;) ::pause();
    });
    REQUIRE(bus.send(Order{100, {}}));
    polled.hear();
    std::vector<Order> orders(10);
    for (std::uint64_t i = 0; i < orders.size(); ++i) orders[i].number = i;
    REQUIRE(bus.send_batch<Order>(orders));
    polled.hear();
    ::kill(child, SIGKILL);
    status_of(child);
    shmbus::Endpoint survivor = bus.endpoint("orders");
    std::vector<std::uint64_t> seen;
    std::uint32_t most_attempts = 0;
    survivor.on<Order>([&](const Order& order, shmbus::Context& context) {
        seen.push_back(order.number);
        most_attempts = std::max(most_attempts, context.attempt());
    });
    const auto limit = soon();
    while (seen.size() < 6 && std::chrono::steady_clock::now() < limit) survivor.poll();
    CHECK(survivor.poll() == 0);
    CHECK(seen == std::vector<std::uint64_t>{4, 5, 6, 7, 8, 9});
    CHECK(most_attempts == 1);
}

TEST_CASE("what one message of many sends is out before the next one is begun") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    shmbus::Endpoint follows = bus.endpoint("follows");
    std::vector<std::uint64_t> said;
    follows.on<Follow>([&](const Follow& follow) { said.push_back(follow.number); });
    follows.on<Happened>([&](const Happened& event) { said.push_back(event.number); });
    bool publishes = false, through_the_bus = false;
    std::size_t outputs = 1;
    SUBCASE("one command") {}
    SUBCASE("two commands") { outputs = 2; }
    SUBCASE("a command through the bus") { through_the_bus = true; }
    SUBCASE("an event") { publishes = true; }
    Pipe polled;
    const pid_t child = in_child([&] {
        shmbus::Bus mine = shmbus::Bus::open(temporary.directory());
        shmbus::Endpoint endpoint = mine.endpoint("orders");
        endpoint.on<Order>([&](const Order& order, shmbus::Context& context) {
            if (order.number == 4) ::raise(SIGKILL);
            if (order.number != 3 && order.number != 100) return;
            for (std::size_t i = 0; i < outputs; ++i) {
                if (publishes) context.publish(Happened{order.number}).value();
                else if (through_the_bus) mine.send(Follow{order.number}).value();
                else context.send(Follow{order.number}).value();
            }
        });
        // The first of its type goes the long way.
        while (endpoint.poll() == 0) {
        }
        polled.say();
        for (;;) endpoint.poll();
    });
    REQUIRE(bus.send(Order{100, {}}));
    polled.hear();
    std::vector<Order> orders(10);
    for (std::uint64_t i = 0; i < orders.size(); ++i) orders[i].number = i;
    REQUIRE(bus.send_batch<Order>(orders));
    CHECK(WTERMSIG(status_of(child)) == SIGKILL);
    while (follows.poll() != 0) {
    }
    std::vector<std::uint64_t> expected(outputs, 100);
    expected.resize(2 * outputs, 3);
    CHECK(said == expected);
    shmbus::Endpoint survivor = bus.endpoint("orders");
    std::vector<std::uint64_t> seen;
    survivor.on<Order>([&](const Order& order) { seen.push_back(order.number); });
    const auto limit = soon();
    while (seen.size() < 6 && std::chrono::steady_clock::now() < limit) survivor.poll();
    CHECK(survivor.poll() == 0);
    CHECK(seen == std::vector<std::uint64_t>{4, 5, 6, 7, 8, 9});
}

// Its outputs stand in their lanes, and nobody has noted that it was handled.
TEST_CASE("what comes of a message that was sent twice is marked as that is, with the same id") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    shmbus::Endpoint follows = bus.endpoint("follows");
    std::vector<shmbus::Envelope> sent, came;
    follows.on<Follow>([&](const Follow& follow, shmbus::Context& context) {
        sent.push_back(context.envelope());
        context.publish(Happened{follow.number}).value();
    });
    shmbus::Endpoint listener = bus.endpoint("listener");
    listener.on<Happened>([&](const Happened&, shmbus::Context& context) {
        came.push_back(context.envelope());
    });
    const auto send_on = [](const Order& order, shmbus::Context& context) {
        context.send(Follow{order.number}).value();
    };
    const pid_t child = in_child([&] {
        shmbus::BusOptions dies;
        dies.spans = [](std::string_view) { ::raise(SIGKILL); };
        shmbus::Bus mine = shmbus::Bus::open(temporary.directory(), dies);
        shmbus::Endpoint endpoint = mine.endpoint("orders");
        endpoint.on<Order>(send_on);
        const auto limit = soon();
        while (std::chrono::steady_clock::now() < limit) endpoint.poll();
    });
    shmbus::SendOptions traced;
    traced.trace =
        shmbus::TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    REQUIRE(bus.send(Order{1, {}}, traced));
    REQUIRE(WTERMSIG(status_of(child)) == SIGKILL);
    const auto poll_until = [&](std::size_t count) {
        const auto limit = soon();
        while (came.size() < count && std::chrono::steady_clock::now() < limit) {
            follows.poll();
            listener.poll();
        }
        REQUIRE(came.size() == count);
    };
    poll_until(1);
    shmbus::Endpoint survivor = bus.endpoint("orders");
    survivor.on<Order>(send_on);
    const auto limit = soon();
    while (survivor.poll() == 0 && std::chrono::steady_clock::now() < limit) {
    }
    poll_until(2);
    REQUIRE(sent.size() == 2);
    for (const std::vector<shmbus::Envelope>* const of : {&sent, &came}) {
        CHECK(of->front().id == of->back().id);
        CHECK_FALSE(of->front().repeated);
        CHECK(of->back().repeated);
    }
}

TEST_CASE("a message that kills its handlers goes to the error endpoint, naming the signal") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    REQUIRE(bus.send(Order{1, {}}));
    REQUIRE(bus.send(Order{2, {}}));
    for (int death = 0; death < 3; ++death) {
        const pid_t child = in_child([&] {
            shmbus::Bus mine = shmbus::Bus::open(temporary.directory());
            shmbus::Endpoint endpoint = mine.endpoint("orders");
            endpoint.on<Order>([&](const Order& order) {
                if (order.number == 1) ::raise(SIGKILL);
            });
            const auto limit = soon();
            while (std::chrono::steady_clock::now() < limit) endpoint.poll();
        });
        const int status = status_of(child);
        REQUIRE(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGKILL);
    }
    shmbus::Endpoint survivor = bus.endpoint("orders");
    std::vector<std::uint64_t> seen;
    survivor.on<Order>([&](const Order& order) { seen.push_back(order.number); });
    const auto limit = soon();
    while (seen.empty() && std::chrono::steady_clock::now() < limit) survivor.poll();
    CHECK(seen == std::vector<std::uint64_t>{2});
    shmbus::Endpoint errors = bus.endpoint("error");
    std::uint64_t poison = 0;
    errors.on_any([&](std::span<const std::byte>, shmbus::Context& context) {
        ++poison;
        CHECK(context.envelope().failure.reason == shmbus::FailureReason::process_died);
        CHECK(context.envelope().failure.attempts == 3);
        // Learnt where the kernel tells; never another one.
        const int signal = context.envelope().failure.signal;
        CHECK((signal == SIGKILL || signal == 0));
    });
    while (poison == 0 && std::chrono::steady_clock::now() < limit) {
        survivor.poll();
        errors.poll();
    }
    CHECK(poison == 1);
}

TEST_CASE("in a forked child the parent's bus refuses everything and takes nothing apart") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    auto endpoint = std::make_unique<shmbus::Endpoint>(bus.endpoint("orders"));
    std::uint64_t seen = 0;
    endpoint->on<Order>([&](const Order&) { ++seen; });
    REQUIRE(bus.send(Order{1, {}}));
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        int wrong = 0;
        if (!(bus.send(Order{2, {}}).error() == ErrorCode::closed)) wrong |= 1;
        if (!(bus.publish(Happened{2}).error() == ErrorCode::closed)) wrong |= 2;
        if (!(bus.request(Order{2, {}}).wait().error() == ErrorCode::closed)) wrong |= 4;
        if (endpoint->poll() != 0) wrong |= 8;
        try {
            static_cast<void>(bus.endpoint("other"));
            wrong |= 16;
        } catch (const shmbus::SetupError&) {
        }
        {
            shmbus::Bus moved = std::move(bus);
        }
        endpoint.reset();
        ::_exit(wrong);
    }
    const int status = status_of(child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(bus.send(Order{3, {}}));
    CHECK(endpoint->poll() == 2);
    CHECK(seen == 2);
}

TEST_CASE("a forked child that destroys its parent's temporary bus takes nothing away from it") {
    auto temporary = std::make_unique<shmbus::testing::TemporaryBus>();
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        temporary.reset();
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    // Asks the daemon for each of these.
    shmbus::Endpoint orders = temporary->bus().endpoint("orders");
    std::uint64_t handled = 0;
    orders.on<Order>([&](const Order&) { ++handled; });
    REQUIRE(temporary->bus().send(Order{1, {}}));
    CHECK(comes([&] {
        orders.poll();
        return handled == 1;
    }));
}

TEST_CASE("run sleeps, wakes for a message, and stops by its token") {
    for (const shmbus::Waiting waiting :
         {shmbus::Waiting::sleep, shmbus::Waiting::adaptive, shmbus::Waiting::spin}) {
        shmbus::testing::TemporaryBus temporary;
        shmbus::Bus& bus = temporary.bus();
        shmbus::EndpointOptions options;
        options.waiting = waiting;
        shmbus::Endpoint endpoint = bus.endpoint("orders", options);
        std::atomic<std::uint64_t> handled{0};
        endpoint.on<Order>([&](const Order&) { ++handled; });
        std::jthread runner([&](const std::stop_token& stop) { endpoint.run(stop); });
        const auto limit = soon();
        for (std::uint64_t i = 1; i <= 20; ++i) {
            REQUIRE(bus.send(Order{i, {}}));
            while (handled < i && std::chrono::steady_clock::now() < limit)
                std::this_thread::yield();
        }
        CHECK(handled == 20);
    }
}

TEST_CASE("a descriptor becomes readable when a message comes, for epoll loops") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::uint64_t handled = 0;
    endpoint.on<Order>([&](const Order&) { ++handled; });
    const int fd = endpoint.fd();
    REQUIRE(bus.send(Order{0, {}}));  // opens the lane, of which the daemon tells sleepers
    CHECK(endpoint.poll() == 1);
    for (std::uint64_t i = 1; i <= 5; ++i) {
        REQUIRE(endpoint.arm());
        REQUIRE(bus.send(Order{i, {}}));
        fd_set set;
        FD_ZERO(&set);
        FD_SET(fd, &set);
        timeval limit{10, 0};
        REQUIRE(::select(fd + 1, &set, nullptr, nullptr, &limit) == 1);
        CHECK(!endpoint.arm());
        CHECK(endpoint.poll() == 1);
    }
    CHECK(handled == 6);
}

TEST_CASE("a requester that was killed costs its replier nothing") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::uint64_t handled = 0;
    endpoint.on<Order>([&](const Order& order) {
        ++handled;
        return Accepted{order.number};
    });
    Pipe asked;
    const pid_t child = in_child([&] {
        shmbus::Bus mine = shmbus::Bus::open(temporary.directory());
        auto pending = mine.request(Order{1, {}});
        asked.say();
        static_cast<void>(pending.wait());
    });
    asked.hear();
    ::kill(child, SIGKILL);
    status_of(child);
    const auto limit = soon();
    // Until the daemon has seen the death the reply may still find the dead one's inbox.
    while (bus.counts().replies_to_gone == 0 && std::chrono::steady_clock::now() < limit) {
        endpoint.poll();
        if (handled == 1 && bus.counts().replies_to_gone == 0) break;
    }
    CHECK(handled == 1);
    CHECK(endpoint.counts().threw == 0);
    CHECK(endpoint.counts().failed == 0);
}

TEST_CASE("two processes talk, and a message of the one is handled by the other") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::uint64_t sum = 0, handled = 0;
    endpoint.on<Order>([&](const Order& order) {
        sum += order.number;
        ++handled;
        return Accepted{order.number};
    });
    const pid_t child = in_child([&] {
        shmbus::Bus mine = shmbus::Bus::open(temporary.directory());
        shmbus::SendOptions patient;
        patient.wait = 20s;
        for (std::uint64_t i = 1; i <= 50'000; ++i)
            if (!mine.send(Order{i, {}}, patient)) ::_exit(1);
        const auto answer = mine.request(Order{5, {}}).wait();
        if (!answer || answer->number != 5) ::_exit(2);
    });
    const auto limit = soon();
    while (handled < 50'001 && std::chrono::steady_clock::now() < limit) endpoint.poll(1000);
    const int status = status_of(child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(handled == 50'001);
    CHECK(sum == 50'000ULL * 50'001 / 2 + 5);
}
}
