// How consumers wait, who wakes them, and the sign of life that is kept up meanwhile.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <optional>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#include "base/liveness.h"
#include "bus/inside.h"
#include "bus/messages.h"
#include "wire/names.h"

using namespace bus_tests;
using namespace std::chrono_literals;

namespace {

// An endpoint that runs in a thread of its own.
class Runner {
public:
    explicit Runner(shmbus::Waiting waiting) {
        shmbus::EndpointOptions options;
        options.waiting = waiting;
        endpoint_.emplace(temporary_.bus().endpoint("orders", options));
        endpoint_->on<Order>([this](const Order&) { ++handled_; });
        sleepers_.emplace(temporary_);
        thread_ = std::jthread([this](const std::stop_token& stop) { endpoint_->run(stop); });
        REQUIRE(::pthread_getcpuclockid(thread_.native_handle(), &clock_) == 0);
    }
    [[nodiscard]] std::chrono::nanoseconds processor_time() const {
        timespec spent{};
        REQUIRE(::clock_gettime(clock_, &spent) == 0);
        return std::chrono::seconds(spent.tv_sec) + std::chrono::nanoseconds(spent.tv_nsec);
    }
    [[nodiscard]] bool is_asleep() const { return sleepers_->now() != 0; }
    // The processor time of fifty messages, each sent when it sleeps again.
    [[nodiscard]] std::chrono::nanoseconds time_of_fifty() {
        REQUIRE(comes([&] { return is_asleep(); }));
        const auto before = processor_time();
        for (std::uint64_t i = 1; i <= 50; ++i) {
            REQUIRE(temporary_.bus().send(Order{i, {}}));
            REQUIRE(comes([&] { return handled_ == i && is_asleep(); }));
        }
        return processor_time() - before;
    }

private:
    shmbus::testing::TemporaryBus temporary_;
    std::optional<shmbus::Endpoint> endpoint_;
    std::optional<Sleepers> sleepers_;
    std::atomic<std::uint64_t> handled_{0};
    clockid_t clock_{};
    std::jthread thread_;
};

bool is_readable(int fd, std::chrono::milliseconds limit) {
    pollfd watched{fd, POLLIN, 0};
    return ::poll(&watched, 1, static_cast<int>(limit.count())) == 1;
}

// The one participant of a bus, as another process would see it.
std::string only_participant(const shmbus::testing::TemporaryBus& bus) {
    const auto pages = files_in(bus, "participants");
    REQUIRE(pages.size() == 1);
    return pages[0].substr(pages[0].rfind('/') + 1);
}

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("a consumer that is told to spin never lies down to sleep") {
    const Runner runner(shmbus::Waiting::spin);
    bool slept = false;
    const auto begin = runner.processor_time();
    CHECK(comes([&] {
        for (int look = 0; look < 1000; ++look) slept = slept || runner.is_asleep();
        return slept || runner.processor_time() - begin > 50ms;
    }));
    CHECK_FALSE(slept);
}

TEST_CASE("a consumer that is told to sleep does so at once, an adaptive one looks around first") {
    Runner sleeping(shmbus::Waiting::sleep);
    Runner adaptive(shmbus::Waiting::adaptive);
    const auto of_sleeping = sleeping.time_of_fifty();
    const auto of_adaptive = adaptive.time_of_fifty();
    MESSAGE("processor time of fifty messages: " << of_sleeping / 1us << " us when told to sleep, "
                                                 << of_adaptive / 1us << " us adaptive");
    CHECK(2 * of_sleeping < of_adaptive);
}

TEST_CASE("who polls has no threads but its own") {
    const std::size_t before = threads();
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order& order) { return Accepted{order.number}; });
    std::uint64_t answered = 0;
    bus.request(Order{1, {}}).then([&](const shmbus::Result<Accepted>& answer) {
        answered = answer ? answer->number : 99;
    });
    static_cast<void>(endpoint.arm());
    REQUIRE(comes([&] { return endpoint.poll(), answered == 1; }));
    CHECK(threads() == before);
}

TEST_CASE("who waits for a descriptor and polls instead is not rung any more") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    endpoint.on<Order>([](const Order&) {});
    REQUIRE(bus.send(Order{0, {}}));  // opens the lane, of which the daemon tells sleepers
    CHECK(endpoint.poll() == 1);
    const Sleepers sleepers(temporary);
    REQUIRE(endpoint.arm());
    CHECK(sleepers.now() == 1);
    CHECK(endpoint.poll() == 0);
    CHECK(sleepers.now() == 0);
    REQUIRE(bus.send(Order{1, {}}));
    CHECK_FALSE(is_readable(endpoint.fd(), 0ms));
    CHECK(endpoint.poll() == 1);
}

TEST_CASE("who leaves messages behind rings the next that waits for a descriptor") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint first = bus.endpoint("orders"), second = bus.endpoint("orders"),
                     third = bus.endpoint("orders");
    for (shmbus::Endpoint* endpoint : {&first, &second, &third})
        endpoint->on<Order>([](const Order&) {});
    // Opens the lane, of which the daemon tells sleepers; the second finds the directory moved.
    REQUIRE(bus.send(Order{0, {}}));
    REQUIRE(bus.send(Order{0, {}}));
    CHECK(first.poll() == 2);
    REQUIRE(second.arm());
    REQUIRE(third.arm());
    // One ring for all of them, which the second gets.
    const std::array<Order, 3> orders{};
    REQUIRE(bus.send_each<Order>(orders));
    CHECK(is_readable(second.fd(), 10s));
    CHECK_FALSE(is_readable(third.fd(), 0ms));
    CHECK(first.poll(1) == 1);
    CHECK(is_readable(third.fd(), 10s));
    CHECK(first.poll() + second.poll() + third.poll() == 2);
}

TEST_CASE("an event rings the subscribers that sleep, also when another one has no room for it") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::EndpointOptions small;
    small.lane_bytes = 4096;
    small.events_when_full = shmbus::WhenFull::drop_newest;
    shmbus::Endpoint first = bus.endpoint("first", small), second = bus.endpoint("second", small);
    for (shmbus::Endpoint* endpoint : {&first, &second}) endpoint->on<Moved>([](const Moved&) {});
    // Opens the lanes, of which the daemon tells sleepers; the second finds the directory moved.
    for (int i = 0; i < 2; ++i) REQUIRE(bus.publish(Moved{}));
    shmbus::Endpoint* asleep = &first;
    std::uint32_t dropped = 0;
    SUBCASE("the first") {}
    SUBCASE("the last") { asleep = &second; }
    SUBCASE("the first, with the last one full") {
        dropped = 1;
        while (bus.publish(Moved{}).value().dropped == 0) poll_all(first);
    }
    poll_all(*asleep);
    REQUIRE(asleep->arm());
    CHECK(bus.publish(Moved{}).value().dropped == dropped);
    CHECK(is_readable(asleep->fd(), 0ms));
    CHECK(asleep->poll() == 1);
}

TEST_CASE("consumers that come and go leave nothing behind in those that stay") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Endpoint endpoint = temporary.bus().endpoint("orders");
    std::size_t after_some = 0;
    for (int round = 0; round < 40; ++round) {
        shmbus::Bus passing = shmbus::Bus::open(temporary.directory());
        const shmbus::Endpoint beside = passing.endpoint("orders");
        CHECK_FALSE(endpoint.wait(1ms));  // looks at its neighbours
        if (round == 5) after_some = open_descriptors();
    }
    CHECK(open_descriptors() <= after_some);
}

// The sign of life has two halves, see base/README.md.
TEST_CASE("who waits holds the sign of life when the thread that opened the bus has ended") {
    std::optional<shmbus::testing::TemporaryBus> temporary;
    std::thread([&] { temporary.emplace(); }).join();
    const auto participants =
        shmbus::base::File::open_directory(temporary->directory() + "/participants");
    const shmbus::base::Witness witness(participants.fd(), only_participant(*temporary),
                                        shmbus::wire::life_mark_at);
    CHECK(witness.maybe_dead());
    shmbus::Bus& bus = temporary->bus();
    shmbus::Endpoint endpoint = bus.endpoint("orders");
    SUBCASE("waiting for messages") { CHECK_FALSE(endpoint.wait(50ms)); }
    SUBCASE("waiting for an answer") {
        endpoint.on<Order>([](const Order&) {});
        shmbus::RequestOptions options;
        options.deadline = 50ms;
        CHECK_FALSE(bus.request(Order{1, {}}, options).wait());
    }
    SUBCASE("waiting for room") {
        shmbus::EndpointOptions small;
        small.lane_bytes = 4096;
        bus.declare_endpoint<Follow>("small", small);
        shmbus::SendOptions briefly;
        briefly.wait = 50ms;
        while (bus.send(Follow{1}, briefly)) {
        }
    }
    CHECK_FALSE(witness.maybe_dead());
}

TEST_CASE("who waits takes the lock again that proves it alive when somebody closed it") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Endpoint endpoint = temporary.bus().endpoint("orders");
    const std::string page = temporary.directory() + "/participants/" + only_participant(temporary);
    // The lock is this process's, so another one looks at it.
    const auto is_locked = [&] {
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            struct flock lock {};
            lock.l_type = F_WRLCK;
            const int fd = ::open(page.c_str(), O_RDWR | O_CLOEXEC);
            const bool free = ::fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
            ::_exit(fd < 0 ? 2 : (free ? 1 : 0));
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFEXITED(status));
        REQUIRE(WEXITSTATUS(status) < 2);
        return WEXITSTATUS(status) == 0;
    };
    CHECK(is_locked());
    ::close(::open(page.c_str(), O_RDONLY | O_CLOEXEC));  // closing any of them drops the lock
    CHECK_FALSE(is_locked());
    CHECK_FALSE(endpoint.wait(1ms));
    CHECK(is_locked());
}
}
