// Traces: carried with a message, handed on by its handler, told as spans.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/support.h"
#include "bus/inside.h"
#include "bus/messages.h"

using namespace bus_tests;
using namespace std::chrono_literals;
using shmbus::TraceContext;

namespace {

constexpr const char* header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

// The value of a key in a line of JSON, without its quotes.
std::string value_in(const std::string& line, const std::string& key) {
    const std::size_t at = line.find("\"" + key + "\":");
    if (at == std::string::npos) return {};
    std::size_t begin = at + key.size() + 3;
    if (line[begin] == '"') ++begin;
    return line.substr(begin, line.find_first_of("\",}", begin) - begin);
}

TEST_SUITE("bus") {

TEST_CASE("a traceparent header is read as the standard has it") {
    const auto trace = TraceContext::parse(header);
    REQUIRE(trace);
    CHECK(trace->text() == header);
    CHECK(trace->is_sampled());
    CHECK(trace->trace_id[0] == 0x4b);
    CHECK(trace->parent_id[7] == 0xb7);
    // A later version may say more.
    CHECK(TraceContext::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more"));
    for (const char* text :
         {"", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
          "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
          "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
          "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
          "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
          "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
          "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
          "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01"})
        CHECK_MESSAGE(!TraceContext::parse(text), text);
}

TEST_CASE("a message's trace reaches its handler, and what that sends is a child of it") {
    std::vector<std::string> spans;
    shmbus::BusOptions bus_options;
    bus_options.process_name = "shop";
    bus_options.spans = [&](std::string_view line) { spans.emplace_back(line); };
    shmbus::testing::TemporaryBus temporary(bus_options);
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::vector<std::optional<TraceContext>> seen;
    endpoint.on<Order>([&](const Order& order, shmbus::Context& context) {
        seen.push_back(context.envelope().trace);
        REQUIRE(context.send(Follow{order.number}));
        REQUIRE(context.publish(Happened{order.number}));
    });
    endpoint.on<Follow>([&](const Follow&, shmbus::Context& context) {
        seen.push_back(context.envelope().trace);
    });
    endpoint.on<Happened>([&](const Happened&, shmbus::Context& context) {
        seen.push_back(context.envelope().trace);
    });
    shmbus::SendOptions options;
    options.trace = TraceContext::parse(header);
    REQUIRE(bus.send(Order{1, {}}, options));
    poll_all(endpoint);
    REQUIRE(seen.size() == 3);
    REQUIRE(spans.size() == 3);
    REQUIRE(seen[0]);
    CHECK(*seen[0] == *options.trace);
    const std::string first = value_in(spans[0], "spanId");
    CHECK(value_in(spans[0], "parentSpanId") == "00f067aa0ba902b7");
    CHECK(value_in(spans[0], "name") == "process test.order");
    CHECK(value_in(spans[0], "messaging.destination.name") == "orders");
    CHECK(value_in(spans[0], "service.name") == "shop");
    CHECK(value_in(spans[0], "code") == "STATUS_CODE_OK");
    for (std::size_t child : {1U, 2U}) {
        REQUIRE(seen[child]);
        CHECK(seen[child]->trace_id == options.trace->trace_id);
        CHECK(value_in(spans[child], "traceId") == "4bf92f3577b34da6a3ce929d0e0e4736");
        CHECK(value_in(spans[child], "parentSpanId") == first);
        CHECK(value_in(spans[child], "spanId") != first);
    }
    for (const std::string& span : spans) {
        const auto begin = std::stoull(value_in(span, "startTimeUnixNano"));
        CHECK(begin <= std::stoull(value_in(span, "endTimeUnixNano")));
        CHECK(begin > 1'700'000'000'000'000'000U);
    }
}

TEST_CASE("a loan carries the trace that it was asked with, and only that one does") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::vector<std::pair<std::uint64_t, std::optional<TraceContext>>> seen;
    endpoint.on<Order>([&](const Order& order, shmbus::Context& context) {
        seen.emplace_back(order.number, context.envelope().trace);
    });
    shmbus::SendOptions options;
    options.trace = TraceContext::parse(header);
    for (std::uint64_t number = 1; number <= 4; ++number) {
        auto loan = number % 2 == 0 ? bus.loan<Order>(options) : bus.loan<Order>();
        REQUIRE(loan);
        *loan = Order{number, {}};
        if (number == 4) continue;  // dropped: never there
        loan.commit();
    }
    REQUIRE(bus.send(Order{5, {}}));
    poll_all(endpoint);
    REQUIRE(seen.size() == 4);
    for (const auto& [number, trace] : seen)
        CHECK(trace == (number == 2 ? options.trace : std::nullopt));
    CHECK(seen.back().first == 5);
}

TEST_CASE("messages without a trace, and traces that are not sampled, are not told") {
    std::vector<std::string> spans;
    shmbus::BusOptions bus_options;
    bus_options.spans = [&](std::string_view line) { spans.emplace_back(line); };
    shmbus::testing::TemporaryBus temporary(bus_options);
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::size_t traced = 0;
    endpoint.on<Order>([&](const Order&, shmbus::Context& context) {
        traced += context.envelope().trace ? 1 : 0;
    });
    REQUIRE(bus.send(Order{1, {}}));
    shmbus::SendOptions options;
    options.trace = TraceContext::parse(header);
    options.trace->flags = 0;
    REQUIRE(bus.send(Order{2, {}}, options));
    REQUIRE(bus.send(Order{3, {}}));
    poll_all(endpoint);
    CHECK(endpoint.counts().handled == 3);
    CHECK(traced == 1);
    CHECK(spans.empty());
}

TEST_CASE("a handler that throws is told with what it said, and each attempt has its span") {
    std::vector<std::string> spans;
    shmbus::BusOptions bus_options;
    bus_options.spans = [&](std::string_view line) { spans.emplace_back(line); };
    shmbus::testing::TemporaryBus temporary(bus_options);
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions endpoint_options;
    endpoint_options.attempts_when_throwing = 2;
    shmbus::Endpoint endpoint = bus.endpoint("orders", endpoint_options);
    endpoint.on<Order>([](const Order&) { throw std::runtime_error("no \"stock\"\n"); });
    shmbus::Endpoint errors = bus.endpoint("error");
    std::optional<TraceContext> failed;
    errors.on_any([&](std::span<const std::byte>, shmbus::Context& context) {
        failed = context.envelope().trace;
    });
    shmbus::SendOptions options;
    options.trace = TraceContext::parse(header);
    REQUIRE(bus.send(Order{1, {}}, options));
    poll_all(endpoint);
    poll_all(errors);
    REQUIRE(spans.size() == 3);
    CHECK(value_in(spans[0], "code") == "STATUS_CODE_ERROR");
    CHECK(spans[0].find("no \\\"stock\\\"\\u000a") != std::string::npos);
    CHECK(value_in(spans[0], "spanId") != value_in(spans[1], "spanId"));
    CHECK(value_in(spans[1], "shmbus.attempt") == "2");
    REQUIRE(failed);
    CHECK(failed->trace_id == options.trace->trace_id);
}

TEST_CASE("a durable message keeps its trace through the journal, a request takes one along") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("kept");
    std::vector<std::optional<TraceContext>> seen;
    endpoint.on<Kept>([&](const Kept&, shmbus::Context& context) {
        seen.push_back(context.envelope().trace);
    });
    endpoint.on<Order>([&](const Order& order, shmbus::Context& context) {
        seen.push_back(context.envelope().trace);
        return Accepted{order.number};
    });
    shmbus::SendOptions options;
    options.trace = TraceContext::parse(header);
    REQUIRE(bus.send(Kept{1}, options)->wait(10s));
    const auto poll_until = [&](std::size_t count) {
        const auto until = std::chrono::steady_clock::now() + 20s;
        while (seen.size() < count && std::chrono::steady_clock::now() < until) {
            endpoint.poll();
            endpoint.wait(1ms);
        }
    };
    poll_until(1);
    shmbus::RequestOptions request;
    request.trace = options.trace;
    auto pending = bus.request(Order{2, {}}, request);
    poll_until(2);
    CHECK(pending.wait());
    REQUIRE(seen.size() == 2);
    CHECK(seen[0] == options.trace);
    CHECK(seen[1] == options.trace);
}

TEST_CASE("SHMBUS_SPANS names the file that spans are appended to") {
    const shmbus::test::TemporaryDirectory folder;
    const std::string path = folder.path() + "/spans.jsonl";
    ::setenv("SHMBUS_SPANS", path.c_str(), 1);
    shmbus::testing::TemporaryBus temporary;
    ::unsetenv("SHMBUS_SPANS");
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order&) {});
    shmbus::SendOptions options;
    options.trace = TraceContext::parse(header);
    REQUIRE(bus.send(Order{1, {}}, options));
    REQUIRE(bus.send(Order{2, {}}, options));
    poll_all(endpoint);
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    CHECK(lines.size() == 2);
    ::setenv("SHMBUS_SPANS", (folder.path() + "/none/spans").c_str(), 1);
    CHECK_THROWS_AS(static_cast<void>(shmbus::Bus::open(temporary.directory())),
                    shmbus::SetupError);
    ::unsetenv("SHMBUS_SPANS");
}
}

}  // namespace
