// What an endpoint counts and times for others to see.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <stdexcept>
#include <thread>

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

namespace {

// The metrics of one place at the bus's only endpoint that has any.
lane::Metrics metrics_of(const shmbus::testing::TemporaryBus& temporary, std::uint16_t slot = 0) {
    const base::File inboxes =
        base::File::open_directory(temporary.directory() + "/inboxes");
    for (const auto& entry :
         std::filesystem::directory_iterator(temporary.directory() + "/inboxes")) {
        const lane::InboxOnlooker inbox(base::File::open_at(
            inboxes.fd(), entry.path().filename().string(), base::Access::read_only));
        const lane::Metrics metrics = inbox.metrics(slot);
        if (!metrics.types().empty()) return metrics;
    }
    return {};
}

std::vector<std::uint64_t> counts_of(const lane::Metrics& metrics) {
    std::vector<std::uint64_t> counts;
    for (const auto& row : metrics.types()) counts.push_back(row.handled);
    std::sort(counts.begin(), counts.end());
    return counts;
}

std::uint64_t samples(const lane::Metrics& metrics, lane::Timed which) {
    const auto& all = metrics.histogram(which);
    return std::accumulate(all.begin(), all.end(), std::uint64_t{0});
}

// No value of the histogram is below this.
bool all_at_least(const lane::Metrics& metrics, lane::Timed which, std::uint64_t ns) {
    const auto& all = metrics.histogram(which);
    return std::all_of(all.begin(), all.begin() + static_cast<int>(lane::bucket_of(ns)),
                       [](std::uint64_t count) { return count == 0; });
}

shmbus::directory::DirectoryReader bus_directory(const shmbus::testing::TemporaryBus& temporary) {
    const base::File folder = base::File::open_directory(temporary.directory());
    return shmbus::directory::DirectoryReader(base::File::open_at(
        folder.fd(), shmbus::wire::directory_file, base::Access::read_only));
}

TEST_SUITE("bus") {

TEST_CASE("an endpoint counts what it handled by type, and what failed") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.attempts_when_throwing = 3;
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    endpoint.on<Order>([](const Order&) {});
    endpoint.on<Follow>([](const Follow& follow) {
        if (follow.number == 13) throw std::runtime_error("unlucky");
    });
    endpoint.on<Note>([](const Note&) {});
    for (std::uint64_t number = 0; number < 100; ++number) {
        REQUIRE(bus.send(Order{number, {}}));
        if (number % 3 == 0) REQUIRE(bus.send(Note{"text"}));
        if (number % 5 == 0) poll_all(endpoint);
    }
    std::vector<Follow> follows;
    for (std::uint64_t number = 0; number < 20; ++number) follows.push_back({number});
    REQUIRE(bus.send_batch(std::span<const Follow>(follows)));
    poll_all(endpoint);
    const lane::Metrics metrics = metrics_of(temporary);
    CHECK(counts_of(metrics) == std::vector<std::uint64_t>{19, 34, 100});
    CHECK(metrics.other_types() == 0);
    CHECK(metrics.counter(lane::Counter::threw) == 3);
    CHECK(metrics.counter(lane::Counter::failed) == 1);
    CHECK(metrics.counter(lane::Counter::exhausted) == 1);
    CHECK(metrics.counter(lane::Counter::redelivered) == 0);
    // By type: one has them all; the sum of those without a row is behind it.
    REQUIRE(metrics.troubled().size() == 2);
    CHECK(metrics.troubled()[0].counts == std::array<std::uint64_t, 4>{3, 0, 1, 0});
    CHECK(metrics.troubled()[1].counts == std::array<std::uint64_t, 4>{});
}

TEST_CASE("handler threads count together") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.handler_threads = 4;
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    std::atomic<std::uint64_t> handled{0};
    endpoint.on<Order>([&](const Order&) {
        if (++handled == 5000) endpoint.stop();
    });
    std::thread sending([&] {
        for (std::uint64_t number = 0; number < 5000; ++number)
            while (!bus.send(Order{number, {}})) {
            }
    });
    endpoint.run();
    sending.join();
    CHECK(counts_of(metrics_of(temporary)) == std::vector<std::uint64_t>{5000});
}

TEST_CASE("an endpoint times handlers that succeed, and messages from their sending on") {
    shmbus::BusOptions bus_options;
    bus_options.time_sent_every = 1;
    shmbus::testing::TemporaryBus temporary(bus_options);
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.attempts_when_throwing = 1;
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    const auto spend = [](std::chrono::nanoseconds span) {
        const std::uint64_t until = base::now_ns() + static_cast<std::uint64_t>(span.count());
        while (base::now_ns() < until) {
        }
    };
    endpoint.on<Order>([&](const Order&) { spend(3ms); });
    endpoint.on<Follow>([](const Follow&) { throw std::runtime_error("at once"); });
    for (std::uint64_t number = 0; number < 5; ++number) {
        REQUIRE(bus.send(Order{number, {}}));
        REQUIRE(bus.send(Follow{number}));
    }
    spend(20ms);
    poll_all(endpoint);
    const lane::Metrics metrics = metrics_of(temporary);
    CHECK(samples(metrics, lane::Timed::processing) == 5);
    CHECK(samples(metrics, lane::Timed::queue_wait) == 5);
    CHECK(samples(metrics, lane::Timed::critical) == 5);
    CHECK(all_at_least(metrics, lane::Timed::processing, 2'900'000));
    CHECK(all_at_least(metrics, lane::Timed::queue_wait, 19'000'000));
    CHECK(all_at_least(metrics, lane::Timed::critical, 22'000'000));
}

TEST_CASE("a sleeper counts how often it was woken") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Endpoint endpoint = temporary.bus().endpoint("orders");
    endpoint.on<Order>([](const Order&) {});
    CHECK_FALSE(endpoint.wait(1ms));
    CHECK_FALSE(endpoint.wait(1ms));
    REQUIRE(temporary.bus().send(Order{1, {}}));
    poll_all(endpoint);
    CHECK(metrics_of(temporary).counter(lane::Counter::wakeups) >= 2);
}

TEST_CASE("an endpoint that waits in vain takes at most 4 KiB to be counted") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Endpoint endpoint = temporary.bus().endpoint("orders");
    endpoint.on<Order>([](const Order&) {});
    for (int times = 0; times < 3; ++times) CHECK_FALSE(endpoint.wait(1ms));
    const base::File inbox = open_file(first_inbox(temporary));
    CHECK(memory_of(inbox) <= lane::inbox_bytes + 4096);
    REQUIRE(temporary.bus().send(Order{1, {}}));
    poll_all(endpoint);
    CHECK(memory_of(inbox) >= lane::inbox_bytes + lane::metrics_bytes);
}

TEST_CASE("with metrics turned off nothing is counted for others and no memory is taken for it") {
    shmbus::BusOptions options;
    options.metrics = false;
    shmbus::testing::TemporaryBus temporary(options);
    shmbus::Endpoint endpoint = temporary.bus().endpoint("orders");
    endpoint.on<Order>([](const Order&) {});
    REQUIRE(temporary.bus().send(Order{1, {}}));
    poll_all(endpoint);
    CHECK(endpoint.counts().handled == 1);
    CHECK(metrics_of(temporary).types().empty());
}

TEST_CASE("the journal counts its batches, its bytes and the time of each fdatasync") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("kept");
    endpoint.on<Kept>([](const Kept&) {});
    for (std::uint64_t number = 0; number < 10; ++number)
        REQUIRE(bus.send(Kept{number})->wait(10s));
    const auto journal = bus_directory(temporary).journal_endpoint();
    REQUIRE(journal);
    const base::File inboxes =
        base::File::open_directory(temporary.directory() + "/inboxes");
    const lane::Metrics metrics =
        lane::InboxOnlooker(base::File::open_at(inboxes.fd(),
                                                shmbus::wire::numbered_file(journal->reference()),
                                                base::Access::read_only))
            .metrics(0);
    // A receipt each, so a batch each; and some for the directory.
    CHECK(samples(metrics, lane::journal_sync_ns) >= 10);
    CHECK(samples(metrics, lane::journal_records) == samples(metrics, lane::journal_sync_ns));
    CHECK(samples(metrics, lane::journal_bytes) == samples(metrics, lane::journal_sync_ns));
    CHECK(metrics.counter(lane::Counter::bytes) >= 10 * 4096);
    CHECK(all_at_least(metrics, lane::journal_bytes, 4096));
}

TEST_CASE("handlers that are timed now and then are told in their true proportion") {
    shmbus::test::Scene scene;
    shmbus::detail::Meter meter(true, [](std::string_view) {});
    meter.use(*scene.inbox, 0, no_lanes_move);
    const auto* const row = meter.row_of(1);
    shmbus::detail::Sampler sampler;
    const base::TickRate& rate = base::tick_rate();
    // One in a hundred takes 50 us, the others 20 ns; in no regular order.
    std::uint64_t state = 12345;
    constexpr std::uint64_t messages = 20'000'000;
    for (std::uint64_t i = 0; i < messages; ++i) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        const bool is_long = (state >> 33) % 100 == 0;
        if (sampler.is_due(1)) sampler.took(meter, {row, 1}, rate.to_ticks(is_long ? 50'000 : 20));
    }
    const lane::Metrics metrics =
        lane::InboxOnlooker(scene.open_inbox()).metrics(0);
    const auto& all = metrics.histogram(lane::Timed::processing);
    const std::uint64_t total = samples(metrics, lane::Timed::processing);
    const std::uint64_t slow = std::accumulate(
        all.begin() + static_cast<int>(lane::bucket_of(1000)), all.end(), std::uint64_t{0});
    CHECK(total <= messages);
    CHECK(total > messages - lane::buckets);
    CHECK(static_cast<double>(slow) == doctest::Approx(messages / 100.0).epsilon(0.12));
}
}

}  // namespace
