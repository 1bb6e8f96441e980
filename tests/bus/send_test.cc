// Sending and handling: commands, batches, loans, order, refusals.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <numeric>
#include <string>
#include <thread>

#include "bus/inside.h"
#include "bus/messages.h"

using namespace bus_tests;
using shmbus::ErrorCode;

namespace {

// Sends when its thread ends, behind all that the library keeps for the thread.
struct SendsLast {
    shmbus::Bus* bus = nullptr;
    int* sent = nullptr;
    ~SendsLast() {
        for (std::uint64_t number = 1; sent != nullptr && number <= 3; ++number)
            if (bus->send(Order{number, {}})) ++*sent;
    }
};

// Is refused when its thread ends, likewise.
struct IsRefusedLast {
    shmbus::Bus* bus = nullptr;
    std::string* said = nullptr;
    ~IsRefusedLast() {
        for (int time = 0; said != nullptr && time < 3; ++time) {
            const auto sent = bus->send(Order{}, {.destination = nobody});
            if (!sent) *said += sent.error().details()->reason;
        }
    }
    // So long that it takes memory.
    static constexpr const char* nobody = "an-endpoint-of-a-long-name-that-nobody-has-ever-made";
};

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("what is sent by a destructor at the end of its thread is sent") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    int sent = 0;
    for (int thread = 0; thread < 20; ++thread)
        std::thread([&] {
            // Thread-local, since it is to go behind what is made later in the thread.
            static thread_local SendsLast last;
            last.bus = &bus;
            last.sent = &sent;
            REQUIRE(bus.send(Order{0, {}}));
        }).join();
    CHECK(sent == 60);
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::size_t handled = 0;
    endpoint.on<Order>([&](const Order&) { ++handled; });
    poll_all(endpoint);
    CHECK(handled == 80);
}

TEST_CASE("what is refused to a destructor at the end of its thread is told to it") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    const std::string nobody = IsRefusedLast::nobody;
    for (int thread = 0; thread < 20; ++thread) {
        std::string said;
        std::thread([&] {
            // Thread-local, since it is to go behind what is made later in the thread.
            static thread_local IsRefusedLast last;
            last.bus = &bus;
            last.said = &said;
            CHECK_FALSE(bus.send(Order{}, {.destination = nobody}));
        }).join();
        CHECK(said == nobody + nobody + nobody);
    }
}

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

TEST_CASE("messages of every length arrive whole and in order") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("notes");
    std::vector<std::string> seen;
    endpoint.on<Note>([&](const Note& note) { seen.push_back(note.text); });
    std::vector<std::string> sent;
    for (std::size_t bytes = 0; bytes < 600; ++bytes) {
        std::string text(bytes, 'x');
        std::iota(text.begin(), text.end(), 'A');
        for (char& c : text) c = c == '!' ? '?' : c;
        sent.push_back(text);
        REQUIRE(bus.send(Note{text}));
        if (bytes % 50 == 0)
            while (endpoint.poll() != 0) {
            }
    }
    while (endpoint.poll() != 0) {
    }
    CHECK(seen == sent);
}

TEST_CASE("a command that nobody handles has no route, until somebody does") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    const auto refused = bus.send(Order{1, {}});
    REQUIRE(!refused);
    CHECK(refused.error() == ErrorCode::no_route);
    CHECK(refused.error().text().find("test.order") != std::string::npos);
    bus.declare_endpoint<Order>("orders");
    CHECK(bus.send(Order{2, {}}));
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::uint64_t seen = 0;
    endpoint.on<Order>([&](const Order& order) { seen = order.number; });
    CHECK(endpoint.poll() == 1);
    CHECK(seen == 2);
}

TEST_CASE("an explicit destination is used, and one that is not there is refused by name") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint orders = bus.endpoint("orders");
    orders.on<Order>([](const Order&) {});
    shmbus::Endpoint other = bus.endpoint("other");
    std::size_t seen = 0;
    other.on_any([&](std::span<const std::byte> bytes, shmbus::Context&) { seen += bytes.size(); });
    shmbus::SendOptions options;
    options.destination = "other";
    CHECK(bus.send(Order{1, {}}, options));
    CHECK(bus.send(Order{1, {}}, options));
    CHECK(orders.poll() == 0);
    CHECK(other.poll() == 2);
    CHECK(seen == 2 * sizeof(Order));
    options.destination = "nowhere";
    const auto refused = bus.send(Order{1, {}}, options);
    CHECK(refused.error() == ErrorCode::no_endpoint);
    CHECK(refused.error().text().find("nowhere") != std::string::npos);
}

TEST_CASE("a full lane refuses, names the holder, and takes again after a poll") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.lane_bytes = 4096;
    shmbus::Endpoint endpoint = bus.endpoint("small", options);
    endpoint.on<Order>([](const Order&) {});
    shmbus::SendOptions at_once;
    at_once.when_full = shmbus::WhenFull::refuse;
    std::size_t sent = 0;
    shmbus::Error refused;
    // Ends: the lane has 64 units.
    for (;;) {
        const auto result = bus.send(Order{sent, {}}, at_once);
        if (!result) {
            refused = result.error();
            break;
        }
        ++sent;
        REQUIRE(sent <= 64);
    }
    CHECK(refused == ErrorCode::full);
    CHECK(sent >= 60);
    REQUIRE(refused.details() != nullptr);
    CHECK(refused.details()->endpoint == "small");
    CHECK(refused.details()->holder_pid == 0);
    shmbus::SendOptions drop;
    drop.when_full = shmbus::WhenFull::drop_newest;
    CHECK(bus.send(Order{0, {}}, drop));
    CHECK(bus.counts().dropped == 1);
    std::size_t handled = 0;
    while (const std::size_t some = endpoint.poll()) handled += some;
    CHECK(handled == sent);
    CHECK(bus.send(Order{1, {}}, at_once));
}

TEST_CASE("a sender waits for room until its deadline, and goes on when there is some") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.lane_bytes = 4096;
    shmbus::Endpoint endpoint = bus.endpoint("small", options);
    std::uint64_t seen = 0;
    endpoint.on<Order>([&](const Order&) { ++seen; });
    shmbus::SendOptions patient;
    patient.wait = std::chrono::milliseconds(60);
    std::thread sender([&] {
        for (int i = 0; i < 10'000; ++i) {
            shmbus::SendOptions long_wait;
            long_wait.wait = std::chrono::seconds(20);
            if (!bus.send(Order{1, {}}, long_wait)) return;
        }
    });
    while (seen < 10'000 && endpoint.wait(std::chrono::seconds(10))) endpoint.poll();
    sender.join();
    CHECK(seen == 10'000);
    const auto begin = std::chrono::steady_clock::now();
    shmbus::Result<void> result;
    while ((result = bus.send(Order{1, {}}, patient))) {
    }
    CHECK(result.error() == ErrorCode::full);
    CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(60));
}

TEST_CASE("a message that is too long is refused with its length and the limit") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.lane_bytes = 4096;
    shmbus::Endpoint endpoint = bus.endpoint("small", options);
    endpoint.on<Note>([](const Note&) {});
    const auto refused = bus.send(Note{std::string(5000, 'x')});
    REQUIRE(!refused);
    CHECK(refused.error() == ErrorCode::too_large);
    CHECK(refused.error().details()->wanted_bytes == 5000);
    CHECK(refused.error().details()->limit_bytes < 1024);
}

TEST_CASE("a batch is handled message by message, also across polls with a limit") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::vector<std::uint64_t> seen;
    std::vector<shmbus::MessageId> ids;
    endpoint.on<Order>([&](const Order& order, shmbus::Context& context) {
        seen.push_back(order.number);
        ids.push_back(context.id());
    });
    std::vector<Order> orders(100);
    for (std::size_t i = 0; i < orders.size(); ++i) orders[i].number = i;
    CHECK(bus.send_batch<Order>(orders));
    const auto each = bus.send_each<Order>(orders);
    REQUIRE(each);
    CHECK(*each == 100);
    CHECK(endpoint.poll(30) == 30);
    CHECK(endpoint.poll(30) == 30);
    CHECK(endpoint.poll(100) == 100);
    CHECK(endpoint.poll(100) == 40);
    REQUIRE(seen.size() == 200);
    for (std::size_t i = 0; i < 200; ++i) CHECK(seen[i] == i % 100);
    for (std::size_t i = 1; i < 200; ++i) CHECK(!(ids[i] == ids[i - 1]));
    std::vector<Order> many(4097);
    CHECK(bus.send_batch<Order>(many).error() == ErrorCode::too_many);
}

TEST_CASE("a loan that is committed arrives, one that is dropped was never there") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::vector<std::uint64_t> seen;
    endpoint.on<Order>([&](const Order& order) { seen.push_back(order.number); });
    {
        auto loan = bus.loan<Order>();
        REQUIRE(loan);
        loan->number = 1;
        CHECK(bus.send(Order{9, {}}).error() == ErrorCode::would_block);
        CHECK(bus.loan<Order>().error() == ErrorCode::would_block);
    }
    CHECK(endpoint.poll() == 0);
    auto loan = bus.loan<Order>();
    REQUIRE(loan);
    loan->number = 2;
    loan.commit();
    CHECK(bus.send(Order{3, {}}));
    CHECK(endpoint.poll() == 2);
    CHECK(seen == std::vector<std::uint64_t>{2, 3});
}

TEST_CASE("what one thread sends to one endpoint arrives in its order") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.lane_bytes = 1 << 14;
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    std::vector<std::uint64_t> last(4, 0);
    std::uint64_t handled = 0;
    bool in_order = true;
    endpoint.on<Order>([&](const Order& order) {
        in_order = in_order && order.number == last[order.more[0]] + 1;
        last[order.more[0]] = order.number;
        ++handled;
    });
    constexpr std::uint64_t each = 20'000;
    std::vector<std::thread> senders;
    for (std::uint64_t who = 0; who < 4; ++who) {
        senders.emplace_back([&, who] {
            shmbus::SendOptions patient;
            patient.wait = std::chrono::seconds(30);
            for (std::uint64_t i = 1; i <= each; ++i)
                if (!bus.send(Order{i, {who, 0, 0}}, patient)) return;
        });
    }
    while (handled < 4 * each && endpoint.wait(std::chrono::seconds(20))) endpoint.poll(1000);
    for (std::thread& sender : senders) sender.join();
    CHECK(handled == 4 * each);
    CHECK(in_order);
    CHECK(bus.counts().sent == 4 * each);
}

TEST_CASE("a thread that ends leaves its lanes to the next one") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::vector<shmbus::MessageId> ids;
    endpoint.on<Order>(
        [&](const Order&, shmbus::Context& context) { ids.push_back(context.id()); });
    for (int i = 0; i < 3; ++i) std::thread([&] { CHECK(bus.send(Order{1, {}})); }).join();
    CHECK(endpoint.poll() == 3);
    REQUIRE(ids.size() == 3);
    // The lane is part of the id.
    CHECK(ids[0].high == ids[1].high);
    CHECK(ids[1].high == ids[2].high);
}

TEST_CASE("the time is written into the first message and then into every n-th") {
    shmbus::BusOptions options;
    options.time_sent_every = 4;
    shmbus::testing::TemporaryBus temporary(options);
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    std::vector<bool> timed;
    endpoint.on<Order>([&](const Order&, shmbus::Context& context) {
        timed.push_back(context.envelope().time_sent_ns != 0);
    });
    for (int i = 0; i < 9; ++i) REQUIRE(bus.send(Order{1, {}}));
    endpoint.poll();
    CHECK(timed == std::vector<bool>{true, false, false, false, true, false, false, false, true});
}

TEST_CASE("the end of a message never makes old bytes look like a new message") {
    shmbus::BusOptions untimed;
    untimed.time_sent_every = 0;
    shmbus::testing::TemporaryBus temporary(untimed);
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions options;
    options.lane_bytes = 4096;  // 64 units
    shmbus::Endpoint endpoint = bus.endpoint("notes", options);
    endpoint.on<Note>([](const Note&) {});
    // Sends one message and expects to find one.
    const auto one_by_one = [&](const std::string& text) {
        if (!bus.send(Note{text})) return false;
        return endpoint.poll() == 1;
    };
    bool fine = true;
    for (int byte = 0; byte < 256 && fine; ++byte) {
        // A lap of records of one unit each: a control word in every unit. Then one of records of
        // two units, the second of which has a single byte: the lowest of an old control word. In
        // the third lap a reader stands before those units.
        for (int unit = 0; unit < 64; ++unit) fine = one_by_one("short") && fine;
        for (int pair = 0; pair < 32; ++pair)
            fine = one_by_one(std::string(48, 'x') + static_cast<char>(byte)) && fine;
        for (int unit = 0; unit < 64; ++unit) fine = one_by_one("short") && fine;
    }
    CHECK(fine);
}
}
