// The daemon away, the disk full, the journal not to be had: clear errors, nothing lost, and it goes
// on by itself.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "served_bus.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Endpoint;
using shmbus::ErrorCode;
using shmbus::Receipt;
using shmbus::Result;

namespace {
struct Plain {
    static constexpr auto message = shmbus::command("test.plain", shmbus::transient);
    std::uint64_t number = 0;
    std::uint64_t more = 0;
};
}  // namespace

TEST_CASE("without a daemon durable sends fill the lane, then are refused, and none is lost") {
    ServedBus served;
    served.config.journal_lane_bytes = 4096;
    served.serve();
    Bus bus = served.open();
    Endpoint endpoint = bus.endpoint("worker");
    std::uint64_t handled = 0;
    endpoint.on<Work>([&](const Work& work) {
        CHECK(work.number == handled + 1);
        ++handled;
    });
    REQUIRE(bus.send(Work{1, 2}));
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(endpoint, [&] { return handled == 1; }));
    served.kill_daemon();
    std::uint64_t sent = 1;
    Result<Receipt> last = Receipt();
    // Ends: when the lane is full.
    while ((last = bus.send(Work{sent + 1, 0}, {.when_full = shmbus::WhenFull::refuse}))) ++sent;
    CHECK(sent > 10);
    CHECK(last.error() == ErrorCode::full);
    CHECK(last.error().text().find("shmbusd does not run") != std::string::npos);
    const Result<void> none = bus.sync(10ms);
    CHECK(none.error() == ErrorCode::timeout);
    CHECK(none.error().text().find("shmbusd does not run") != std::string::npos);
    served.serve();
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(endpoint, [&] { return handled == sent; }));
}

TEST_CASE("messages in the outgoing lane are delivered while the daemon is away") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    for (std::uint64_t number = 1; number <= 100; ++number) REQUIRE(bus.send(Work{number, 0}));
    REQUIRE(bus.sync(20s));
    // Handed out is a moment after on disk.
    const std::uint64_t steps = served.steps();
    REQUIRE(bus.send(Work{101, 0}));
    REQUIRE(bus.sync(20s));
    REQUIRE(wait_until([&] { return served.steps() > steps && served.last_step() != "published"; }));
    served.kill_daemon();
    std::uint64_t handled = 0;
    std::unique_ptr<Endpoint> endpoint;
    // Joining needs a daemon, handling does not.
    served.serve();
    endpoint = std::make_unique<Endpoint>(bus.endpoint("worker"));
    endpoint->on<Work>([&](const Work&) { ++handled; });
    served.kill_daemon();
    REQUIRE(handle_until(*endpoint, [&] { return handled == 101; }));
}

TEST_CASE("a journal that cannot be made is told to the sender, and transient messages go on") {
    ServedBus served;
    std::ofstream(served.journal()) << "a file where the directory should be";
    served.serve();
    Bus bus = served.open();
    Endpoint endpoint = bus.endpoint("worker");
    std::uint64_t handled = 0;
    endpoint.on<Plain>([&](const Plain&) { ++handled; });
    endpoint.on<Work>([&](const Work&) { ++handled; });
    const Result<Receipt> sent = bus.send(Work{1, 2});
    CHECK(sent.error() == ErrorCode::no_journal);
    CHECK(sent.error().text().find(served.journal()) != std::string::npos);
    REQUIRE(bus.send(Plain{1}));
    REQUIRE(handle_until(endpoint, [&] { return handled == 1; }));
    // Mended, it works.
    std::filesystem::remove(served.journal());
    REQUIRE(wait_until([&] { return bus.send(Work{1, 2}).has_value(); }));
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(endpoint, [&] { return handled == 2; }));
}

}  // namespace durable_tests
