// Pools of handler threads: everything once, side by side, through failures and stops.
// pool_death_test.cc kills them.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <atomic>
#include <set>
#include <thread>

#include <time.h>

#include "bus/inside.h"
#include "bus/messages.h"

using namespace bus_tests;
using namespace std::chrono_literals;

namespace {

shmbus::EndpointOptions pool_of(unsigned threads) {
    shmbus::EndpointOptions options;
    options.handler_threads = threads;
    return options;
}

// Runs an endpoint in a thread of its own; stops it and waits for that at the end.
class Running {
public:
    explicit Running(shmbus::Endpoint& endpoint)
        : endpoint_(endpoint), thread_([&endpoint] { endpoint.run(); }) {}
    ~Running() { endpoint_.stop(); }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

private:
    shmbus::Endpoint& endpoint_;
    std::jthread thread_;
};

std::uint64_t processor_ns() {
    timespec spent{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return static_cast<std::uint64_t>(spent.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(spent.tv_nsec);
}

// seq_cst throughout this file: the tests read as if there were one order of events.
using Count = std::atomic<std::uint64_t>;

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("a pool handles what several senders send once each, through failures and stops") {
    constexpr std::uint64_t senders = 3;
    constexpr std::uint64_t each = 2000;
    constexpr std::uint64_t many = senders * each;
    const auto fails = [](std::uint64_t number) { return number % 20 == 7; };
    constexpr std::uint64_t failing = many / 20;
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint follows = bus.endpoint("follows");
    shmbus::EndpointOptions options = pool_of(3);
    options.attempts_when_throwing = 2;
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    std::vector<Count> handled(many), attempts(many);
    Count done{0}, inside{0}, follow_ups{0};
    std::atomic<bool> here{false};
    const std::thread::id here_id = std::this_thread::get_id();
    endpoint.on<Order>([&](const Order& order, shmbus::Context& context) {
        ++inside;
        if (std::this_thread::get_id() == here_id) here = true;
        CHECK(context.send(Follow{order.number}, patient()));
        const std::uint64_t attempt = ++attempts.at(order.number);
        --inside;
        // The last time counts as done; nobody reads the error endpoint meanwhile.
        if (fails(order.number)) {
            done += attempt == 2 ? 1 : 0;
            throw std::runtime_error("seven");
        }
        ++handled.at(order.number);
        ++done;
    });
    follows.on<Follow>([&](const Follow&) { ++follow_ups; });
    {
        const Running following(follows);
        std::vector<std::jthread> sending;
        for (std::uint64_t sender = 0; sender < senders; ++sender)
            sending.emplace_back([&, sender](const std::stop_token& failed) {
                for (std::uint64_t i = 0; i < each && !failed.stop_requested(); ++i)
                    CHECK(bus.send(Order{sender * each + i, {}}, patient()));
            });
        for (std::uint64_t round = 0; done < many / 2; ++round) {
            const std::uint64_t until = done + round;  // the first one may take nothing at all
            {
                const Running running(endpoint);
                REQUIRE(comes([&] { return done >= until; }));
            }
            REQUIRE(inside == 0);
        }
        const Running running(endpoint);
        CHECK(comes([&] { return done == many; }));
        CHECK(comes([&] { return follow_ups == many - failing; }));
    }
    const auto counts = endpoint.counts();
    CHECK(counts.handled == many - failing);
    CHECK(counts.failed == failing);
    CHECK(counts.threw == 2 * failing);
    CHECK(follow_ups == many - failing);
    CHECK(!here);
    shmbus::Endpoint errors = bus.endpoint("error");
    std::set<std::uint64_t> failed;
    errors.on<Order>([&](const Order& order, shmbus::Context& context) {
        failed.insert(order.number);
        CHECK(context.envelope().failure.what == "seven");
    });
    CHECK(errors.poll(many) == failing);
    std::size_t wrong = 0;
    for (std::uint64_t number = 0; number < many; ++number)
        wrong += handled[number] != (fails(number) ? 0 : 1) ||
                 failed.contains(number) != fails(number);
    CHECK(wrong == 0);
    CHECK(endpoint.poll() == 0);
}

TEST_CASE("a pool never stops taking, whether messages come alone or a few at a time") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    for (const shmbus::Waiting waiting : {shmbus::Waiting::adaptive, shmbus::Waiting::sleep}) {
        shmbus::EndpointOptions options = pool_of(3);
        options.waiting = waiting;
        shmbus::Endpoint endpoint = bus.endpoint("orders", options);
        Count handled{0};
        endpoint.on<Order>([&](const Order&) { ++handled; });
        const Running running(endpoint);
        std::uint64_t sent = 0;
        for (std::uint64_t round = 0; round < 300; ++round) {
            for (std::uint64_t i = 0; i <= round % 20; ++i, ++sent)
                REQUIRE(bus.send(Order{sent, {}}));
            REQUIRE(comes([&] { return handled == sent; }));
            // Some find everybody awake, some asleep.
            std::this_thread::sleep_for(round % 3 * 150us);
        }
    }
}

TEST_CASE("a thread that ends a batch wakes the one that takes the next") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options = pool_of(2);
    options.waiting = shmbus::Waiting::sleep;
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    Count handled{0};
    endpoint.on<Order>([&](const Order&) {
        std::this_thread::sleep_for(1ms);
        ++handled;
    });
    // Slow ones are taken singly: 600 ms of work, or 30 s when it sleeps 50 ms after every two.
    for (std::uint64_t number = 0; number < 1200; ++number) REQUIRE(bus.send(Order{number, {}}));
    const Running running(endpoint);
    CHECK(comes([&] { return handled == 1200; }));
}

TEST_CASE("all threads of a pool are in handlers at once when messages come one by one") {
    constexpr std::uint64_t threads = 8;
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders", pool_of(threads));
    Count inside{0}, together{0};
    std::atomic<bool> go_on{false};
    endpoint.on<Order>([&](const Order&) {
        ++inside;
        if (comes([&] { return go_on.load(); })) ++together;
    });
    const Running running(endpoint);
    for (std::uint64_t number = 1; number <= threads; ++number) {
        REQUIRE(bus.send(Order{number, {}}));
        CHECK(comes([&] { return inside == number; }));
    }
    go_on = true;
    CHECK(comes([&] { return together == threads; }));
}

TEST_CASE("a pool with more threads than hands has work for all of them when there is a backlog") {
    constexpr std::uint64_t threads = 20;
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders", pool_of(threads));
    Count inside{0}, together{0};
    endpoint.on<Order>([&](const Order&) {
        ++inside;
        if (comes([&] { return inside >= threads; })) ++together;
    });
    for (std::uint64_t number = 0; number < 2 * threads; ++number)
        REQUIRE(bus.send(Order{number, {}}));
    const Running running(endpoint);
    CHECK(comes([&] { return together == 2 * threads; }));
}

TEST_CASE("a message that takes long holds up no other thread of its pool") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders", pool_of(2));
    Count handled{0};
    std::atomic<bool> waited{false};
    endpoint.on<Order>([&](const Order& order) {
        if (order.number == 100) waited = comes([&] { return handled == 4999; });
        ++handled;
    });
    for (std::uint64_t number = 0; number < 5000; ++number)
        REQUIRE(bus.send(Order{number, {}}, patient()));
    const Running running(endpoint);
    CHECK(comes([&] { return handled == 5000; }));
    CHECK(waited);
}

TEST_CASE("a pool sleeps while the error endpoint is full, and goes on when it is read") {
    shmbus::BusOptions bus_options;
    std::mutex mutex;
    std::string log;
    bus_options.log = [&](shmbus::LogLevel, std::string_view text) {
        const std::lock_guard lock(mutex);
        log += text;
    };
    shmbus::testing::TemporaryBus temporary(bus_options);
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions small;
    small.lane_bytes = 4096;
    shmbus::Endpoint errors = bus.endpoint("error", small);
    shmbus::EndpointOptions options = pool_of(3);
    options.attempts_when_throwing = 1;
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    Count tried{0};
    endpoint.on<Order>([&](const Order& order) {
        ++tried;
        throw std::runtime_error(std::to_string(order.number));
    });
    // Four threads have lanes to the error endpoint; each holds 21 of these.
    constexpr std::uint64_t many = 400;
    for (std::uint64_t number = 0; number < many; ++number) REQUIRE(bus.send(Order{number, {}}));
    std::set<std::uint64_t> failed;
    errors.on<Order>([&](const Order& order, shmbus::Context& context) {
        CHECK(failed.insert(order.number).second);
        CHECK(context.envelope().failure.what == std::to_string(order.number));
    });
    {
        const Running running(endpoint);
        // Until it takes nothing more: all hands hold a batch that is kept.
        std::uint64_t before = 0;
        REQUIRE(comes([&] {
            std::this_thread::sleep_for(20ms);
            return tried != 0 && before == std::exchange(before, tried.load());
        }));
        REQUIRE(tried < many);
        const std::uint64_t begun = processor_ns();
        std::this_thread::sleep_for(200ms);
        CHECK(processor_ns() - begun < 100'000'000);
        CHECK(comes([&] { return errors.poll(), failed.size() == many; }));
    }
    CHECK(tried == many);
    CHECK(endpoint.counts().failed == many);
    const std::lock_guard lock(mutex);
    CHECK(log.find("or error has room: shmbus: full") != std::string::npos);
}

TEST_CASE("a pool that is all busy sleeps in front of what it cannot take, also while it stops") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders", pool_of(2));
    Count inside{0};
    std::atomic<bool> go_on{false};
    endpoint.on<Order>([&](const Order&) {
        ++inside;
        go_on.wait(false);
    });
    for (std::uint64_t number = 0; number < 20; ++number) REQUIRE(bus.send(Order{number, {}}));
    std::jthread runner([&] { endpoint.run(); });
    CHECK(comes([&] { return inside == 2; }));
    std::uint64_t begun = processor_ns();
    std::this_thread::sleep_for(200ms);
    CHECK(processor_ns() - begun < 100'000'000);
    endpoint.stop();
    begun = processor_ns();
    std::this_thread::sleep_for(200ms);
    CHECK(processor_ns() - begun < 100'000'000);
    go_on = true;
    go_on.notify_all();
    runner.join();
    // What it had not taken is left for others.
    CHECK(inside < 20);
    const std::uint64_t left = 20 - inside;
    CHECK(endpoint.poll() == left);
}

TEST_CASE("an exception of a callback ends the run of a pool, and nothing is lost or kept") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders", pool_of(3));
    Count handled{0};
    endpoint.on<Order>([&](const Order& order) {
        ++handled;
        return Accepted{order.number};
    });
    // More often than a process has hands.
    constexpr std::uint64_t rounds = 20;
    for (std::uint64_t round = 0; round < rounds; ++round) {
        auto pending = bus.request(Order{round, {}});
        pending.then([](const auto&) { throw std::runtime_error("not my day"); });
        for (std::uint64_t i = 0; i < 50; ++i) REQUIRE(bus.send(Order{i, {}}));
        std::atomic<bool> threw{false};
        std::jthread runner([&] {
            try {
                endpoint.run();
            } catch (const std::runtime_error&) {
                threw = true;
            }
        });
        const bool ended = comes([&] { return threw.load(); });
        if (!ended) endpoint.stop();
        REQUIRE(ended);
    }
    const Running running(endpoint);
    CHECK(comes([&] { return handled == rounds * 51; }));
}

TEST_CASE("what no handler of a pool sees is settled beside what its handlers see") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders", pool_of(3));
    Count handled{0};
    endpoint.on<Order>([&](const Order&) { ++handled; });
    endpoint.on<Happened>([](const Happened&) {});
    shmbus::SendOptions here;
    here.destination = "orders";
    for (std::uint64_t number = 0; number < 300; ++number) {
        REQUIRE(bus.send(Order{number, {}}));
        REQUIRE(bus.publish(Happened{number}));
        if (number % 10 == 0) REQUIRE(bus.send(Note{"of a type that nobody handles"}, here));
    }
    endpoint.unsubscribe<Happened>();
    {
        const Running running(endpoint);
        CHECK(comes([&] { return handled == 300; }));
    }
    CHECK(endpoint.poll() == 0);
    CHECK(endpoint.counts().handled == 300);
    CHECK(endpoint.counts().dropped == 300);
    CHECK(endpoint.counts().failed == 30);
}
}
