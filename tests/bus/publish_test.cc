// Publishing: subscribers, base events, policies, late arrivals.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "bus/inside.h"
#include "bus/messages.h"
#include "support/waiting.h"

using namespace bus_tests;
using namespace std::chrono_literals;
using shmbus::ErrorCode;

namespace {

// Another layout under a name that is taken.
struct Impostor {
    static constexpr auto message = shmbus::command("test.order", shmbus::transient);
    std::uint32_t number;
};

// An event that is known under its name with another base, and one whose base has another layout.
struct OtherBase {
    static constexpr auto message = shmbus::event("test.other_base", shmbus::transient);
    std::uint64_t number;
};
struct OtherHappened : OtherBase {
    static constexpr auto message = shmbus::event("test.big_happened", shmbus::transient);
    using bases = shmbus::Bases<OtherBase>;
    std::uint64_t more;
};
struct LongBase {
    static constexpr auto message = shmbus::event("test.happened", shmbus::transient);
    std::uint64_t number;
    std::uint64_t more;
};
struct LongHappened : LongBase {
    static constexpr auto message = shmbus::event("test.big_happened", shmbus::transient);
    using bases = shmbus::Bases<LongBase>;
};

// A bus with a subscriber that does not read and whose lane is full, and one behind it.
struct FullSubscriber {
    FullSubscriber() {
        shmbus::EndpointOptions options;
        options.lane_bytes = 4096;
        options.events_wait = 60s;
        full.emplace(temporary.bus().endpoint("full", options));
        full->on<Happened>([](const Happened&) {});
        other.emplace(temporary.bus().endpoint("other"));
        other->on<Happened>([this](const Happened& event) { last = event.number; });
        shmbus::SendOptions at_once;
        at_once.when_full = shmbus::WhenFull::refuse;
        while (temporary.bus().publish(Happened{1}, at_once)) {
        }
    }
    // Takes the subscription back as soon as somebody waits for its room.
    void leave_while_waited_for() {
        const auto limit = std::chrono::steady_clock::now() + 20s;
        while (!shmbus::test::somebody_waits(temporary.directory()) &&
               std::chrono::steady_clock::now() < limit)
            std::this_thread::yield();
        left_at = std::chrono::steady_clock::now();
        full->unsubscribe<Happened>();
    }
    [[nodiscard]] std::chrono::nanoseconds since_left() const {
        return std::chrono::steady_clock::now() - left_at;
    }

    shmbus::testing::TemporaryBus temporary;
    std::optional<shmbus::Endpoint> full, other;
    std::uint64_t last = 0;
    std::chrono::steady_clock::time_point left_at;
};

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("an event reaches every subscriber, and nobody is no error") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    auto published = bus.publish(Happened{1});
    REQUIRE_MESSAGE(published, published.error().text());
    CHECK(published->subscribers == 0);
    CHECK(bus.counts().without_subscriber == 1);
    shmbus::Endpoint one = bus.endpoint("one");
    shmbus::Endpoint two = bus.endpoint("two");
    std::uint64_t sum = 0;
    one.on<Happened>([&](const Happened& event) { sum += event.number; });
    two.on<Happened>([&](const Happened& event) { sum += 100 * event.number; });
    published = bus.publish(Happened{2});
    REQUIRE_MESSAGE(published, published.error().text());
    CHECK(published->subscribers == 2);
    CHECK(one.poll() == 1);
    CHECK(two.poll() == 1);
    CHECK(sum == 202);
    CHECK(bus.counts().published == 2);
}

// The shortest way goes from subscriber to subscriber and stops at the first that needs more.
TEST_CASE("an event passes a full subscriber and reaches those before and behind it once") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    std::vector<shmbus::Endpoint> endpoints;
    std::vector<std::vector<std::uint64_t>> got(3);
    for (std::size_t i = 0; i < 3; ++i) {
        shmbus::EndpointOptions options;
        options.lane_bytes = i == 1 ? 4096 : 65536;
        if (i == 1) options.events_wait = 100us;
        endpoints.push_back(bus.endpoint("subscriber" + std::to_string(i), options));
        endpoints.back().on<Moved>([&got, i](const Moved& event) {
            CHECK(event.more[1] == ~event.number);
            got[i].push_back(event.number);
        });
    }
    const auto take = [&](std::size_t who, std::size_t until) {
        const auto limit = std::chrono::steady_clock::now() + 20s;
        while (got[who].size() < until && std::chrono::steady_clock::now() < limit)
            endpoints[who].poll();
        return got[who].size();
    };
    // The middle one is read at first and then only at the end: it keeps what its lane holds.
    std::uint64_t refused = 0;
    for (std::uint64_t number = 1; number <= 200; ++number) {
        const Moved event{number, {0, ~number}};
        const auto published = bus.publish(event);
        if (published) CHECK(published->subscribers == 3);
        else CHECK(published.error() == ErrorCode::full);
        refused += published ? 0 : 1;
        REQUIRE(take(0, number) == number);
        REQUIRE(take(2, number) == number);
        if (number % 20 == 0 && number <= 40) REQUIRE(take(1, number) == number);
    }
    CHECK(refused > 0);
    CHECK(take(1, 200 - refused) == 200 - refused);
    endpoints[1].poll();
    CHECK(got[1].size() == 200 - refused);
    CHECK(got[0] == got[2]);
    CHECK(std::is_sorted(got[0].begin(), got[0].end()));
    CHECK(std::is_sorted(got[1].begin(), got[1].end()));
    CHECK(bus.counts().published == 200);
    CHECK(bus.counts().sent == 0);
}

TEST_CASE("a base event's handler gets its part of a derived event, once") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint base = bus.endpoint("base");
    std::vector<std::uint64_t> numbers;
    base.on<Happened>([&](const Happened& event) { numbers.push_back(event.number); });
    shmbus::Endpoint both = bus.endpoint("both");
    std::vector<std::uint64_t> calls;
    both.on<Happened>([&](const Happened& event) { calls.push_back(event.number); });
    both.on<BigHappened>([&](const BigHappened& event) { calls.push_back(event.more); });
    BigHappened event;
    event.number = 5;
    event.more = 6;
    const auto published = bus.publish(event);
    REQUIRE_MESSAGE(published, published.error().text());
    CHECK(published->subscribers == 2);
    CHECK(base.poll() == 1);
    CHECK(numbers == std::vector<std::uint64_t>{5});
    CHECK(both.poll() == 1);
    CHECK(calls.size() == 2);
    CHECK(calls[0] + calls[1] == 11);
}

TEST_CASE("an event that others know with another base is refused, by the one who comes later") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    REQUIRE(bus.publish(BigHappened{}));
    const auto refused = bus.publish(OtherHappened{});
    REQUIRE_FALSE(refused);
    CHECK(refused.error() == ErrorCode::refused);
    CHECK(refused.error().details()->reason.find("'test.big_happened' is known as") !=
          std::string::npos);
    const auto later = bus.publish(LongHappened{});
    REQUIRE_FALSE(later);
    CHECK(later.error().details()->reason.find("'test.happened' is known as") !=
          std::string::npos);
    shmbus::Endpoint endpoint = bus.endpoint("listener");
    CHECK_THROWS_AS(endpoint.on<OtherHappened>([](const OtherHappened&) {}), shmbus::SetupError);
    CHECK(bus.publish(BigHappened{}));
}

TEST_CASE("a subscription counts from its return until it is taken back") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.subscribe_automatically = false;
    shmbus::Endpoint endpoint = bus.endpoint("listener", options);
    std::uint64_t seen = 0;
    endpoint.on<Happened>([&](const Happened&) { ++seen; });
    CHECK(bus.publish(Happened{1})->subscribers == 0);
    endpoint.subscribe<Happened>();
    CHECK(bus.publish(Happened{2})->subscribers == 1);
    CHECK(bus.publish(Happened{3})->subscribers == 1);
    CHECK(endpoint.poll(1) == 1);
    endpoint.unsubscribe<Happened>();
    CHECK(bus.publish(Happened{4})->subscribers == 0);
    // What came before and was not handled arrives late: dropped, counted, not handled.
    endpoint.poll();
    CHECK(seen == 1);
    CHECK(endpoint.counts().dropped == 1);
    endpoint.subscribe<Happened>();
    CHECK(bus.publish(Happened{5})->subscribers == 1);
    endpoint.poll();
    CHECK(seen == 2);
}

TEST_CASE("each subscriber's own policy decides what happens when it is full") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.lane_bytes = 4096;
    const auto listen = [&](std::string_view name, shmbus::WhenFull policy) {
        options.events_when_full = policy;
        options.events_wait = std::chrono::milliseconds(1);
        return bus.endpoint(name, options);
    };
    shmbus::Endpoint newest = listen("newest", shmbus::WhenFull::drop_newest);
    shmbus::Endpoint oldest = listen("oldest", shmbus::WhenFull::drop_oldest);
    std::vector<std::uint64_t> of_newest, of_oldest;
    newest.on<Happened>([&](const Happened& event) { of_newest.push_back(event.number); });
    oldest.on<Happened>([&](const Happened& event) { of_oldest.push_back(event.number); });
    constexpr std::uint64_t many = 1000;
    for (std::uint64_t i = 0; i < many; ++i) {
        const auto published = bus.publish(Happened{i});
        REQUIRE_MESSAGE(published, published.error().text());
        CHECK(published->subscribers == 2);
    }
    while (newest.poll() != 0) {
    }
    while (oldest.poll() != 0) {
    }
    REQUIRE(!of_newest.empty());
    REQUIRE(!of_oldest.empty());
    // The one kept the first ones, the other the last ones, each without a gap.
    for (std::size_t i = 0; i < of_newest.size(); ++i) CHECK(of_newest[i] == i);
    for (std::size_t i = 0; i < of_oldest.size(); ++i)
        CHECK(of_oldest[i] == many - of_oldest.size() + i);
    CHECK(bus.counts().dropped == 2 * many - of_newest.size() - of_oldest.size());

    shmbus::Endpoint refusing = listen("refusing", shmbus::WhenFull::refuse);
    refusing.on<Happened>([](const Happened&) {});
    shmbus::Result<shmbus::Published> last = bus.publish(Happened{0});
    for (int i = 0; i < 100 && last; ++i) last = bus.publish(Happened{0});
    REQUIRE(!last);
    CHECK(last.error() == ErrorCode::full);
}

TEST_CASE("no unread event is let go while a handler holds the room that is needed") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.lane_bytes = 4096;
    options.events_when_full = shmbus::WhenFull::drop_oldest;
    shmbus::Endpoint listener = bus.endpoint("listener", options);
    constexpr std::uint64_t many = 100;
    // seq_cst, as in all tests here: as if there were one order of events.
    std::atomic<bool> has_first{false}, is_held{false}, is_full{false};
    std::uint64_t handled = 0;
    listener.on<Happened>([&](const Happened& event) {
        CHECK(event.number == handled);  // the first ones, without a gap
        if (handled++ != 0) return;
        is_held = true;
        is_held.notify_all();
        is_full.wait(false);
    });
    std::jthread publisher([&] {
        CHECK(bus.publish(Happened{0}));
        has_first = true;
        is_held.wait(false);
        for (std::uint64_t i = 1; i < many; ++i) {
            const auto published = bus.publish(Happened{i});
            CHECK_MESSAGE(published, published.error().text());
            if (published) CHECK(published->dropped <= published->subscribers);
        }
        is_full = true;
        is_full.notify_all();
    });
    CHECK(comes([&] { return has_first.load(); }));
    CHECK(comes([&] {
        listener.poll();
        return handled + bus.counts().dropped == many;
    }));
    is_held = true;  // also when no event has come
    is_held.notify_all();
    CHECK(handled > 32);
}

TEST_CASE("a publisher that waits for a subscriber goes on when that one leaves") {
    FullSubscriber scene;
    std::jthread leaver([&] { scene.leave_while_waited_for(); });
    const auto published = scene.temporary.bus().publish(Happened{2}, patient());
    leaver.join();
    MESSAGE("noticed after " << scene.since_left() / 1us << " us");
    CHECK(scene.since_left() < 10s);
    REQUIRE_MESSAGE(published, published.error().text());
    // Only the other one has it.
    CHECK(published->subscribers == 1);
    CHECK(published->dropped == 0);
    while (scene.other->poll() != 0) {
    }
    CHECK(scene.last == 2);
}

TEST_CASE("a handler whose event waits for a subscriber has succeeded when that one leaves") {
    FullSubscriber scene;
    shmbus::Bus& bus = scene.temporary.bus();
    shmbus::Endpoint orders = bus.endpoint("orders");
    orders.on<Order>([](const Order& order, shmbus::Context& context) {
        context.publish(Happened{order.number}, patient()).value();
        context.send_local(Follow{order.number}).value();
    });
    std::uint64_t followed = 0;
    orders.on<Follow>([&](const Follow& follow) { followed = follow.number; });
    REQUIRE(bus.send(Order{3, {}}));
    std::jthread leaver([&] { scene.leave_while_waited_for(); });
    CHECK(orders.poll(1) == 1);
    leaver.join();
    CHECK(scene.since_left() < 10s);
    CHECK(orders.counts().threw == 0);
    CHECK(orders.poll(1) == 1);
    CHECK(followed == 3);
    while (scene.other->poll() != 0) {
    }
    CHECK(scene.last == 3);
}

TEST_CASE("a publisher that drops the oldest while they are read damages nothing") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.lane_bytes = 4096;
    options.events_when_full = shmbus::WhenFull::drop_oldest;
    shmbus::Endpoint endpoint = bus.endpoint("listener", options);
    std::uint64_t handled = 0, last = 0;
    bool in_order = true, whole = true;
    endpoint.on<Report>([&](const Report& report) {
        ++handled;
        in_order = in_order && report.number > last;
        last = report.number;
        for (const char c : report.text) whole = whole && c == '\xFF';
    });
    std::atomic<bool> done{false};
    std::uint64_t refused = 0;
    // Its payloads look like records of impossible length to whoever reads at a wrong moment.
    std::jthread publisher([&] {
        for (std::uint64_t i = 1; i <= 200'000; ++i)
            if (!bus.publish(Report{i, std::string(i * 37 % 600, '\xFF')})) ++refused;
        done = true;
    });
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done && std::chrono::steady_clock::now() < limit) endpoint.poll();
    publisher.join();
    while (endpoint.poll() != 0) {
    }
    CHECK(refused == 0);
    CHECK(in_order);
    CHECK(whole);
    CHECK(handled > 0);
    CHECK(endpoint.counts().poisoned_lanes == 0);
    CHECK(endpoint.counts().failed == 0);
    CHECK(handled + bus.counts().dropped == 200'000);
}

TEST_CASE("a sender and its endpoint agree on a type's layout or are told") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order&) {});
    const auto refused = bus.send(Impostor{1});
    REQUIRE(!refused);
    CHECK(refused.error() == ErrorCode::refused);
    CHECK(refused.error().text().find("test.order") != std::string::npos);
    CHECK_THROWS_AS(endpoint.on<Impostor>([](const Impostor&) {}), shmbus::SetupError);
}
}
