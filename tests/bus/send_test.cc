// Sending and handling: commands, batches, loans, order, refusals.
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include "bus/messages.h"

using namespace bus_tests;
using shmbus::ErrorCode;

TEST_SUITE("bus") {

TEST_CASE("a command reaches the endpoint that handles it") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::vector<std::uint64_t> seen;
    endpoint.on<Order>([&](const Order& order) { seen.push_back(order.number); });
    const auto sent = bus.send(Order{7, {}});
    REQUIRE_MESSAGE(sent, sent.error().text());
    CHECK(endpoint.poll() == 1);
    CHECK(seen == std::vector<std::uint64_t>{7});
    CHECK(endpoint.counts().handled == 1);
    CHECK(bus.counts().sent == 1);
}
}
