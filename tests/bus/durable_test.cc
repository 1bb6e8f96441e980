// Durable messages as one process sees them: receipts, order, handlers, overrides.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <chrono>
#include <vector>

#include <shmbus/testing.h>

#include "messages.h"

using namespace std::chrono_literals;
using shmbus::ErrorCode;

namespace bus_tests {
namespace {

// Handles until `enough` says so; the limit is only for what never comes.
void poll_until(shmbus::Endpoint& endpoint, auto&& enough) {
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (!enough() && std::chrono::steady_clock::now() < until) {
        endpoint.poll();
        endpoint.wait(1ms);
    }
    REQUIRE(enough());
}

}  // namespace

TEST_CASE("a durable command gets a receipt and is delivered in its order") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    std::vector<std::uint64_t> seen;
    shmbus::Endpoint endpoint = bus.endpoint("kept");
    endpoint.on<Kept>([&](const Kept& kept) { seen.push_back(kept.number); });
    for (std::uint64_t number = 1; number <= 1000; ++number) {
        const shmbus::Result<shmbus::Receipt> sent = bus.send(Kept{number});
        REQUIRE_MESSAGE(sent, sent.error().text());
        if (number % 100 == 0) {
            const shmbus::Result<void> there = sent->wait(10s);
            REQUIRE_MESSAGE(there, there.error().text());
            CHECK(sent->is_there());
        }
    }
    CHECK(bus.sync(10s));
    poll_until(endpoint, [&] { return seen.size() == 1000; });
    for (std::uint64_t number = 1; number <= 1000; ++number) CHECK(seen[number - 1] == number);
    CHECK(endpoint.poll() == 0);
}

}  // namespace bus_tests
