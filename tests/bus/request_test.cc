// Requests: waiting, callbacks, coroutines, deadlines, stops, failures.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "bus/coroutine.h"
#include "bus/inside.h"
#include "bus/messages.h"
#include "support/waiting.h"

using namespace bus_tests;
using namespace std::chrono_literals;
using shmbus::ErrorCode;

namespace {

// Answers in a thread of its own until it goes.
class Answering {
public:
    explicit Answering(shmbus::Bus& bus, shmbus::EndpointOptions options = {})
        : endpoint_(bus.endpoint("orders", options)) {
        endpoint_.on<Order>([](const Order& order) {
            if (order.number == 13) throw std::runtime_error("unlucky");
            return Accepted{order.number * 2};
        });
        thread_ = std::jthread([this](const std::stop_token& stop) { endpoint_.run(stop); });
    }
    shmbus::Endpoint& endpoint() { return endpoint_; }

private:
    shmbus::Endpoint endpoint_;
    std::jthread thread_;
};

Started ask(shmbus::Bus& bus, std::uint64_t number, std::uint64_t& answer) {
    auto pending = bus.request(Order{number, {}});
    const auto result = co_await pending;
    answer = result ? result->number : 0;
}

// Adds the length of the answer; 1 when there is none.
Started describe(shmbus::Bus& bus, std::uint64_t bytes, std::uint64_t& sum) {
    auto pending = bus.request(Describe{bytes});
    const auto result = co_await pending;
    sum += result ? result->text.size() : 1;
}

Owned ask_for_a_while(shmbus::Bus& bus, std::uint64_t number, std::uint64_t& answer) {
    auto pending = bus.request(Order{number, {}});
    const auto result = co_await pending;
    answer = result ? result->number : 0;
}

// Handles one message more: a lane that is new is found when the endpoint looks around.
bool handle_one(shmbus::Endpoint& endpoint) {
    const auto limit = std::chrono::steady_clock::now() + 20s;
    while (endpoint.poll(1) == 0)
        if (std::chrono::steady_clock::now() >= limit) return false;
    return true;
}

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("a request is answered to the one who waits") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    Answering answering(bus);
    for (std::uint64_t i = 0; i < 100; ++i) {
        if (i == 13) continue;
        const auto answer = bus.request(Order{i, {}}).wait();
        REQUIRE_MESSAGE(answer, answer.error().text());
        CHECK(answer->number == 2 * i);
    }
}

TEST_CASE("many threads ask at the same time and each gets its own answer") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    Answering answering(bus);
    std::atomic<int> right{0};
    std::vector<std::thread> askers;
    for (std::uint64_t who = 1; who <= 4; ++who)
        askers.emplace_back([&, who] {
            for (std::uint64_t i = 0; i < 200; ++i) {
                const auto answer = bus.request(Order{who * 1000 + i, {}}).wait();
                if (answer && answer->number == 2 * (who * 1000 + i)) ++right;
            }
        });
    for (std::thread& asker : askers) asker.join();
    CHECK(right == 800);
}

TEST_CASE("a callback and a coroutine get their answers from poll") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    Answering answering(bus);
    std::uint64_t called = 0, resumed = 0;
    bus.request(Order{1, {}}).then([&](const shmbus::Result<Accepted>& answer) {
        REQUIRE(answer);
        called = answer->number;
    });
    ask(bus, 2, resumed);
    CHECK(called == 0);
    const auto limit = std::chrono::steady_clock::now() + 20s;
    while ((called == 0 || resumed == 0) && std::chrono::steady_clock::now() < limit) bus.poll();
    CHECK(called == 2);
    CHECK(resumed == 4);
}

TEST_CASE("what a callback throws comes out of poll, and the others are called all the same") {
    std::string said;
    shmbus::testing::TemporaryBus temporary;
    shmbus::BusOptions options;
    options.log = [&](shmbus::LogLevel, std::string_view text) { said += text; };
    int called = 0;
    const auto complain = [&](const shmbus::Result<Accepted>&) {
        ++called;
        throw std::runtime_error("not this one");
    };
    {
        shmbus::Bus bus = shmbus::Bus::open(temporary.directory(), options);
        Answering answering(temporary.bus());
        for (int i = 0; i < 3; ++i) bus.request(Order{1, {}}).then(complain);
        const auto limit = std::chrono::steady_clock::now() + 20s;
        int thrown = 0;
        while (thrown < 3 && std::chrono::steady_clock::now() < limit) {
            try {
                bus.poll();
            } catch (const std::runtime_error&) {
                ++thrown;
            }
        }
        CHECK(thrown == 3);
        CHECK(called == 3);
        CHECK(said.empty());
        // These end with the bus.
        for (int i = 0; i < 2; ++i) bus.request(Order{13, {}}).then(complain);
    }
    CHECK(called == 5);
    CHECK(said.find("because its bus ends threw") != std::string::npos);
}

TEST_CASE("a coroutine that was destroyed while it waited is not resumed") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Endpoint orders = temporary.bus().endpoint("orders");
    orders.on<Order>([](const Order& order) { return Accepted{order.number}; });
    auto bus = std::make_unique<shmbus::Bus>(shmbus::Bus::open(temporary.directory()));
    std::uint64_t answer = 0;
    bool is_called = false;
    std::unique_ptr<Owned> asking;
    const auto handle_two = [&] { return handle_one(orders) && handle_one(orders); };
    SUBCASE("by a callback that is called just before it") {
        bus->request(Order{1, {}}).then([&](const auto&) { asking->destroy(); is_called = true; });
        asking = std::make_unique<Owned>(ask_for_a_while(*bus, 2, answer));
        REQUIRE(handle_two());
        CHECK(comes([&] { bus->poll(); return is_called; }));
        bus->poll();
        CHECK(answer == 0);
    }
    SUBCASE("because a callback before it threw") {
        bus->request(Order{1, {}}).then([](const auto&) { throw std::runtime_error("enough"); });
        asking = std::make_unique<Owned>(ask_for_a_while(*bus, 2, answer));
        REQUIRE(handle_two());
        CHECK(comes([&] {
            try {
                bus->poll();
            } catch (const std::runtime_error&) {
                asking->destroy();
                is_called = true;
            }
            return is_called;
        }));
        bus->poll();
        CHECK(answer == 0);
    }
    SUBCASE("by a callback that is called because the bus ends") {
        const auto destroy = [&](const auto&) { asking->destroy(); is_called = true; };
        bus->request(Order{1, {}}).then(destroy);
        asking = std::make_unique<Owned>(ask_for_a_while(*bus, 2, answer));
        bus->request(Order{3, {}}).then(destroy);
        bus.reset();
        CHECK(is_called);
    }
}

TEST_CASE("an answer that does not come in time is a timeout, and then counted as late") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order& order) { return Accepted{order.number}; });
    shmbus::RequestOptions soon;
    soon.deadline = 20ms;
    CHECK(bus.request(Order{1, {}}, soon).wait().error() == ErrorCode::timeout);
    ErrorCode told = ErrorCode::ok;
    bus.request(Order{2, {}}, soon).then([&](const shmbus::Result<Accepted>& answer) {
        told = answer.error().code();
    });
    const auto limit = std::chrono::steady_clock::now() + 20s;
    while (told == ErrorCode::ok && std::chrono::steady_clock::now() < limit) bus.poll();
    CHECK(told == ErrorCode::timeout);
    CHECK(endpoint.poll() == 2);
    // Somebody has to look into the inbox.
    CHECK(bus.request(Order{3, {}}, soon).wait().error() == ErrorCode::timeout);
    CHECK(bus.counts().late_replies == 2);
}

TEST_CASE("a stop token ends the wait") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    std::stop_source source;
    shmbus::RequestOptions options;
    options.stop = source.get_token();
    std::thread stopper([&] {
        std::this_thread::sleep_for(10ms);
        source.request_stop();
    });
    const auto begin = std::chrono::steady_clock::now();
    CHECK(bus.request(Order{1, {}}, options).wait().error() == ErrorCode::stopped);
    CHECK(std::chrono::steady_clock::now() - begin < 5s);
    stopper.join();
}

TEST_CASE("a stop token ends a request's wait for room") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions small;
    small.lane_bytes = 4096;
    shmbus::Endpoint orders = bus.endpoint("orders", small);
    orders.on<Order>([](const Order& order) { return Accepted{order.number}; });
    shmbus::SendOptions at_once;
    at_once.when_full = shmbus::WhenFull::refuse;
    std::uint64_t sent = 0;
    while (bus.send(Order{sent, {}}, at_once)) ++sent;
    std::stop_source stop;
    std::jthread stopper([&] {
        CHECK(comes([&] { return shmbus::test::somebody_waits(temporary.directory()); }));
        stop.request_stop();
    });
    shmbus::RequestOptions options;
    options.deadline = 1h;
    options.stop = stop.get_token();
    CHECK(bus.request(Order{sent, {}}, options).wait().error() == ErrorCode::stopped);
    // It was not sent.
    std::uint64_t handled = 0;
    while (orders.poll() != 0) handled = orders.counts().handled;
    CHECK(handled == sent);
}

TEST_CASE("an answer is handed out once, and closed behind that") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    Answering answering(bus);
    auto pending = bus.request(Order{1, {}});
    REQUIRE(pending.wait());
    CHECK(pending.wait().error() == ErrorCode::closed);
    ErrorCode told = ErrorCode::ok;
    pending.then([&](const auto& answer) { told = answer.error().code(); });
    CHECK(told == ErrorCode::closed);
    auto first = bus.request(Order{2, {}});
    auto second = std::move(first);
    CHECK(first.wait().error() == ErrorCode::closed);
    first = std::move(second);
    CHECK(second.wait().error() == ErrorCode::closed);
    CHECK(first.wait()->number == 4);
    // One that was refused stays so.
    auto refused = bus.request(Describe{1});
    CHECK(refused.wait().error() == ErrorCode::no_route);
    CHECK(refused.wait().error() == ErrorCode::no_route);
}

TEST_CASE("a handler that gives up tells the requester at once") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    Answering answering(bus);
    const auto answer = bus.request(Order{13, {}}).wait();
    CHECK(answer.error() == ErrorCode::handler_failed);
}

TEST_CASE("waiting inside a handler is refused, a callback there is not") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    Answering answering(bus);
    shmbus::Endpoint endpoint = bus.endpoint("follows");
    ErrorCode waited = ErrorCode::ok;
    std::uint64_t answer = 0;
    endpoint.on<Follow>([&](const Follow&) {
        waited = bus.request(Order{1, {}}).wait().error().code();
        bus.request(Order{2, {}}).then([&](const shmbus::Result<Accepted>& result) {
            answer = result ? result->number : 99;
        });
    });
    REQUIRE(bus.send(Follow{1}));
    CHECK(endpoint.poll() == 1);
    CHECK(waited == ErrorCode::would_block);
    const auto limit = std::chrono::steady_clock::now() + 20s;
    while (answer == 0 && std::chrono::steady_clock::now() < limit) endpoint.poll();
    CHECK(answer == 4);
}

TEST_CASE("what a handler asks on each of its attempts ends once, with its own answer") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint answers = bus.endpoint("answers");
    answers.on<Describe>([](const Describe& asked) {
        return Described{std::string(asked.bytes, 'x')};
    });
    shmbus::Endpoint orders = bus.endpoint("orders");
    std::vector<std::string> told(3);
    std::uint64_t ended = 0, resumed = 0;
    orders.on<Order>([&](const Order&, shmbus::Context& context) {
        const std::uint64_t attempt = context.attempt();
        bus.request(Describe{attempt}).then([&, attempt](const auto& answer) {
            told.at(attempt - 1) += answer ? answer->text : name_of(answer.error().code());
            ++ended;
        });
        describe(bus, 10 * attempt, resumed);
        if (attempt < 3) throw std::runtime_error("once more");
    });
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(comes([&] {
        orders.poll();
        answers.poll();
        return ended == 3 && resumed >= 32;
    }));
    CHECK(told == std::vector<std::string>{"handler_failed", "handler_failed", "xxx"});
    // Those of the attempts that failed were told so.
    CHECK(resumed == 1 + 1 + 30);
    bus.poll();
    CHECK(bus.counts().late_replies == 0);
    CHECK(orders.counts().handled == 1);
}

TEST_CASE("a reply to a message that nobody asked about is refused") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    ErrorCode told = ErrorCode::ok;
    endpoint.on<Order>([&](const Order&, shmbus::Context& context) {
        told = context.reply(Accepted{1}).error().code();
    });
    REQUIRE(bus.send(Order{1, {}}));
    endpoint.poll();
    CHECK(told == ErrorCode::no_reply_address);
}

TEST_CASE("a request that nobody handles is refused by its Pending") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    CHECK(bus.request(Order{1, {}}).wait().error() == ErrorCode::no_route);
}

TEST_CASE("an answer of a handler that then throws is not sent") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    int calls = 0;
    endpoint.on<Order>([&](const Order& order, shmbus::Context& context) {
        ++calls;
        REQUIRE(context.reply(Accepted{order.number + static_cast<std::uint64_t>(calls)}));
        if (calls == 4) throw std::runtime_error("after the answer");
    });
    // The first ones find the way back, which those that follow know.
    for (const std::uint64_t expected : {11U, 12U, 13U, 15U}) {
        auto pending = bus.request(Order{10, {}});
        REQUIRE(handle_one(endpoint));
        const auto answer = pending.wait();
        REQUIRE_MESSAGE(answer, answer.error().text());
        CHECK(answer->number == expected);
    }
    CHECK(calls == 5);
    CHECK(bus.counts().late_replies == 0);
}

TEST_CASE("an answer and what is sent behind it both arrive, whichever comes first") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    shmbus::Endpoint follows = bus.endpoint("follows");
    std::uint64_t followed = 0;
    follows.on<Follow>([&](const Follow& follow) { followed += follow.number; });
    endpoint.on<Order>([&](const Order& order, shmbus::Context& context) {
        if (order.number % 2 == 0) CHECK(context.send(Follow{order.number}));
        CHECK(context.reply(Accepted{order.number}));
        if (order.number % 2 == 1) CHECK(context.send(Follow{order.number}));
    });
    for (std::uint64_t i = 1; i <= 100; ++i) {
        auto pending = bus.request(Order{i, {}});
        REQUIRE(handle_one(endpoint));
        const auto answer = pending.wait();
        REQUIRE_MESSAGE(answer, answer.error().text());
        CHECK(answer->number == i);
        follows.poll();
    }
    CHECK(followed == 5050);
    // The requests and what was sent behind them; answers are no commands.
    CHECK(bus.counts().sent == 200);
}

TEST_CASE("answers go to who asked, however many ask, and count as no commands") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order& order) { return Accepted{order.number}; });
    std::vector<shmbus::Bus> askers;
    for (int i = 0; i < 20; ++i) askers.push_back(shmbus::Bus::open(temporary.directory()));
    for (std::uint64_t round = 0; round < 50; ++round)
        for (std::uint64_t who = 0; who < askers.size(); ++who) {
            // Twice in a row: the second one's way back is known.
            for (const std::uint64_t number : {1000 * round + who, 2000 * round + who}) {
                auto pending = askers[who].request(Order{number, {}});
                REQUIRE(handle_one(endpoint));
                const auto answer = pending.wait();
                REQUIRE_MESSAGE(answer, answer.error().text());
                CHECK(answer->number == number);
            }
        }
    CHECK(bus.counts().sent == 0);
    for (const shmbus::Bus& asker : askers) CHECK(asker.counts().sent == 100);
}

TEST_CASE("who takes the place of a requester that left gets none of its answers") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order& order) { return Accepted{order.number}; });
    for (std::uint64_t round = 1; round <= 20; ++round) {
        {
            shmbus::Bus leaver = shmbus::Bus::open(temporary.directory());
            auto first = leaver.request(Order{1, {}});
            REQUIRE(handle_one(endpoint));
            CHECK(first.wait());
            for (int i = 0; i < 20; ++i) auto unanswered = leaver.request(Order{2, {}});
        }
        // Its requests are taken in turns with those of the next one.
        shmbus::Bus asker = shmbus::Bus::open(temporary.directory());
        for (std::uint64_t i = 0; i < 20; ++i) {
            std::uint64_t told = 0;
            asker.request(Order{3 + i, {}}).then([&](const shmbus::Result<Accepted>& answer) {
                told = answer ? answer->number : 99;
            });
            while (told == 0) {
                endpoint.poll(1);
                asker.poll();
            }
            CHECK(told == 3 + i);
        }
        while (bus.counts().replies_to_gone < 20 * round) REQUIRE(handle_one(endpoint));
        asker.poll();
        CHECK(asker.counts().late_replies == 0);
    }
}

TEST_CASE("who asks and asks and waits for no answer leaves none of them lying about") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order& order) { return Accepted{order.number}; });
    // Several times what the inbox of answers holds.
    for (std::uint64_t i = 0; i < 20'000; ++i) {
        auto dropped = bus.request(Order{i, {}});
        REQUIRE(handle_one(endpoint));
    }
    CHECK(bus.counts().replies_to_gone == 0);
    CHECK(bus.counts().late_replies >= 19'999);
}

TEST_CASE("an answer longer than what a request keeps room for arrives whole") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Describe>([](const Describe& asked) {
        return Described{std::string(asked.bytes, 'x')};
    });
    for (const std::uint64_t bytes : {0U, 1U, 100U, 128U, 129U, 5000U, 3U}) {
        auto pending = bus.request(Describe{bytes});
        REQUIRE(handle_one(endpoint));
        const auto answer = pending.wait();
        REQUIRE_MESSAGE(answer, answer.error().text());
        CHECK(answer->text == std::string(bytes, 'x'));
    }
}
}
