// Processing time, critical time and queue wait of single lanes, for others to see.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <optional>
#include <string>

#include "bus/histograms.h"
#include "bus/inside.h"
#include "bus/messages.h"
#include "bus/meter.h"
#include "lane/inbox_file.h"
#include "lane/onlooker.h"
#include "support/scene.h"

using namespace bus_tests;
namespace lane = shmbus::lane;
namespace base = shmbus::base;
using lane::Timed;
using shmbus::detail::Meter;

namespace {

// By lane id, the rows of all places together.
std::map<std::uint64_t, lane::Metrics::Times> times_by_lane(const base::File& file) {
    const lane::InboxOnlooker inbox(file);
    std::map<std::uint64_t, lane::Metrics::Times> all;
    for (std::uint16_t slot = 0; slot < lane::most_consumers; ++slot) {
        const lane::Metrics metrics = inbox.metrics(slot);
        for (const auto& row : metrics.timed_lanes())
            add(all[row.lane], inbox.times_of_lane(slot, row));
    }
    return all;
}
// How many messages of each lane told when they were sent, fewest first.
std::vector<std::uint64_t> told_by_lane(const shmbus::testing::TemporaryBus& bus) {
    std::vector<std::uint64_t> counts;
    for (const auto& [lane, times] : times_by_lane(open_file(first_inbox(bus)))) {
        CHECK(samples(of(times, Timed::critical)) == samples(of(times, Timed::queue_wait)));
        counts.push_back(samples(of(times, Timed::critical)));
    }
    std::sort(counts.begin(), counts.end());
    return counts;
}

// A place in an inbox, and as many lanes into it as are wanted.
struct Timed16 {
    explicit Timed16(std::uint64_t lanes) {
        for (std::uint64_t id = 1; id <= lanes; ++id) static_cast<void>(scene.make_lane(id));
        view.emplace(scene.open_inbox());
        meter.use(*scene.inbox, 3, view->consumers().version);
        counted = meter.row_of(7);
    }
    void time(std::uint64_t lane_id, std::uint64_t ns, std::uint64_t weight = 1) {
        meter.time_ns({counted, lane_id}, Timed::processing, ns, weight);
    }
    [[nodiscard]] lane::Metrics::Histogram processing_of(std::uint64_t lane_id) {
        return of(times_by_lane(scene.open_inbox())[lane_id], Timed::processing);
    }
    shmbus::test::Scene scene;
    std::optional<lane::InboxView> view;
    std::string said;
    Meter meter{true, [this](std::string_view what) { said += what; }};
    Meter::Word* counted;
};

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("two lanes of one endpoint have medians of their own, and the endpoint has both") {
    Timed16 timed(2);
    for (int i = 0; i < 10; ++i) timed.time(1, 1'000, 64);
    for (int i = 0; i < 10; ++i) timed.time(2, 50'000);
    timed.meter.handled_since({timed.counted, 2}, 1'000, 3'000, 9'000);
    CHECK(median_bucket(timed.processing_of(1)) == lane::bucket_of(1'000));
    CHECK(median_bucket(timed.processing_of(2)) == lane::bucket_of(50'000));
    CHECK(samples(timed.processing_of(1)) == 640);
    CHECK(samples(timed.processing_of(2)) == 10);
    auto times = times_by_lane(timed.scene.open_inbox());
    CHECK(of(times[2], Timed::queue_wait)[lane::bucket_of(2'000)] == 1);
    CHECK(of(times[2], Timed::critical)[lane::bucket_of(8'000)] == 1);
    CHECK(samples(of(times[1], Timed::critical)) == 0);
    const lane::InboxOnlooker inbox(timed.scene.open_inbox());
    CHECK(samples(inbox.metrics(3).histogram(Timed::processing)) == 650);
}

TEST_CASE("a sixteenth lane goes without a row, at no cost, until a lane with one has gone") {
    Timed16 timed(16);
    for (std::uint64_t id = 1; id <= lane::most_timed_lanes; ++id) timed.time(id, id * 100);
    const std::uint64_t memory = memory_of(*timed.scene.inbox);
    for (int i = 0; i < 1'000; ++i) timed.time(16, 1'600);
    CHECK(memory_of(*timed.scene.inbox) == memory);
    CHECK(samples(timed.processing_of(16)) == 0);
    timed.scene.admin->remove_lane(4);
    // As long as nobody needs the row, what went through it can be read.
    CHECK(samples(timed.processing_of(4)) == 1);
    for (int i = 0; i < 1'000; ++i) timed.time(16, 1'600);
    const std::uint64_t with_row = samples(timed.processing_of(16));
    CHECK(with_row > 900);
    CHECK(with_row == timed.processing_of(16)[lane::bucket_of(1'600)]);
    CHECK(samples(timed.processing_of(4)) == 0);
    for (std::uint64_t id = 1; id <= 15; ++id)
        if (id != 4) CHECK(samples(timed.processing_of(id)) == 1);
    // The endpoint has all of them.
    const lane::InboxOnlooker inbox(timed.scene.open_inbox());
    CHECK(samples(inbox.metrics(3).histogram(Timed::processing)) == 2'015);
    CHECK(memory_of(*timed.scene.inbox) == memory);
    CHECK(timed.said.empty());
}

TEST_CASE("who has the place next goes on in the rows of lanes that stayed") {
    Timed16 timed(16);
    for (std::uint64_t id = 1; id <= lane::most_timed_lanes; ++id) timed.time(id, 100);
    Meter heir(true, [](std::string_view) {});
    heir.use(*timed.scene.inbox, 3, timed.view->consumers().version);
    const auto* const counted = heir.row_of(7);
    timed.scene.admin->remove_lane(1);
    // The new lane comes first, and must not take the row of one that stayed.
    heir.time_ns({counted, 16}, Timed::processing, 100);
    for (std::uint64_t id = 2; id <= 15; ++id) heir.time_ns({counted, id}, Timed::processing, 100);
    CHECK(samples(timed.processing_of(1)) == 0);
    for (std::uint64_t id = 2; id <= 15; ++id) CHECK(samples(timed.processing_of(id)) == 2);
    CHECK(samples(timed.processing_of(16)) == 1);
}

TEST_CASE("an endpoint times each lane it takes from, whichever way its messages go") {
    shmbus::EndpointOptions options;
    SUBCASE("in the polling thread") {}
    SUBCASE("in a pool of threads") { options.handler_threads = 3; }
    shmbus::testing::TemporaryBus temporary(telling_time());
    shmbus::Bus& bus = temporary.bus();
    shmbus::BusOptions told = telling_time();
    shmbus::Bus other = shmbus::Bus::open(temporary.directory(), told);
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    std::atomic<int> handled{0};
    const auto count = [&] {
        if (++handled == 15) endpoint.stop();
    };
    endpoint.on<Order>([&](const Order&) { count(); });
    endpoint.on<Note>([&](const Note&) { count(); });
    for (std::uint64_t number = 0; number < 3; ++number) REQUIRE(bus.send(Order{number, {}}));
    for (std::uint64_t number = 0; number < 7; ++number) REQUIRE(other.send(Order{number, {}}));
    for (int i = 0; i < 5; ++i) REQUIRE(other.send(Note{"text"}));
    endpoint.run();
    CHECK(told_by_lane(temporary) == std::vector<std::uint64_t>{3, 12});
}

TEST_CASE("what a lane's times have counted outlives the consumer, and its heir goes on") {
    shmbus::testing::TemporaryBus temporary(telling_time());
    die_in_the_sixth(temporary);
    CHECK(told_by_lane(temporary) == std::vector<std::uint64_t>{5});
    inherit_the_sixth(temporary);
    CHECK(told_by_lane(temporary) == std::vector<std::uint64_t>{6});
}

TEST_CASE("an inbox cut short before its rows of lanes is counted in as ever, without them") {
    Timed16 timed(2);
    timed.scene.inbox->end_at(lane::lane_times_at(0, 0));
    timed.time(1, 1'000);
    timed.time(2, 1'000);
    CHECK(timed.said.find("cut short") != std::string::npos);
    CHECK(timed.said.find("cut short") == timed.said.rfind("cut short"));
    CHECK(timed.scene.inbox->facts().bytes == lane::lane_times_at(0, 0));
    timed.scene.inbox->end_at(lane::inbox_file_bytes);
    const lane::InboxOnlooker inbox(timed.scene.open_inbox());
    CHECK(samples(inbox.metrics(3).histogram(Timed::processing)) == 2);
    CHECK(samples(timed.processing_of(1)) == 0);
}
}
