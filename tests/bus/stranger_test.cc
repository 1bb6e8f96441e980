// Memory that others may write: payloads change under a handler, files are cut short or wiped.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "base/support.h"
#include "bus/inside.h"
#include "bus/messages.h"
#include "lane/layout.h"

using namespace bus_tests;
using namespace std::chrono_literals;
using shmbus::ErrorCode;

namespace {

// Numbers that stand nowhere else in a lane.
constexpr std::uint64_t as_sent = 0x5ca1ab1e'0ddba11e;
constexpr std::uint64_t changed = 0xdecea5ed'ba5eba11;

enum class Sender : std::uint8_t { same_user, another_user };

// A message that waits in its lane, and what its handler sees when the message is changed while
// it is being handled.
std::uint64_t seen_after_a_change(Sender sender, const shmbus::EndpointOptions& options,
                                  bool is_packed = false) {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    const std::array<Order, 2> orders{Order{as_sent, {}}, Order{as_sent, {}}};
    if (is_packed) REQUIRE(bus.send_batch<Order>(orders));
    else REQUIRE(bus.send(orders[0]));
    if (sender == Sender::another_user) {
        // What the daemon writes there for the writer of another user.
        const std::uint32_t somebody = ::geteuid() + 1;
        for (const std::string& path : files_in(temporary, "lanes"))
            open_file(path).write_all(std::as_bytes(std::span(&somebody, 1)),
                                      offsetof(shmbus::lane::LaneIdentity, writer_uid));
    }
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    std::atomic<std::uint64_t> seen{0};
    endpoint.on<Order>([&](const Order& order) {
        if (seen != 0) return;
        CHECK(order.number == as_sent);
        CHECK(overwrite_in_lanes(temporary, as_sent, changed) == (is_packed ? 2 : 1));
        seen = order.number;
    });
    const std::jthread runner([&](const std::stop_token& stop) { endpoint.run(stop); });
    REQUIRE(comes([&] { return seen != 0; }));
    return seen;
}

void cut_short(const std::string& path) { REQUIRE(::truncate(path.c_str(), 0) == 0); }

void wipe(const std::string& path) {
    const shmbus::base::File file = open_file(path);
    const std::vector<std::byte> zeros(file.facts().bytes);
    file.write_all(zeros, 0);
}

// As another part of the program does that closes all it does not know: those of the bus's files
// of participants, and of their folder.
void close_descriptors_of_participants() {
    for (int fd = 3; fd < 256; ++fd)
        if (shmbus::base::path_of(fd).find("/participants") != std::string::npos) ::close(fd);
}

// A bus that keeps what the library says of errors.
struct Told {
    shmbus::BusOptions options() {
        shmbus::BusOptions made;
        made.log = [this](shmbus::LogLevel level, std::string_view text) {
            if (level == shmbus::LogLevel::error) text_ += std::string(text) + "\n";
        };
        return made;
    }
    [[nodiscard]] bool of(std::string_view words) const {
        return text_.find(words) != std::string::npos;
    }
    std::string text_;
    shmbus::testing::TemporaryBus temporary{options()};
};

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("what another user sent is copied before it is handled, what one's own sent is not") {
    shmbus::EndpointOptions options;
    SUBCASE("by one thread") { options.handler_threads = 1; }
    SUBCASE("by a pool") { options.handler_threads = 2; }
    // In place: that is what a copy is for.
    CHECK(seen_after_a_change(Sender::same_user, options) == changed);
    CHECK(seen_after_a_change(Sender::another_user, options) == as_sent);
    CHECK(seen_after_a_change(Sender::another_user, options, true) == as_sent);
    options.copy_payload = true;
    CHECK(seen_after_a_change(Sender::same_user, options) == as_sent);
}

TEST_CASE("the lock that shows a process to be alive is taken again after all was closed") {
    std::vector<std::string> told;
    shmbus::BusOptions options;
    options.log = [&](shmbus::LogLevel level, std::string_view text) {
        if (level >= shmbus::LogLevel::warning) told.emplace_back(text);
    };
    shmbus::testing::TemporaryBus temporary{options};
    shmbus::Endpoint endpoint = temporary.bus().endpoint("orders");
    const std::vector<std::string> pages = files_in(temporary, "participants");
    REQUIRE(pages.size() == 1);
    const auto is_locked = [&] {
        shmbus::test::Child other([&] {
            struct flock lock {};
            lock.l_type = F_RDLCK;
            const shmbus::base::File page = open_file(pages[0]);
            if (::fcntl(page.fd(), F_GETLK, &lock) != 0) return 2;
            return lock.l_type == F_UNLCK ? 1 : 0;
        });
        return shmbus::test::exited_with(other.reap(), 0);
    };
    CHECK(is_locked());
    close_descriptors_of_participants();
    CHECK_FALSE(is_locked());
    SUBCASE("") {
        endpoint.wait(1ms);
        CHECK(is_locked());
        REQUIRE(told.size() == 1);
        CHECK(told[0].find("was taken again") != std::string::npos);
    }
    SUBCASE("where it cannot be opened, that is said once") {
        REQUIRE(::rename(pages[0].c_str(), (pages[0] + ".away").c_str()) == 0);
        for (int look = 0; look < 5; ++look) endpoint.wait(1ms);
        REQUIRE(told.size() == 1);
        CHECK(told[0].find("cannot be taken again") != std::string::npos);
        REQUIRE(::rename((pages[0] + ".away").c_str(), pages[0].c_str()) == 0);
        endpoint.wait(1ms);
        CHECK(is_locked());
    }
}

TEST_CASE("a lane that is wiped under its sender is lost to it, and the next send opens another") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions small;
    small.lane_bytes = 4096;
    shmbus::Endpoint endpoint = bus.endpoint("orders", small);
    std::uint64_t handled = 0, last = 0;
    endpoint.on<Order>([&](const Order& order) {
        ++handled;
        last = order.number;
    });
    bool has_room = false;
    SUBCASE("a lap behind it") { has_room = true; }
    SUBCASE("in its first lap") { has_room = false; }
    std::uint64_t sent = 0;
    const std::uint64_t before = has_room ? 200 : 3;
    while (sent < before) {
        REQUIRE(bus.send(Order{++sent, {}}));
        if (has_room) CHECK(endpoint.poll() == 1);
    }
    const std::uint64_t handled_before = handled;
    wipe(files_in(temporary, "lanes").at(0));
    shmbus::SendOptions at_once;
    at_once.when_full = shmbus::WhenFull::refuse;
    shmbus::Result<void> told;
    // At most a lane full of messages goes nowhere before it is noticed.
    for (int i = 0; i <= 64 && told; ++i) {
        told = bus.send(Order{++sent, {}}, at_once);
        CHECK(endpoint.poll() == 0);
    }
    REQUIRE(told.error() == ErrorCode::lane_lost);
    CHECK(told.error().text().find("\"orders\"") != std::string::npos);
    REQUIRE(bus.send(Order{1000, {}}, at_once));
    CHECK(comes([&] { return endpoint.poll() == 1; }));
    CHECK(handled == handled_before + 1);
    CHECK(last == 1000);
}

TEST_CASE("that a lane into the journal was lost is said once by sync, not for ever") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    REQUIRE(bus.publish(KeptFact{1}));
    REQUIRE(bus.sync(10s));
    cut_short(files_in(temporary, "lanes").at(0));
    // The first one after that finds it, the next goes through another lane.
    static_cast<void>(bus.publish(KeptFact{2}));
    REQUIRE(comes([&] { return static_cast<bool>(bus.publish(KeptFact{3})); }));
    const auto told = bus.sync(10s);
    REQUIRE(!told);
    CHECK(told.error() == ErrorCode::lane_lost);
    CHECK(bus.sync(10s));
    REQUIRE(bus.publish(KeptFact{4}));
    CHECK(bus.sync(10s));
}

TEST_CASE("an inbox that is cut short is reported on both sides, other endpoints go on") {
    Told told;
    shmbus::Bus& bus = told.temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    shmbus::Endpoint other = bus.endpoint("follows");
    std::uint64_t handled = 0, others = 0;
    endpoint.on<Order>([&](const Order&) { ++handled; });
    other.on<Follow>([&](const Follow&) { ++others; });
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(endpoint.poll() == 1);
    REQUIRE(bus.send(Order{2, {}}));
    cut_short(first_inbox(told.temporary));
    // Nothing is taken any more that nobody could take over after a death.
    for (int i = 0; i < 200; ++i) CHECK(endpoint.poll() == 0);
    CHECK(handled == 1);
    CHECK(told.of("the inbox's file was cut short"));
    CHECK_FALSE(endpoint.wait(1ms));
    // The sender looks when there is something to look for: after so many messages at the latest.
    shmbus::Result<void> result;
    for (int i = 0; i < 2000 && result; ++i) result = bus.send(Order{3, {}});
    REQUIRE(result.error() == ErrorCode::lane_lost);
    CHECK(result.error().text().find("inbox was cut short") != std::string::npos);
    const auto again = bus.send(Order{4, {}});
    REQUIRE(again.error() == ErrorCode::refused);
    CHECK(again.error().text().find("cut short") != std::string::npos);
    REQUIRE(bus.send(Follow{1}));
    CHECK(comes([&] { return other.poll() == 1; }));
    CHECK(others == 1);
}

TEST_CASE("events pass a subscriber whose inbox is cut short, and the error says which one") {
    Told told;
    shmbus::Bus& bus = told.temporary.bus();
    shmbus::Endpoint broken = bus.endpoint("broken");
    shmbus::Endpoint other = bus.endpoint("other");
    std::uint64_t others = 0;
    broken.on<Happened>([](const Happened&) {});
    other.on<Happened>([&](const Happened&) { ++others; });
    SUBCASE("that it was published to before") { REQUIRE(bus.publish(Happened{1})); }
    SUBCASE("that is new to the publisher") {}
    poll_all(other);
    const std::uint64_t before = others;
    cut_short(first_inbox(told.temporary));
    constexpr std::uint64_t count = 3'000;
    shmbus::Result<shmbus::Published> last = shmbus::Published{};
    for (std::uint64_t i = 0; i < count; ++i) {
        last = bus.publish(Happened{i});
        if (i % 100 == 99) poll_all(other);
    }
    REQUIRE_FALSE(last);
    const std::string text = last.error().text();
    CHECK_MESSAGE(text.find("subscriber broken: ") != std::string::npos, text);
    CHECK(text.find("cut short") != std::string::npos);
    // A lane that is new is found when the endpoint looks around.
    CHECK(comes([&] {
        poll_all(other);
        return others == before + count;
    }));
}

TEST_CASE("a handler whose event cannot go to all of its subscribers sends it to none, and fails") {
    Told told;
    shmbus::Bus& bus = told.temporary.bus();
    shmbus::Endpoint other = bus.endpoint("other");
    std::uint64_t others = 0;
    other.on<Happened>([&](const Happened&) { ++others; });
    shmbus::Endpoint orders = bus.endpoint("orders");
    std::optional<shmbus::Endpoint> broken;
    const auto subscribe_a_broken_one = [&] {
        if (broken) return;
        const std::vector<std::string> before = files_in(told.temporary, "inboxes");
        broken = bus.endpoint("broken");
        broken->on<Happened>([](const Happened&) {});
        for (const std::string& path : files_in(told.temporary, "inboxes"))
            if (std::ranges::count(before, path) == 0) cut_short(path);
    };
    SUBCASE("known when it publishes") { subscribe_a_broken_one(); }
    SUBCASE("known when it returns") {}
    orders.on<Order>([&](const Order& order, shmbus::Context& context) {
        const auto published = context.publish(Happened{order.number});
        CHECK(published.has_value() == !broken);
        published.value();
        subscribe_a_broken_one();
    });
    REQUIRE(bus.send(Order{1, {}}));
    CHECK(orders.poll() == 1);
    CHECK(orders.counts().handled == 0);
    CHECK(orders.counts().failed == 1);
    for (int i = 0; i < 200; ++i) poll_all(other);
    CHECK(others == 0);
}
}
