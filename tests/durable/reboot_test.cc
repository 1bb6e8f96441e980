// Reboots: everything in memory is gone, and the journal brings it back.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "served_bus.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Endpoint;

TEST_CASE("a sender and a receiver that are never there at the same time") {
    ServedBus served;
    constexpr std::uint64_t count = 20'000;  // of some 200 bytes each, through lanes of 64 KiB
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        for (std::uint64_t number = 1; number <= count; ++number)
            REQUIRE(bus.send(Work{number, 2 * number}, {.wait = 20s}));
        REQUIRE(bus.sync(20s));
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    Endpoint endpoint = bus.endpoint("worker");
    std::uint64_t last = 0;
    std::uint64_t out_of_order = 0;
    std::uint64_t unmarked = 0;
    endpoint.on<Work>([&](const Work& work, shmbus::Context& context) {
        out_of_order += work.number == last + 1 ? 0 : 1;
        last = work.number;
        unmarked += context.redelivered() ? 0 : 1;
    });
    REQUIRE(handle_until(endpoint, [&] { return last == count; }));
    CHECK(out_of_order == 0);
    // Any of them may have been delivered before the reboot, as far as anybody can know.
    CHECK(unmarked == 0);
    // What is sent now was not.
    REQUIRE(bus.send(Work{count + 1, 0}));
    REQUIRE(handle_until(endpoint, [&] { return last == count + 1; }));
    CHECK(unmarked == 1);
}

TEST_CASE("subscriptions, endpoints and routes come back after a reboot as acknowledged") {
    ServedBus served;
    {
        served.serve();
        Bus bus = served.open();
        Endpoint audit = bus.endpoint("audit");
        audit.on<Done>([](const Done&) {});
        bus.declare_endpoint<Work>("worker");
        REQUIRE(bus.publish(Done{0}));
        REQUIRE(bus.sync(20s));
        Endpoint late = bus.endpoint("late");
        late.on<Done>([](const Done&) {});
        late.unsubscribe<Done>();
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    // Nobody has opened audit yet: it gets this by the subscription that it had.
    REQUIRE(bus.publish(Done{1}));
    REQUIRE(bus.send(Work{1, 2}));
    REQUIRE(bus.sync(20s));
    Endpoint audit = bus.endpoint("audit");
    std::vector<std::uint64_t> seen;
    audit.on<Done>([&](const Done& done) { seen.push_back(done.number); });
    REQUIRE(handle_until(audit, [&] { return seen.size() == 2; }));
    CHECK(seen == std::vector<std::uint64_t>{0, 1});
    Endpoint worker = bus.endpoint("worker");
    std::uint64_t worked = 0;
    worker.on<Work>([&](const Work&) { ++worked; });
    REQUIRE(handle_until(worker, [&] { return worked == 1; }));
    // The one that was unsubscribed gets nothing.
    shmbus::EndpointOptions options;
    options.subscribe_automatically = false;
    Endpoint late = bus.endpoint("late", options);
    std::uint64_t came = 0;
    late.on<Done>([&](const Done&) { ++came; });
    REQUIRE(bus.publish(Done{2}));
    REQUIRE(handle_until(audit, [&] { return seen.size() == 3; }));
    late.poll();
    CHECK(came == 0);
}

struct Told {
    static constexpr auto message = shmbus::command("test.told", shmbus::durable);
    std::uint64_t number = 0;
    static constexpr auto fields = shmbus::fields(shmbus::field<&Told::number>("number"));
};

TEST_CASE("how a type's fields read comes back before a process that knows the type") {
    ServedBus served;
    const auto told = [&] {
        for (const auto& entry : std::filesystem::directory_iterator(served.directory() + "/types"))
            if (std::ifstream file(entry.path()); file)
                return std::string(std::istreambuf_iterator<char>(file), {});
        return std::string();
    };
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Told>("teller");
        REQUIRE(bus.send(Told{1}));
        REQUIRE(bus.sync(20s));
        REQUIRE(told() == "number u8 0 1\n");
    }
    served.wipe_memory();
    served.serve();
    CHECK(told() == "number u8 0 1\n");
}

TEST_CASE("what was acknowledged of the directory is on disk at that moment") {
    ServedBus served;
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        REQUIRE(bus.send(Work{1, 2}));  // from now on there is a journal
        REQUIRE(bus.sync(20s));
        REQUIRE(wait_until([&] { return served.rests(); }));
        Endpoint audit = bus.endpoint("audit");
        audit.on<Done>([](const Done&) {});
        served.kill_daemon();
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    REQUIRE(bus.publish(Done{7}));
    Endpoint audit = bus.endpoint("audit");
    std::uint64_t seen = 0;
    audit.on<Done>([&](const Done& done) { seen = done.number; });
    REQUIRE(handle_until(audit, [&] { return seen == 7; }));
}

TEST_CASE("what is sent again under the same id is dropped, also after a reboot") {
    ServedBus served;
    std::map<std::uint64_t, int> times;
    const auto send_all = [&](Bus& bus) {
        for (std::uint64_t number = 1; number <= 100; ++number) {
            shmbus::SendOptions options;
            options.id = {0xABC, number};
            REQUIRE(bus.send(Work{number, 2 * number}, options));
        }
        REQUIRE(bus.sync(20s));
    };
    const auto handle = [&](Bus& bus, std::uint64_t last) {
        Endpoint endpoint = bus.endpoint("worker");
        bool ended = false;
        endpoint.on<Work>([&](const Work& work) {
            ++times[work.number];
            ended = ended || work.number == last;
        });
        REQUIRE(bus.send(Work{last, 0}));
        REQUIRE(handle_until(endpoint, [&] { return ended; }));
    };
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        send_all(bus);
        send_all(bus);
        handle(bus, 1001);
        send_all(bus);
        REQUIRE(wait_until([&] {
            served.kill_daemon();
            served.serve();
            return true;
        }));
        send_all(bus);
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    send_all(bus);
    handle(bus, 1002);
    for (std::uint64_t number = 1; number <= 100; ++number) CHECK(times[number] == 1);
}

}  // namespace durable_tests
