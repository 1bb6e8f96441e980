// The lanes out of the journal, which are windows: larger than what may be handed out, damaged,
// followed by others, and left behind by a killed daemon.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "lane/lane_file.h"
#include "served_bus.h"
#include "wire/names.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Context;
using shmbus::Endpoint;

namespace {

void send(Bus& bus, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t number = from; number <= to; ++number)
        REQUIRE(bus.send(Work{number, 2 * number}, {.wait = 20s}));
    REQUIRE(bus.sync(20s));
}

struct Worked {
    explicit Worked(Bus& bus, const shmbus::EndpointOptions& options = {})
        : endpoint(bus.endpoint("worker", options)) {
        endpoint.on<Work>([this](const Work& work, Context& context) {
            order.push_back(work.number);
            again += context.redelivered() ? 1 : 0;
        });
    }
    Endpoint endpoint;
    std::vector<std::uint64_t> order;
    std::uint64_t again = 0;
};

[[nodiscard]] bool is_in_order(const std::vector<std::uint64_t>& order) {
    for (std::uint64_t at = 0; at < order.size(); ++at)
        if (order[at] != at + 1) return false;
    return true;
}

// The files of the daemon's lanes.
[[nodiscard]] std::vector<std::string> lanes_out(const ServedBus& served) {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(served.directory() + "/lanes")) {
        const auto file = shmbus::base::File::open_at(AT_FDCWD, entry.path(),
                                                      shmbus::base::Access::read_only);
        if (shmbus::lane::read_lane_identity(file).writer == shmbus::wire::daemon_reference)
            found.push_back(entry.path());
    }
    std::ranges::sort(found);
    return found;
}

}  // namespace

TEST_CASE("what was handled while no daemon ran is settled, however much, and the rest comes") {
    ServedBus served;
    served.config.journal_segment_bytes = 4 << 20;
    served.serve();
    Bus bus = served.open();
    shmbus::EndpointOptions options;
    options.lane_bytes = 32 << 20;
    Worked worker(bus, options);
    // More than the journal lets out unsettled, in a lane that would take them all.
    constexpr std::uint64_t most_out = 65'536;
    constexpr std::uint64_t count = most_out + 5'000;
    send(bus, 1, count);
    REQUIRE(wait_until([&] { return served.rests(); }));
    served.kill_daemon();
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.order.size() == most_out; }));
    CHECK(worker.endpoint.poll() == 0);
    // Nobody sends anything.
    served.serve();
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.order.size() == count; }));
    CHECK(is_in_order(worker.order));
    CHECK(worker.again == 0);
}

TEST_CASE("what was handled while no daemon ran is settled on disk by the next, in a quiet bus") {
    ServedBus served;
    {
        served.serve();
        Bus bus = served.open();
        Worked worker(bus);
        send(bus, 1, 100);
        REQUIRE(wait_until([&] { return served.rests(); }));
        served.kill_daemon();
        REQUIRE(handle_until(worker.endpoint, [&] { return worker.order.size() == 100; }));
        served.serve();
        REQUIRE(wait_until([&] { return served.rests(); }));
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    Worked worker(bus);
    send(bus, 101, 101);
    REQUIRE(handle_until(worker.endpoint, [&] { return !worker.order.empty(); }));
    CHECK(worker.order == std::vector<std::uint64_t>{101});
}

TEST_CASE("a damaged lane out of the journal is replaced; what it carried comes again, marked") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send(bus, 1, 100);
    bool dies = false;
    SUBCASE("while the daemon lives") {}
    SUBCASE("and the daemon is killed") { dies = true; }
    REQUIRE(wait_until([&] { return served.rests(); }));
    const std::vector<std::string> lanes = lanes_out(served);
    REQUIRE(lanes.size() == 1);
    REQUIRE(::truncate(lanes.front().c_str(), 4096) == 0);
    // Goes into another lane, whose last LSN says nothing of the first lane's.
    send(bus, 101, 200);
    if (dies) {
        served.kill_daemon();
        served.serve();
    }
    Worked worker(bus);
    REQUIRE(handle_until(worker.endpoint, [&] {
        const std::set<std::uint64_t> seen(worker.order.begin(), worker.order.end());
        return seen.size() == 200;
    }));
    CHECK(worker.again >= 100);
    send(bus, 201, 300);
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.order.back() == 300; }));
}

TEST_CASE("the longest message goes through where no lane may be longer than the sender's") {
    ServedBus served;
    served.config.most_lane_bytes = 64 << 10;
    served.config.journal_lane_bytes = 64 << 10;
    served.serve();
    Bus bus = served.open();
    shmbus::EndpointOptions options;
    options.lane_bytes = 4096;
    Endpoint endpoint = bus.endpoint("long", options);
    std::vector<std::size_t> came;
    endpoint.on<Text>([&](const Text& text) { came.push_back(text.text.size()); });
    const auto refused = bus.send(Text{std::string(1 << 20, 'x')});
    REQUIRE(refused.error() == shmbus::ErrorCode::too_large);
    const std::size_t limit = refused.error().details()->limit_bytes;
    CHECK(limit > 7'000);
    REQUIRE(bus.send(Text{std::string(limit, 'x')}));
    REQUIRE(bus.send(Text{"short"}));
    REQUIRE(handle_until(endpoint, [&] { return came.size() == 2; }));
    CHECK(came == std::vector<std::size_t>{limit, 5});
}

TEST_CASE("longer and longer messages make lane after lane, killed at each step, in order") {
    std::uint64_t steps = 0;
    // Ends: when the daemon lives through all of it.
    for (std::uint64_t at = 1;; ++at) {
        ServedBus served;
        served.config.default_lane_bytes = 4096;
        served.serve();
        Bus bus = served.open();
        std::vector<std::size_t> came;
        Endpoint endpoint = bus.endpoint("long");
        endpoint.on<Text>([&](const Text& text) { came.push_back(text.text.size()); });
        REQUIRE(bus.send(Text{"1"}));
        REQUIRE(bus.sync(20s));
        REQUIRE(handle_until(endpoint, [&] { return came.size() == 1; }));
        served.kill_daemon();
        std::vector<std::size_t> sent{1};
        for (const std::size_t length : {900, 1'900, 3'900, 7'900, 20}) {
            REQUIRE(bus.send(Text{std::string(length, 'x')}));
            sent.push_back(length);
        }
        served.serve(at);
        bool died = false;
        const auto all = [&] {
            if (served.daemon_has_died()) {
                died = true;
                // What is in the lanes is handled without a daemon.
                while (endpoint.poll() != 0) {}
                served.serve();
            }
            return came.size() >= sent.size();
        };
        INFO("killed at step " << at);
        REQUIRE(handle_until(endpoint, all));
        // And by another one, after what retires lanes has had its turns.
        REQUIRE(wait_until([&] { return served.rests(); }));
        served.kill_daemon();
        served.serve();
        REQUIRE(bus.send(Text{"end"}));
        sent.push_back(3);
        REQUIRE(handle_until(endpoint, [&] { return came.size() >= sent.size(); }));
        REQUIRE(came == sent);
        if (!died) break;
        ++steps;
    }
    MESSAGE("killed at " << steps << " steps");
    CHECK(steps >= 30);
}

}  // namespace durable_tests
