// Processing time, critical time and queue wait of single message types, for others to see.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <atomic>
#include <numeric>
#include <string>

#include "base/clock.h"
#include "bus/histograms.h"
#include "bus/inside.h"
#include "bus/messages.h"
#include "bus/meter.h"
#include "directory/reader.h"
#include "lane/onlooker.h"
#include "support/scene.h"

using namespace bus_tests;
using namespace std::chrono_literals;
namespace lane = shmbus::lane;
namespace base = shmbus::base;
using lane::Timed;
using shmbus::detail::Meter;

namespace {

// Of one type at the bus's first endpoint: the row of each place that has handled it, together.
lane::Metrics::Times times_of(const shmbus::testing::TemporaryBus& bus, const char* type_name) {
    const base::File folder = base::File::open_directory(bus.directory());
    const shmbus::directory::DirectoryReader tables(base::File::open_at(
        folder.fd(), shmbus::wire::directory_file, base::Access::read_only));
    const auto type = tables.find_type(type_name);
    REQUIRE(type);
    const lane::InboxOnlooker inbox(open_file(first_inbox(bus)));
    lane::Metrics::Times all{};
    for (std::uint16_t slot = 0; slot < lane::most_consumers; ++slot) {
        const lane::Metrics metrics = inbox.metrics(slot);
        for (const auto& row : metrics.types()) {
            if (row.type != type->index) continue;
            add(all, inbox.times_of_row(slot, row.row));
        }
    }
    return all;
}

void spend(std::chrono::nanoseconds span) {
    const std::uint64_t until = base::now_ns() + static_cast<std::uint64_t>(span.count());
    while (base::now_ns() < until) {
    }
}

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("two types of one endpoint have medians of their own, and the endpoint has both") {
    shmbus::test::Scene scene;
    Meter meter(true, [](std::string_view) {});
    meter.use(*scene.inbox, 3, no_lanes_move);
    const auto* const quick = meter.row_of(7);
    const auto* const slow = meter.row_of(9);
    meter.time_apart(quick);
    meter.time_apart(slow);
    for (int i = 0; i < 10; ++i) meter.time_ns({quick, 1}, Timed::processing, 1'000, 64);
    for (int i = 0; i < 10; ++i) meter.time_ns({slow, 1}, Timed::processing, 50'000);
    meter.handled_since({slow, 1}, 1'000, 3'000, 9'000);
    const lane::InboxOnlooker inbox(scene.open_inbox());
    const lane::Metrics all = inbox.metrics(3);
    REQUIRE(all.types().size() == 2);
    CHECK(all.types()[0].row == 0);
    CHECK(all.types()[1].type == 9);
    CHECK(all.types()[1].row == 1);
    const lane::Metrics::Times of_quick = inbox.times_of_row(3, 0);
    const lane::Metrics::Times of_slow = inbox.times_of_row(3, 1);
    CHECK(median_bucket(of(of_quick, Timed::processing)) == lane::bucket_of(1'000));
    CHECK(median_bucket(of(of_slow, Timed::processing)) == lane::bucket_of(50'000));
    CHECK(samples(of(of_quick, Timed::processing)) == 640);
    CHECK(samples(of(of_slow, Timed::processing)) == 10);
    CHECK(samples(all.histogram(Timed::processing)) == 650);
    CHECK(of(of_slow, Timed::queue_wait)[lane::bucket_of(2'000)] == 1);
    CHECK(of(of_slow, Timed::critical)[lane::bucket_of(8'000)] == 1);
    CHECK(samples(of(of_quick, Timed::critical)) == 0);
}

TEST_CASE("a sixteenth type is timed with all the others only, and costs nothing") {
    shmbus::test::Scene scene;
    Meter meter(true, [](std::string_view) {});
    meter.use(*scene.inbox, 0, no_lanes_move);
    const auto spend_on = [&](std::uint16_t type) {
        const auto* const row = meter.row_of(type);
        meter.time_apart(row);
        meter.time_ns({row, 1}, Timed::processing, type * 100U);
    };
    for (std::uint16_t type = 1; type <= lane::most_timed_types; ++type) spend_on(type);
    const std::uint64_t memory = memory_of(*scene.inbox);
    spend_on(16);
    // Nor has it, nor what has no row of any kind, got into what lies behind the last row.
    for (std::uint16_t type = 17; type < 80; ++type) spend_on(type);
    CHECK(memory_of(*scene.inbox) == memory);
    const lane::InboxOnlooker inbox(scene.open_inbox());
    CHECK(inbox.metrics(0).histogram(Timed::processing)[lane::bucket_of(1'600)] == 1);
    for (std::size_t row = 0; row < lane::most_timed_types; ++row) {
        CHECK(samples(of(inbox.times_of_row(0, row), Timed::processing)) == 1);
        CHECK(samples(of(inbox.times_of_row(1, row), Timed::processing)) == 0);
    }
}

TEST_CASE("an endpoint times each type it handles, whichever way its messages go") {
    shmbus::EndpointOptions options;
    SUBCASE("in the polling thread") {}
    SUBCASE("in a pool of threads") { options.handler_threads = 3; }
    shmbus::testing::TemporaryBus temporary(telling_time());
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    std::atomic<int> handled{0};
    const auto count = [&] {
        if (++handled == 15) endpoint.stop();
    };
    endpoint.on<Order>([&](const Order&) { spend(3ms), count(); });
    endpoint.on<Follow>([&](const Follow&) { count(); });
    endpoint.on<Note>([&](const Note&) { count(); });
    for (std::uint64_t number = 0; number < 5; ++number) REQUIRE(bus.send(Order{number, {}}));
    for (std::uint64_t number = 0; number < 7; ++number) REQUIRE(bus.send(Follow{number}));
    for (int i = 0; i < 3; ++i) REQUIRE(bus.send(Note{"text"}));
    endpoint.run();
    const lane::Metrics::Times orders = times_of(temporary, "test.order");
    CHECK(samples(of(orders, Timed::critical)) == 5);
    CHECK(samples(of(orders, Timed::queue_wait)) == 5);
    CHECK(samples(of(times_of(temporary, "test.follow"), Timed::critical)) == 7);
    CHECK(samples(of(times_of(temporary, "test.note"), Timed::critical)) == 3);
    const auto& processing = of(orders, Timed::processing);
    CHECK(samples(processing) > 0);
    const auto end = processing.begin() + static_cast<int>(lane::bucket_of(2'900'000));
    CHECK(std::accumulate(processing.begin(), end, std::uint64_t{0}) == 0);
}

TEST_CASE("what a type's times have counted outlives the consumer, and its heir goes on") {
    shmbus::testing::TemporaryBus temporary(telling_time());
    die_in_the_sixth(temporary);
    CHECK(samples(of(times_of(temporary, "test.order"), Timed::critical)) == 5);
    inherit_the_sixth(temporary);
    CHECK(samples(of(times_of(temporary, "test.order"), Timed::critical)) == 6);
}

TEST_CASE("a type that is only dropped has a row, and no memory for its times") {
    shmbus::testing::TemporaryBus temporary(telling_time());
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.subscribe_automatically = false;
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    endpoint.on<Order>([](const Order&) {});
    endpoint.on<Happened>([](const Happened&) {});
    endpoint.subscribe<Happened>();
    REQUIRE(bus.publish(Happened{1})->subscribers == 1);
    endpoint.unsubscribe<Happened>();
    REQUIRE(bus.send(Order{1, {}}));
    poll_all(endpoint);
    REQUIRE(endpoint.counts().dropped == 1);
    const base::File file = open_file(first_inbox(temporary));
    CHECK(lane::InboxOnlooker(file).metrics(0).types().size() == 2);
    // One of the type, one of the lane.
    CHECK(memory_of(file) ==
          lane::inbox_bytes + lane::metrics_bytes + 2 * lane::times_bytes);
}

TEST_CASE("an inbox cut short before its rows of types is counted in as ever, without them") {
    shmbus::test::Scene scene;
    scene.inbox->end_at(lane::type_times_at(0, 0));
    std::string said;
    Meter meter(true, [&](std::string_view what) { said = what; });
    meter.use(*scene.inbox, 0, no_lanes_move);
    const auto* const row = meter.row_of(7);
    meter.time_apart(row);
    meter.time_ns({row, 1}, Timed::processing, 1'000);
    CHECK(said.find("cut short") != std::string::npos);
    CHECK(scene.inbox->facts().bytes == lane::type_times_at(0, 0));
    scene.inbox->end_at(lane::inbox_file_bytes);
    const lane::InboxOnlooker inbox(scene.open_inbox());
    CHECK(samples(inbox.metrics(0).histogram(Timed::processing)) == 1);
    CHECK(samples(of(inbox.times_of_row(0, 0), Timed::processing)) == 0);
}
}
