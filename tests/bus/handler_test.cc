// Handlers: outputs, retries, giving up, the error endpoint.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "bus/inside.h"
#include "bus/messages.h"

using namespace bus_tests;
using shmbus::ErrorCode;

namespace {

// What was freed just before is not what it was any more.
std::vector<std::vector<std::byte>> reuse_memory() {
    std::vector<std::vector<std::byte>> used;
    for (std::size_t bytes = 16; bytes <= 512; bytes += 16)
        for (int i = 0; i < 8; ++i) used.emplace_back(bytes, std::byte{0x5A});
    return used;
}

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("what a handler sends takes effect when it returns, with ids that tell its parent") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint orders = bus.endpoint("orders");
    shmbus::Endpoint follows = bus.endpoint("follows");
    shmbus::Endpoint listener = bus.endpoint("listener");
    shmbus::Envelope parent, child, event, grandchild;
    bool seen_early = false;
    follows.on<Follow>([&](const Follow& follow, shmbus::Context& context) {
        if (follow.number == 1) {
            child = context.envelope();
            CHECK(context.send(Follow{2}));
        } else {
            grandchild = context.envelope();
        }
    });
    listener.on<Happened>(
        [&](const Happened&, shmbus::Context& context) { event = context.envelope(); });
    orders.on<Order>([&](const Order&, shmbus::Context& context) {
        parent = context.envelope();
        CHECK(context.send(Follow{1}));
        CHECK(bus.publish(Happened{1}));  // joins the outputs
        seen_early = follows.poll() != 0 || listener.poll() != 0;
    });
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(orders.poll() == 1);
    CHECK(!seen_early);
    CHECK(listener.poll() == 1);
    CHECK(follows.poll(1) == 1);
    CHECK(follows.poll(1) == 1);
    CHECK(parent.correlation == parent.id);
    CHECK(parent.related_to == shmbus::MessageId{});
    CHECK(child.related_to == parent.id);
    CHECK(child.conversation == parent.id);
    CHECK(child.correlation == parent.id);
    CHECK(event.related_to == parent.id);
    CHECK(!(event.id == child.id));
    CHECK(grandchild.related_to == child.id);
    CHECK(grandchild.conversation == parent.id);
    CHECK(child.type == "test.follow");
    CHECK(child.attempt == 1);
}

TEST_CASE("what several endpoints send for one event are several messages, by their ids too") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint orders = bus.endpoint("orders");
    orders.on<Order>([&](const Order&, shmbus::Context& context) {
        context.publish(Happened{1}).value();
    });
    std::vector<shmbus::MessageId> events;
    std::vector<shmbus::Endpoint> listeners;
    for (const char* const name : {"one", "other", "third"})
        listeners.push_back(bus.endpoint(name));
    for (shmbus::Endpoint& listener : listeners)
        listener.on<Happened>([&](const Happened&, shmbus::Context& context) {
            events.push_back(context.id());
            context.send(Follow{1}).value();
        });
    shmbus::Endpoint follows = bus.endpoint("follows");
    std::vector<std::string> ids;
    follows.on<Follow>([&](const Follow&, shmbus::Context& context) {
        CHECK(context.envelope().related_to == events.front());
        ids.push_back(context.id().text());
    });
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(orders.poll() == 1);
    for (shmbus::Endpoint& listener : listeners) CHECK(listener.poll() == 1);
    REQUIRE(events.size() == 3);
    CHECK(std::ranges::count(events, events.front()) == 3);
    poll_all(follows);
    REQUIRE(ids.size() == 3);
    std::ranges::sort(ids);
    CHECK(std::ranges::adjacent_find(ids) == ids.end());
}

// A handler's only output is written to its lane before the handler returns; whatever comes after
// it, nobody must notice.
TEST_CASE("an only output, several, and one that is taken back by a throw look alike") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.attempts_when_throwing = 2;
    shmbus::Endpoint orders = bus.endpoint("orders", options);
    shmbus::Endpoint notes = bus.endpoint("notes");
    std::vector<std::string> texts;
    std::vector<shmbus::Envelope> arrived;
    notes.on<Note>([&](const Note& note, shmbus::Context& context) {
        texts.push_back(note.text);
        arrived.push_back(context.envelope());
    });
    shmbus::MessageId parent;
    const std::string longer(500, 'x');  // several lines of the lane
    orders.on<Order>([&](const Order& order, shmbus::Context& context) {
        parent = context.envelope().id;
        const std::string number = std::to_string(order.number);
        if (order.number % 3 == 0) {
            CHECK(context.send(Note{longer + number}));
            if (context.envelope().attempt == 1) throw std::runtime_error("once");
        } else {
            CHECK(context.send(Note{number}));
        }
        if (order.number % 3 == 2) CHECK(bus.send(Note{number + "!"}));
    });
    for (std::uint64_t i = 0; i < 3000; ++i) {
        texts.clear();
        arrived.clear();
        REQUIRE(bus.send(Order{i, {}}));
        REQUIRE(orders.poll() == 1);
        notes.poll();
        const std::string number = std::to_string(i);
        const std::size_t outputs = i % 3 == 2 ? 2 : 1;
        REQUIRE(texts.size() == outputs);
        REQUIRE(texts[0] == (i % 3 == 0 ? longer + number : number));
        REQUIRE(texts.back() == (i % 3 == 2 ? number + "!" : texts[0]));
        for (std::size_t n = 0; n < outputs; ++n) {
            REQUIRE(arrived[n].related_to == parent);
            REQUIRE((arrived[n].id.low & 0xFFFF) == n + 1);
            REQUIRE(!arrived[n].repeated);
        }
    }
    CHECK(bus.counts().sent == 3000 + 4000);
}

TEST_CASE("a handler that throws sends nothing, is tried again, and then given up") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.attempts_when_throwing = 3;
    shmbus::Endpoint orders = bus.endpoint("orders", options);
    shmbus::Endpoint follows = bus.endpoint("follows");
    std::uint64_t follow_ups = 0;
    follows.on<Follow>([&](const Follow&) { ++follow_ups; });
    std::vector<std::uint32_t> attempts;
    orders.on<Order>([&](const Order& order, shmbus::Context& context) {
        attempts.push_back(context.attempt());
        REQUIRE(context.send(Follow{order.number}));
        if (order.number == 1 || attempts.size() < 6) throw std::runtime_error("not today");
    });
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(orders.poll() == 1);
    CHECK(attempts == std::vector<std::uint32_t>{1, 2, 3});
    CHECK(follows.poll() == 0);
    CHECK(orders.counts().threw == 3);
    CHECK(orders.counts().failed == 1);
    REQUIRE(bus.send(Order{2, {}}));
    CHECK(orders.poll() == 1);
    CHECK(attempts.size() == 6);
    CHECK(follows.poll() == 1);
    CHECK(follow_ups == 1);

    shmbus::Endpoint errors = bus.endpoint("error");
    std::vector<std::uint64_t> failed;
    errors.on_any([&](std::span<const std::byte> bytes, shmbus::Context& context) {
        Order order;
        REQUIRE(bytes.size() == sizeof(order));
        std::memcpy(&order, bytes.data(), sizeof(order));
        failed.push_back(order.number);
        const shmbus::Failure& failure = context.envelope().failure;
        CHECK(failure.reason == shmbus::FailureReason::handler_threw);
        CHECK(failure.attempts == 3);
        CHECK(failure.endpoint == "orders");
        CHECK(failure.what == "not today");
        CHECK(context.envelope().type == "test.order");
    });
    CHECK(errors.poll() == 1);
    CHECK(failed == std::vector<std::uint64_t>{1});
}

TEST_CASE("what cannot be handled goes to the error endpoint at once, the rest goes on") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("mixed");
    std::uint64_t notes = 0;
    endpoint.on<Note>([&](const Note&) { ++notes; });
    shmbus::SendOptions here;
    here.destination = "mixed";
    REQUIRE(bus.send(Note{"fine"}));
    REQUIRE(bus.send(Note{"!broken"}));
    REQUIRE(bus.send(Order{1, {}}, here));
    REQUIRE(bus.send(Note{"fine too"}));
    CHECK(endpoint.poll() == 4);
    CHECK(notes == 2);
    shmbus::Endpoint errors = bus.endpoint("error");
    std::vector<shmbus::FailureReason> reasons;
    errors.on_any([&](std::span<const std::byte>, shmbus::Context& context) {
        reasons.push_back(context.envelope().failure.reason);
    });
    CHECK(errors.poll() == 2);
    CHECK(reasons == std::vector{shmbus::FailureReason::not_decodable,
                                 shmbus::FailureReason::unknown_type});
}

TEST_CASE("what fails in the error endpoint as well is set aside, with where it failed first") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint orders = bus.endpoint("orders");
    orders.on<Order>([](const Order&) { throw std::runtime_error("not this one"); });
    shmbus::Endpoint errors = bus.endpoint("error");
    std::uint64_t calls = 0;
    SUBCASE("its handler throws too") {
        errors.on<Order>([&](const Order&) {
            ++calls;
            throw std::runtime_error("nor here");
        });
    }
    SUBCASE("it has none for that") { errors.on<Note>([](const Note&) {}); }
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(orders.poll() == 1);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    std::size_t polls = 0;
    while (errors.poll() != 0 && std::chrono::steady_clock::now() < until) ++polls;
    CHECK(polls == 1);
    CHECK(calls <= 5);
    CHECK(errors.counts().failed == 1);
    shmbus::Endpoint aside = bus.endpoint("error.unhandled");
    std::uint64_t came = 0;
    aside.on_any([&](std::span<const std::byte>, shmbus::Context& context) {
        ++came;
        const shmbus::Failure& failure = context.envelope().failure;
        CHECK(failure.endpoint == "orders");
        CHECK(failure.reason == shmbus::FailureReason::handler_threw);
        CHECK(failure.attempts == 5);
        CHECK(failure.what == "not this one");
    });
    CHECK(aside.poll() == 1);
    CHECK(came == 1);
}

TEST_CASE("what fails where another endpoint's failures are handled goes where that one says") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.error_endpoint = "repair";
    shmbus::Endpoint orders = bus.endpoint("orders", options);
    orders.on<Order>([](const Order&) { throw std::runtime_error("not this one"); });
    shmbus::Endpoint repair = bus.endpoint("repair");
    repair.on<Order>([](const Order&) { throw std::runtime_error("nor here"); });
    shmbus::Endpoint errors = bus.endpoint("error");
    std::string failed_at;
    errors.on_any([&](std::span<const std::byte>, shmbus::Context& context) {
        failed_at = context.envelope().failure.endpoint;
    });
    REQUIRE(bus.send(Order{1, {}}));
    for (shmbus::Endpoint* const one : {&orders, &repair, &errors}) CHECK(one->poll() == 1);
    CHECK(failed_at == "orders");
}

TEST_CASE("what fails where unhandled failures go does not come back to the error endpoint") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    const auto fail = [](const Order&) { throw std::runtime_error("nowhere"); };
    shmbus::Endpoint orders = bus.endpoint("orders");
    orders.on<Order>(fail);
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(orders.poll() == 1);
    shmbus::Endpoint errors = bus.endpoint("error");
    errors.on<Order>(fail);
    CHECK(errors.poll() == 1);
    shmbus::Endpoint unhandled = bus.endpoint("error.unhandled");
    unhandled.on<Order>(fail);
    CHECK(unhandled.poll() == 1);
    CHECK(errors.poll() == 0);
    CHECK(unhandled.poll() == 0);
}

TEST_CASE("a failing message of a batch is given up alone") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::uint64_t handled = 0;
    endpoint.on<Order>([&](const Order& order) {
        if (order.number == 3) throw 17;
        ++handled;
    });
    std::vector<Order> orders(6);
    for (std::size_t i = 0; i < 6; ++i) orders[i].number = i;
    REQUIRE(bus.send_batch<Order>(orders));
    CHECK(endpoint.poll() == 6);
    CHECK(handled == 5);
    shmbus::Endpoint errors = bus.endpoint("error");
    errors.on<Order>([&](const Order& order, shmbus::Context& context) {
        CHECK(order.number == 3);
        CHECK(context.envelope().failure.what == "an exception that is no std::exception");
    });
    CHECK(errors.poll() == 1);
    CHECK(errors.counts().handled == 1);
}

TEST_CASE("what fails finds as much room in the error endpoint as that one asks for") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.attempts_when_throwing = 1;
    shmbus::Endpoint orders = bus.endpoint("orders", options);
    orders.on<Order>([](const Order&) { throw std::runtime_error("no"); });
    // Nobody reads the error endpoint. A record that failed takes at most 4 units of 64 bytes, so
    // a lane of 1 MiB holds 4096 and more.
    for (std::uint64_t number = 1; number <= 4000; ++number) {
        REQUIRE(bus.send(Order{number, {}}));
        REQUIRE(orders.poll() == 1);
    }
    CHECK(orders.counts().failed == 4000);
}

TEST_CASE("messages wait for a full error endpoint while others are handled") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions small;
    small.lane_bytes = 4096;
    shmbus::Endpoint errors = bus.endpoint("error", small);
    std::vector<std::uint64_t> failed;
    errors.on_any([&](std::span<const std::byte> bytes, shmbus::Context&) {
        Order order;
        std::memcpy(&order, bytes.data(), sizeof(order));
        failed.push_back(order.number);
    });
    shmbus::Endpoint orders = bus.endpoint("orders");
    std::uint64_t handled = 0;
    orders.on<Order>([&](const Order& order) {
        if (order.number < 100) throw std::runtime_error("no");
        ++handled;
    });
    // A record that failed takes 3 units of the 64 that this lane has, the first one 4: 21 fit.
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    std::uint64_t number = 0;
    while (orders.counts().failed == number && number < 30) {
        REQUIRE(bus.send(Order{number++, {}}));
        CHECK(orders.poll() <= 1);
    }
    const std::uint64_t given = orders.counts().failed;
    CHECK(given == number - 1);
    // One is kept now; those behind it are handled all the same.
    for (std::uint64_t i = 0; i < 100; ++i) REQUIRE(bus.send(Order{100 + i, {}}));
    while (handled < 100 && std::chrono::steady_clock::now() < limit) orders.poll();
    CHECK(handled == 100);
    CHECK(orders.counts().failed == given);
    while (failed.size() < number && std::chrono::steady_clock::now() < limit) {
        errors.poll();
        orders.poll();
    }
    REQUIRE(failed.size() == number);
    for (std::uint64_t i = 0; i < number; ++i) CHECK(failed[i] == i);
    CHECK(orders.counts().failed == number);
}

TEST_CASE("a handler may change the handlers of its endpoint while it runs") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::vector<std::string> calls;
    const std::string first = "first", second = "second";  // outlive the handlers
    SUBCASE("it replaces itself, twice") {
        endpoint.on<Order>([&](const Order&) {
            endpoint.on<Order>([&](const Order&) { calls.push_back("never"); });
            endpoint.on<Order>([&](const Order&) { calls.push_back("second"); });
            const auto used = reuse_memory();
            calls.push_back("first");
        });
        for (int i = 0; i < 2; ++i) REQUIRE(bus.send(Order{1, {}}));
    }
    SUBCASE("it unsubscribes, and is one of two") {
        const auto unsubscribe = [&](const Happened&) {
            endpoint.unsubscribe<Happened>();
            const auto used = reuse_memory();
            calls.push_back(calls.empty() ? "first" : "second");
        };
        endpoint.on<Happened>(unsubscribe);
        endpoint.on<BigHappened>(unsubscribe);
        REQUIRE(bus.publish(BigHappened{}));
    }
    SUBCASE("it takes anything, and another one shall do so") {
        endpoint.on_any([&endpoint, &calls, &first, &second](std::span<const std::byte>,
                                                             shmbus::Context&) {
            endpoint.on_any([&](std::span<const std::byte>, shmbus::Context&) {
                calls.push_back(second);
            });
            const auto used = reuse_memory();
            calls.push_back(first);
        });
        bus.declare_endpoint<Order>("orders");
        for (int i = 0; i < 2; ++i) REQUIRE(bus.send(Order{1, {}}));
    }
    while (endpoint.poll() != 0) {
    }
    CHECK(calls == std::vector<std::string>{"first", "second"});
    CHECK(endpoint.counts().failed == 0);
}

TEST_CASE("send_local comes back to the endpoint itself") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint orders = bus.endpoint("orders");
    std::vector<std::uint64_t> seen;
    orders.on<Order>([&](const Order& order, shmbus::Context& context) {
        seen.push_back(order.number);
        if (order.number < 3) CHECK(context.send_local(Order{order.number + 1, {}}));
    });
    REQUIRE(bus.send(Order{1, {}}));
    while (orders.poll() != 0) {
    }
    CHECK(seen == std::vector<std::uint64_t>{1, 2, 3});
}

TEST_CASE("outputs that find no room fail the handler, which is tried again") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions small;
    small.lane_bytes = 4096;
    shmbus::Endpoint follows = bus.endpoint("follows", small);
    std::uint64_t arrived = 0;
    follows.on<Follow>([&](const Follow&) { ++arrived; });
    shmbus::EndpointOptions options;
    options.attempts_when_throwing = 2;
    shmbus::Endpoint orders = bus.endpoint("orders", options);
    shmbus::SendOptions at_once;
    at_once.when_full = shmbus::WhenFull::refuse;
    orders.on<Order>([&](const Order&, shmbus::Context& context) {
        for (int i = 0; i < 5; ++i) CHECK(context.send(Follow{1}, at_once));
    });
    for (int i = 0; i < 20; ++i) REQUIRE(bus.send(Order{1, {}}));
    CHECK(orders.poll() == 20);
    const auto counts = orders.counts();
    CHECK(counts.failed > 0);
    CHECK(counts.handled + counts.failed == 20);
    CHECK(counts.threw == 2 * counts.failed);
    while (follows.poll() != 0) {
    }
    // All five or none of each.
    CHECK(arrived == 5 * counts.handled);
}

TEST_CASE("more outputs than a lane can ever hold are refused when they are made") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions small;
    small.lane_bytes = 4096;
    std::uint64_t arrived = 0, accepted = 0, refused = 0;
    shmbus::Endpoint follows = bus.endpoint("follows", small);
    follows.on<Follow>([&](const Follow&) { ++arrived; });
    follows.on<Happened>([&](const Happened&) { ++arrived; });
    shmbus::EndpointOptions lossy = small;
    lossy.events_when_full = shmbus::WhenFull::drop_newest;
    // Counts for nothing, since what does not fit there may be let go.
    shmbus::Endpoint other = bus.endpoint("other", lossy);
    other.on<Happened>([](const Happened&) {});
    shmbus::Endpoint orders = bus.endpoint("orders");
    const auto note = [&](const shmbus::Result<void>& held) {
        if (held) {
            ++accepted;
        } else {
            CHECK(held.error() == ErrorCode::too_many);
            ++refused;
        }
    };
    bool is_events = false;
    SUBCASE("events") { is_events = true; }
    SUBCASE("commands") {}
    orders.on<Order>([&](const Order&, shmbus::Context& context) {
        for (std::uint64_t i = 0; i < 100; ++i)
            note(is_events ? context.publish(Happened{i}) : context.send(Follow{i}));
        if (orders.counts().threw != 0) return;
        // What is dropped takes no room from the next attempt.
        accepted = refused = 0;
        throw std::runtime_error("the first time");
    });
    for (std::uint64_t round = 1; round <= 2; ++round) {
        REQUIRE(bus.send(Order{1, {}}));
        poll_all(orders);
        CHECK(orders.counts().threw == 1);
        poll_all(follows);
        CHECK(accepted + refused == 100 * round);
        CHECK(arrived == accepted);
    }
    CHECK(accepted >= 2);
    CHECK(accepted % 2 == 0);
    CHECK(refused > 0);
}

TEST_CASE("what may be let go takes no room that was seen for an output that must arrive") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions small;
    small.lane_bytes = 4096;
    small.events_when_full = shmbus::WhenFull::drop_oldest;
    shmbus::Endpoint follows = bus.endpoint("follows", small);
    std::vector<std::uint64_t> commands, events;
    follows.on<Follow>([&](const Follow& follow) { commands.push_back(follow.number); });
    follows.on<Happened>([&](const Happened& event) { events.push_back(event.number); });
    shmbus::Endpoint orders = bus.endpoint("orders");
    std::uint64_t events_kept = 0, let_go = 0, first = 0;
    SUBCASE("a command") {
        orders.on<Order>([](const Order&, shmbus::Context& context) {
            shmbus::SendOptions let_go_if_full;
            let_go_if_full.when_full = shmbus::WhenFull::drop_newest;
            CHECK(context.send(Follow{1000}, let_go_if_full));
            CHECK(context.send(Follow{2000}));
        });
        let_go = 1;
    }
    SUBCASE("an event, for which the oldest goes") {
        orders.on<Order>([](const Order&, shmbus::Context& context) {
            CHECK(context.publish(Happened{1000}));
            CHECK(context.send(Follow{2000}));
        });
        events_kept = let_go = first = 1;
    }
    shmbus::SendOptions at_once;
    at_once.when_full = shmbus::WhenFull::refuse;
    std::uint64_t room = 0;
    while (bus.send(Follow{room}, at_once)) ++room;
    poll_all(follows);
    REQUIRE(commands.size() == room);
    commands.clear();
    // Of all the same length: room for one is left.
    for (std::uint64_t i = 0; i + 1 < room; ++i) REQUIRE(bus.send(Follow{i}, at_once));
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(orders.poll() == 1);
    CHECK(orders.counts().threw == 0);
    CHECK(bus.counts().dropped == let_go);
    poll_all(follows);
    REQUIRE(commands.size() == room - first);
    CHECK(commands.front() == first);
    CHECK(commands.back() == 2000);
    CHECK(events.size() == events_kept);
}

TEST_CASE("no output lets go what others have sent") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::BusOptions short_lanes;
    short_lanes.lane_bytes = 4096;
    shmbus::Bus bus = shmbus::Bus::open(temporary.directory(), short_lanes);
    shmbus::Endpoint follows = bus.endpoint("follows");
    std::uint64_t arrived = 0;
    follows.on<Follow>([&](const Follow& follow) {
        CHECK(follow.number == arrived);
        ++arrived;
    });
    shmbus::EndpointOptions once;
    once.attempts_when_throwing = 1;
    shmbus::Endpoint orders = bus.endpoint("orders", once);
    shmbus::SendOptions options;
    options.when_full = shmbus::WhenFull::drop_oldest;
    orders.on<Order>([&](const Order&, shmbus::Context& context) {
        CHECK(context.send(Follow{1000}, options));
    });
    std::uint64_t sent = 0;
    while (bus.send(Follow{sent}, options)) ++sent;
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(orders.poll() == 1);
    CHECK(orders.counts().failed == 1);
    CHECK(bus.counts().dropped == 0);
    poll_all(follows);
    CHECK(arrived == sent);
}

TEST_CASE("a recording context shows what a handler does, without a bus") {
    const auto handler = [](const Order& order, shmbus::Context& context) {
        CHECK(context.send(Follow{order.number}));
        CHECK(context.publish(Happened{order.number + 1}));
        CHECK(context.reply(Accepted{order.number + 2}));
    };
    shmbus::testing::RecordingContext context;
    handler(Order{1, {}}, context);
    CHECK(context.sent().at(0).as<Follow>().number == 1);
    CHECK(context.published().at(0).as<Happened>().number == 2);
    CHECK(context.replied().at(0).as<Accepted>().number == 3);
    CHECK_THROWS_AS(static_cast<void>(context.all().at(0).as<Order>()), std::invalid_argument);
}

TEST_CASE("a message that is kept holds its hand while others like it come one by one") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions small;
    small.lane_bytes = 4096;
    shmbus::Endpoint errors = bus.endpoint("error", small);
    shmbus::EndpointOptions options;
    options.attempts_when_throwing = 1;
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    std::vector<std::uint64_t> handled, failed;
    std::uint64_t passes_from = 2, calls = 0;
    endpoint.on<Order>([&](const Order& order) {
        ++calls;
        if (order.number >= 2 && order.number < passes_from) throw std::runtime_error("no");
        handled.push_back(order.number);
    });
    const auto one_by_one = [&](std::uint64_t from, std::uint64_t to) {
        for (std::uint64_t number = from; number < to; ++number) {
            endpoint.poll();
            const std::uint64_t before = calls;
            REQUIRE(bus.send(Order{number, {}}, patient()));
            while (calls == before) endpoint.poll();
        }
    };
    // So that the next is expected to be like it.
    one_by_one(0, 2);
    // Until the error endpoint takes no more: the last of these is kept.
    std::uint64_t next = 2;
    while (endpoint.counts().failed == next - 2) {
        passes_from = next + 1;
        one_by_one(next, passes_from);
        ++next;
    }
    REQUIRE(next < 100);
    // Long enough for a look around, then more than the lane holds.
    for (int i = 0; i < 1000; ++i) endpoint.poll();
    constexpr std::uint64_t many = 100'000;
    one_by_one(next, many);
    errors.on<Order>([&](const Order& order) { failed.push_back(order.number); });
    const auto all = [&] { return handled.size() + failed.size() == many; };
    CHECK(comes([&] { return errors.poll(), endpoint.poll(), all(); }));
    std::vector<std::uint64_t> both = handled;
    both.insert(both.end(), failed.begin(), failed.end());
    std::sort(both.begin(), both.end());
    bool are_whole = both.size() == many;
    for (std::uint64_t number = 0; number < both.size(); ++number)
        are_whole = are_whole && both[number] == number;
    CHECK(are_whole);
}
}
