// Durable messages as one process sees them: receipts, order, handlers, overrides.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <shmbus/testing.h>

#include "bus/inside.h"
#include "coroutine.h"
#include "lane/lane_file.h"
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

Started await(const shmbus::Receipt& receipt, std::chrono::nanoseconds limit, int& outcome) {
    const shmbus::Result<void> there = co_await receipt.within(limit);
    outcome = there ? 1 : -1;
}

Owned await_for_a_while(shmbus::Receipt receipt, int& outcome) {
    const shmbus::Result<void> there = co_await receipt.within(20s);
    outcome = there ? 1 : -1;
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

TEST_CASE("a durable event is delivered to each subscriber, and a full one delays nobody") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions small;
    small.lane_bytes = 4096;
    shmbus::Endpoint idle = bus.endpoint("idle", small);
    std::vector<std::uint64_t> idle_saw;
    idle.on<KeptFact>([&](const KeptFact& fact) { idle_saw.push_back(fact.number); });
    shmbus::Endpoint busy = bus.endpoint("busy");
    std::vector<std::uint64_t> busy_saw;
    busy.on<KeptFact>([&](const KeptFact& fact) { busy_saw.push_back(fact.number); });
    // Ten times what fits into the idle one's lane.
    constexpr std::uint64_t count = 400;
    for (std::uint64_t number = 1; number <= count; ++number)
        REQUIRE(bus.publish(KeptFact{number}));
    REQUIRE(bus.sync(10s));
    poll_until(busy, [&] { return busy_saw.size() == count; });
    CHECK(idle_saw.empty());
    poll_until(idle, [&] { return idle_saw.size() == count; });
    CHECK(idle_saw == busy_saw);
}

TEST_CASE("a coroutine that was destroyed while it waited for a receipt is not resumed") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Kept>("kept");
    int outcome = 1;
    shmbus::Receipt receipt;
    // Ends: with one that is not on disk at once, which is nearly always the first.
    for (std::uint64_t number = 0; outcome != 0; ++number) {
        const shmbus::Result<shmbus::Receipt> sent = bus.send(Kept{number});
        REQUIRE(sent);
        receipt = *sent;
        outcome = 0;
        const Owned destroyed = await_for_a_while(receipt, outcome);
    }
    REQUIRE(receipt.wait(20s));
    CHECK(bus.poll() == 1);
    CHECK(outcome == 0);
}

TEST_CASE("in a forked child a receipt of the parent's says neither that it is there nor waits") {
    shmbus::testing::TemporaryBus temporary;
    auto bus = std::make_unique<shmbus::Bus>(shmbus::Bus::open(temporary.directory()));
    bus->declare_endpoint<Kept>("kept");
    const shmbus::Result<shmbus::Receipt> sent = bus->send(Kept{1});
    REQUIRE(sent);
    // On disk or not: the child cannot look.
    if (bus->sync(10s)) CHECK(sent->is_there());
    bool outlives = false;
    SUBCASE("and the bus is open") {}
    SUBCASE("and the bus is gone") { outlives = true; }
    if (outlives) bus.reset();
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        // A wait that is no answer ends here.
        ::alarm(20);
        int wrong = 0;
        if (sent->is_there()) wrong |= 1;
        if (!(sent->wait(0ns).error() == ErrorCode::closed)) wrong |= 2;
        if (!(sent->wait(60s).error() == ErrorCode::closed)) wrong |= 4;
        int outcome = 0;
        await(*sent, 60s, outcome);
        if (outcome != -1) wrong |= 8;
        if (bus && !(bus->sync(60s).error() == ErrorCode::closed)) wrong |= 16;
        if (bus && (bus->receipt().is_there() ||
                    !(bus->receipt().wait(60s).error() == ErrorCode::closed)))
            wrong |= 32;
        {
            const shmbus::Receipt copied = *sent;
            static_cast<void>(copied.position());
        }
        // A bus of its own gives receipts as any.
        shmbus::Bus mine = shmbus::Bus::open(temporary.directory());
        const shmbus::Result<shmbus::Receipt> own = mine.send(Kept{2});
        if (!own || !own->wait(10s) || !own->is_there()) wrong |= 64;
        ::_exit(wrong);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    // The parent's is as it was.
    CHECK(sent->is_there());
    CHECK(sent->wait(0ns));
}

TEST_CASE("the durability of a message may be chosen for one send") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("kept");
    std::uint64_t orders = 0;
    std::uint64_t kept = 0;
    endpoint.on<Order>([&](const Order&) { ++orders; });
    endpoint.on<Kept>([&](const Kept&) { ++kept; });
    CHECK(bus.receipt().is_there());  // nothing was sent
    shmbus::SendOptions as_transient;
    as_transient.durability = shmbus::transient;
    const shmbus::Result<shmbus::Receipt> sent = bus.send(Kept{1}, as_transient);
    REQUIRE(sent);
    CHECK(sent->is_there());
    CHECK(sent->position() == 0);
    CHECK(bus.receipt().position() == 0);
    shmbus::SendOptions as_durable;
    as_durable.durability = shmbus::durable;
    REQUIRE(bus.send(Order{1, {}}, as_durable));
    CHECK(bus.receipt().position() != 0);
    CHECK(bus.receipt().wait(10s));
    const std::uint64_t before = bus.receipt().position();
    REQUIRE(bus.send(Order{2, {}}));
    CHECK(bus.receipt().position() == before);
    REQUIRE(bus.send(Kept{2}));
    CHECK(bus.receipt().position() > before);
    poll_until(endpoint, [&] { return orders == 2 && kept == 2; });
}

TEST_CASE("a receipt may be awaited by a coroutine, which goes on in poll") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Kept>("kept");
    const shmbus::Result<shmbus::Receipt> sent = bus.send(Kept{1});
    REQUIRE(sent);
    int outcome = 0;
    await(*sent, 10s, outcome);
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (outcome == 0 && std::chrono::steady_clock::now() < until) bus.poll();
    CHECK(outcome == 1);
}

TEST_CASE("durable outputs of a handler keep their family, and one that throws has none") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("kept");
    shmbus::MessageId parent;
    shmbus::Envelope fact;
    std::uint64_t facts = 0;
    bool throws = true;
    endpoint.on<Kept>([&](const Kept& kept, shmbus::Context& context) {
        parent = context.id();
        context.publish(KeptFact{kept.number}).value();
        const shmbus::Result<shmbus::Receipt> inside = bus.publish(KeptFact{kept.number + 1});
        REQUIRE(inside);
        CHECK_FALSE(inside->is_there());
        CHECK(inside->wait(10s).error() == ErrorCode::would_block);
        if (std::exchange(throws, false)) throw std::runtime_error("once");
    });
    endpoint.on<KeptFact>([&](const KeptFact&, shmbus::Context& context) {
        if (facts++ == 0) fact = context.envelope();
    });
    REQUIRE(bus.send(Kept{1}));
    poll_until(endpoint, [&] { return facts == 2; });
    CHECK(fact.related_to == parent);
    CHECK(fact.conversation == parent);
    CHECK(fact.id != parent);
    CHECK_FALSE(fact.repeated);
    REQUIRE(bus.sync(10s));
    CHECK(endpoint.poll() == 0);
}

TEST_CASE("what two subscribers send for one durable event are two messages") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    std::uint64_t handled = 0;
    const auto pass_on = [&](const KeptFact& fact, shmbus::Context& context) {
        ++handled;
        context.send(Kept{fact.number}).value();
    };
    shmbus::Endpoint one = bus.endpoint("one");
    one.on<KeptFact>(pass_on);
    shmbus::Endpoint other = bus.endpoint("other");
    other.on<KeptFact>(pass_on);
    shmbus::Endpoint kept = bus.endpoint("kept");
    std::set<std::string> ids;
    std::uint64_t came = 0;
    kept.on<Kept>([&](const Kept&, shmbus::Context& context) {
        ++came;
        ids.insert(context.id().text());
    });
    REQUIRE(bus.publish(KeptFact{1}));
    poll_until(one, [&] { return handled == 1; });
    poll_until(other, [&] { return handled == 2; });
    REQUIRE(bus.sync(10s));
    poll_until(kept, [&] { return came == 2; });
    CHECK(ids.size() == 2);
}

TEST_CASE("a handler may give a durable message an id, under which it comes once") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint begin = bus.endpoint("begin");
    std::vector<shmbus::MessageId> orders;
    begin.on<Order>([&](const Order&, shmbus::Context& context) {
        orders.push_back(context.id());
        shmbus::SendOptions named;
        named.id = {77, 1};
        context.send(Kept{1}, named).value();
        context.send(Kept{2}).value();
    });
    shmbus::Endpoint kept = bus.endpoint("kept");
    std::vector<shmbus::Envelope> first, second;
    kept.on<Kept>([&](const Kept& message, shmbus::Context& context) {
        (message.number == 1 ? first : second).push_back(context.envelope());
    });
    REQUIRE(bus.send(Order{}));
    REQUIRE(bus.send(Order{}));
    CHECK(begin.poll() == 2);
    poll_until(kept, [&] { return second.size() == 2; });
    REQUIRE(first.size() == 1);
    CHECK(first[0].id == shmbus::MessageId{77, 1});
    CHECK(first[0].related_to == orders[0]);
    CHECK(first[0].conversation == orders[0]);
}

TEST_CASE("several messages of their own are not sent under one id") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint kept = bus.endpoint("kept");
    std::uint64_t came = 0;
    kept.on<Kept>([&](const Kept&) { ++came; });
    const std::vector<Kept> several{{1}, {2}, {3}};
    shmbus::SendOptions named;
    named.id = {77, 1};
    CHECK(bus.send_each(std::span<const Kept>(several), named).error() == ErrorCode::too_many);
    CHECK(bus.send_each(std::span<const Kept>(several).first(1), named).value() == 1);
    CHECK(bus.send_each(std::span<const Kept>(several)).value() == 3);
    // One record, whose messages have ids made from it.
    named.id = {78, 1};
    REQUIRE(bus.send_batch(std::span<const Kept>(several), named));
    REQUIRE(bus.send_batch(std::span<const Kept>(several), named));
    REQUIRE(bus.send(Kept{4}));
    poll_until(kept, [&] { return came == 8; });
}

TEST_CASE("a message under an id that its sender chose begins a conversation") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint kept = bus.endpoint("kept");
    std::vector<shmbus::Envelope> came;
    kept.on<Kept>([&](const Kept&, shmbus::Context& context) {
        came.push_back(context.envelope());
    });
    shmbus::SendOptions named;
    named.id = {77, 1};
    REQUIRE(bus.send(Kept{1}, named));
    poll_until(kept, [&] { return came.size() == 1; });
    CHECK(came[0].id == shmbus::MessageId{77, 1});
    CHECK(came[0].related_to == shmbus::MessageId{});
    CHECK(came[0].conversation == shmbus::MessageId{77, 1});
    CHECK(came[0].correlation == shmbus::MessageId{77, 1});
}

TEST_CASE("what is sent for each message of a handler's batch is a message of its own") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint begin = bus.endpoint("begin");
    begin.on<Order>([&](const Order&) {
        const std::vector<Kept> batch{{1}, {2}, {3}};
        bus.send_batch(std::span<const Kept>(batch)).value();
    });
    shmbus::Endpoint kept = bus.endpoint("kept");
    std::set<std::string> parents;
    kept.on<Kept>([&](const Kept& message, shmbus::Context& context) {
        parents.insert(context.id().text());
        context.publish(KeptFact{message.number}).value();
    });
    shmbus::Endpoint listener = bus.endpoint("listener");
    std::set<std::string> ids;
    std::set<std::uint64_t> numbers;
    listener.on<KeptFact>([&](const KeptFact& fact, shmbus::Context& context) {
        numbers.insert(fact.number);
        ids.insert(context.id().text());
    });
    // Packed themselves: the ids of what they came of lie side by side.
    const std::vector<Order> orders(2);
    REQUIRE(bus.send_batch(std::span<const Order>(orders)));
    CHECK(begin.poll() == 2);
    poll_until(kept, [&] { return parents.size() == 6; });
    REQUIRE(bus.sync(10s));
    poll_until(listener, [&] { return ids.size() == 6; });
    CHECK(numbers.size() == 3);
}

TEST_CASE("a durable message that fails goes to the error endpoint durably, under its own id") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("kept");
    shmbus::MessageId id;
    endpoint.on<Kept>([&](const Kept&, shmbus::Context& context) {
        id = context.id();
        throw std::runtime_error("always");
    });
    shmbus::Endpoint errors = bus.endpoint("error");
    shmbus::Envelope failed;
    std::string why;
    std::uint64_t came = 0;
    errors.on_any([&](std::span<const std::byte>, shmbus::Context& context) {
        failed = context.envelope();
        why = failed.failure.what;
        ++came;
    });
    shmbus::SendOptions named;
    named.id = {77, 1};
    REQUIRE(bus.send(Kept{1}, named));
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (came == 0 && std::chrono::steady_clock::now() < until) {
        endpoint.poll();
        errors.poll();
    }
    REQUIRE(came == 1);
    CHECK(failed.id == id);
    CHECK(id == shmbus::MessageId{77, 1});
    CHECK(failed.failure.reason == shmbus::FailureReason::handler_threw);
    CHECK(failed.failure.attempts == 5);
    CHECK(why == "always");
}

TEST_CASE("a durable message that fails goes there also when our own lane is too short for it") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::BusOptions options;
    options.lane_bytes = 16'384;  // a message has a quarter of it at most
    shmbus::Bus own = shmbus::Bus::open(temporary.directory(), options);
    shmbus::EndpointOptions once;
    once.attempts_when_throwing = 1;
    shmbus::Endpoint endpoint = own.endpoint("kept", once);
    endpoint.on<Note>([](const Note&) { throw std::runtime_error("no"); });
    shmbus::Endpoint errors = own.endpoint("error");
    std::vector<std::size_t> came;
    errors.on_any([&](std::span<const std::byte> bytes, shmbus::Context&) {
        came.push_back(bytes.size());
    });
    shmbus::SendOptions durably;
    durably.durability = shmbus::durable;
    for (const std::size_t size : std::vector<std::size_t>{100, 70'000, 100, 120'000})
        REQUIRE(temporary.bus().send(Note{std::string(size, 'x')}, durably));
    // What it sends itself stays in one lane, and so in order.
    const std::vector<std::string> others = files_in(temporary, "lanes");
    REQUIRE(own.send(Note{"own"}, durably));
    std::vector<std::string> lanes = files_in(temporary, "lanes");
    std::erase_if(lanes, [&](const auto& lane) { return std::ranges::count(others, lane) != 0; });
    REQUIRE(lanes.size() > 0);
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (came.size() < 5 && std::chrono::steady_clock::now() < until) {
        endpoint.poll();
        errors.poll();
    }
    std::ranges::sort(came);
    CHECK(came == std::vector<std::size_t>{3, 100, 100, 70'000, 120'000});
    for (const std::string& lane : lanes) {
        const shmbus::lane::LaneParts kept(open_file(lane),
                                           shmbus::lane::LaneParts::Side::reader);
        CHECK(kept.writer_page().closed.load(std::memory_order_acquire) == 0);
    }
}

TEST_CASE("a durable request is answered") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    std::jthread answering([directory = temporary.directory()](std::stop_token stop) {
        shmbus::Bus own = shmbus::Bus::open(directory);
        shmbus::Endpoint endpoint = own.endpoint("kept");
        endpoint.on<KeptQuestion>([](const KeptQuestion& question, shmbus::Context& context) {
            context.reply(Accepted{question.number + 1}).value();
        });
        endpoint.run(stop);
    });
    const auto until = std::chrono::steady_clock::now() + 20s;
    shmbus::Result<Accepted> answer = shmbus::Error(ErrorCode::no_route);
    // Until the endpoint is there.
    while (answer.error() == ErrorCode::no_route && !answer &&
           std::chrono::steady_clock::now() < until)
        answer = bus.request(KeptQuestion{6}).wait();
    REQUIRE_MESSAGE(answer, answer.error().text());
    CHECK(answer->number == 7);
}

TEST_CASE("packed durable commands are one record, and each has an id") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("kept");
    std::set<std::string> ids;
    std::uint64_t next = 0;
    endpoint.on<Kept>([&](const Kept& kept, shmbus::Context& context) {
        CHECK(kept.number == next++);
        ids.insert(context.id().text());
    });
    std::vector<Kept> all(500);
    for (std::uint64_t number = 0; number < all.size(); ++number) all[number].number = number;
    REQUIRE(bus.send_batch(std::span<const Kept>(all)));
    CHECK(bus.receipt().wait(10s));
    poll_until(endpoint, [&] { return next == all.size(); });
    CHECK(ids.size() == all.size());
}

TEST_CASE("durable and transient messages of one sender each come in their order") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("both");
    std::uint64_t kept = 0;
    std::uint64_t orders = 0;
    endpoint.on<Kept>([&](const Kept& message) { CHECK(message.number == kept++); });
    endpoint.on<Order>([&](const Order& message) { CHECK(message.number == orders++); });
    for (std::uint64_t number = 0; number < 300; ++number) {
        REQUIRE(bus.send(Kept{number}));
        REQUIRE(bus.send(Order{number, {}}));
        if (number % 50 == 0) endpoint.poll();
    }
    poll_until(endpoint, [&] { return kept == 300 && orders == 300; });
}

TEST_CASE("a durable message that is too long for the journal is refused") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("long");
    std::size_t came = 0;
    endpoint.on<Note>([&](const Note& note) { came = note.text.size(); });
    shmbus::SendOptions as_durable;
    as_durable.durability = shmbus::durable;
    const shmbus::Result<void> sent = bus.send(Note{std::string(1 << 20, 'x')}, as_durable);
    REQUIRE(sent.error() == ErrorCode::too_large);
    const std::uint64_t limit = sent.error().details()->limit_bytes;
    CHECK(limit > 64'000);
    // The longest one goes through, though it is longer than what lanes into the endpoint take.
    REQUIRE(bus.send(Note{std::string(limit, 'x')}, as_durable));
    poll_until(endpoint, [&] { return came == limit; });
}

}  // namespace bus_tests
