// The daemon is killed at every step between the senders' lanes, the journal and the receivers'
// lanes, and a ledger outside of the bus tells what was accepted and what was delivered.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <map>
#include <set>
#include <vector>

#include "served_bus.h"
#include "worker.h"

namespace durable_tests {
namespace {

using shmbus::Bus;
using shmbus::Endpoint;
using shmbus::MessageId;
using shmbus::Receipt;
using shmbus::Result;

constexpr std::uint64_t messages = 12;

struct Seen {
    std::vector<std::uint64_t> order;
    std::map<std::uint64_t, int> times;
    std::map<std::uint64_t, int> unmarked;
};

void listen(Endpoint& endpoint, Seen& seen) {
    endpoint.on<Work>([&](const Work& work, shmbus::Context& context) {
        CHECK(work.twice == 2 * work.number);
        seen.order.push_back(work.number);
        ++seen.times[work.number];
        if (!context.redelivered()) ++seen.unmarked[work.number];
    });
}

// Sends them all, waiting for every third, while the daemon may die and is then started anew; all
// are handled meanwhile. Returns whether it died.
bool run_through(ServedBus& served, std::uint64_t kill_at) {
    served.serve(kill_at);
    // Declared while the daemon lives: a death before that is not ours to look at.
    Seen seen;
    bool died = false;
    const auto revive = [&] {
        if (!served.daemon_has_died()) return;
        died = true;
        served.serve();
    };
    std::unique_ptr<Bus> bus;
    std::unique_ptr<Endpoint> endpoint;
    REQUIRE(wait_until([&] {
        try {
            revive();
            if (!bus) bus = std::make_unique<Bus>(served.open());
            if (!endpoint) {
                endpoint = std::make_unique<Endpoint>(bus->endpoint("worker"));
                listen(*endpoint, seen);
            }
            return true;
        } catch (const shmbus::SetupError&) {
            endpoint.reset();
            return false;
        }
    }));
    for (std::uint64_t number = 1; number <= messages; ++number) {
        Receipt receipt;
        REQUIRE(wait_until([&] {
            revive();
            const Result<Receipt> sent = bus->send(Work{number, 2 * number});
            if (sent) receipt = *sent;
            return sent.has_value();
        }));
        if (number % 3 == 0)
            REQUIRE(wait_until([&] {
                revive();
                return receipt.wait(20ms).has_value();
            }));
        endpoint->poll();
    }
    REQUIRE(wait_until([&] {
        revive();
        return bus->sync(20ms).has_value();
    }));
    REQUIRE(handle_until(*endpoint, [&] {
        revive();
        return seen.order.size() >= messages;
    }));
    // What is settled is settled: another daemon brings nothing again.
    if (served.end_daemon() != 0) died = true;  // on its way out
    served.serve();
    CHECK(bus->send(Work{messages + 1, 2 * messages + 2}));
    REQUIRE(handle_until(*endpoint, [&] { return seen.order.back() == messages + 1; }));
    // Exactly once, in order.
    REQUIRE(seen.order.size() == messages + 1);
    for (std::uint64_t number = 1; number <= messages + 1; ++number)
        CHECK(seen.order[number - 1] == number);
    return died;
}

}  // namespace

TEST_CASE("a daemon that is killed at any step loses no durable message and doubles none") {
    std::uint64_t steps = 0;
    {
        ServedBus served;
        CHECK_FALSE(run_through(served, 0));
    }
    // Ends: when the daemon lives through a whole run.
    for (std::uint64_t at = 1;; ++at) {
        ServedBus served;
        INFO("killed at step " << at);
        if (!run_through(served, at)) break;
        ++steps;
    }
    MESSAGE("killed at " << steps << " steps");
    CHECK(steps >= 60);
}

TEST_CASE("daemons that are killed at the same record one after the other do not lose it") {
    for (const char* at : {"written", "noted"}) {
        INFO("killed where it is " << std::string(at));
        ServedBus served;
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        send_numbers(bus, 1, 3);
        REQUIRE(wait_until([&] { return served.rests(); }));
        served.kill_daemon();
        REQUIRE(bus.send(Work{4, 8}));
        for (int time = 0; time < 2; ++time) {
            served.serve(1, at);
            REQUIRE(wait_until([&] { return served.daemon_has_died(); }));
        }
        served.serve();
        send_numbers(bus, 5, 5);
        Worker worker(bus);
        CHECK(handle_until(worker.endpoint, [&] { return worker.has_all(5); }));
        CHECK(worker.order.size() == 5);
        CHECK(worker.marked() == 0);
    }
}

TEST_CASE("a daemon that is killed behind a batch that was full doubles nothing") {
    constexpr std::uint64_t count = 500;  // as many as their lane takes, and more than a batch
    // Other bytes are left free at the batch's end each time.
    for (std::uint64_t shift = 0; shift < 11; ++shift) {
        ServedBus served;
        served.config.journal_segment_bytes = 64 << 10;
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Text>("other");
        Seen seen;
        Endpoint endpoint = bus.endpoint("worker");
        listen(endpoint, seen);
        REQUIRE(bus.send(Work{1, 2}));
        REQUIRE(bus.sync(20s));
        served.kill_daemon();
        REQUIRE(bus.send(Text{std::string(8 * shift, 'x')}));
        for (std::uint64_t number = 2; number <= count; ++number)
            REQUIRE(bus.send(Work{number, 2 * number}));
        served.serve(2, "committed");  // the first one is of the directory
        INFO("shifted by " << shift);
        REQUIRE(wait_until([&] { return served.daemon_has_died(); }));
        served.serve();
        REQUIRE(handle_until(endpoint, [&] { return seen.order.size() >= count; }));
        REQUIRE(bus.send(Work{count + 1, 2 * count + 2}));
        REQUIRE(handle_until(endpoint, [&] { return seen.order.back() == count + 1; }));
        CHECK(seen.order.size() == count + 1);
        CHECK(seen.times.size() == count + 1);
    }
}

}  // namespace durable_tests
