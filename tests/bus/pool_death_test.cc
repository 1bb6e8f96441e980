// Pools of handler threads that are killed with several messages in handlers at once.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <new>
#include <set>
#include <stdexcept>
#include <thread>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/inside.h"
#include "bus/messages.h"

using namespace bus_tests;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t many = 1000;
constexpr std::uint64_t pool_threads = 4;

// What the processes of a test share. seq_cst throughout: the tests read as if there were one order
// of events.
struct Shared {
    std::atomic<std::uint64_t> inside{0};
    std::atomic<std::uint64_t> handled{0};
    std::array<std::atomic<std::uint64_t>, many> of{};  // how often each was handled to the end
    std::array<std::atomic<std::uint64_t>, many> begun{};

    [[nodiscard]] static Shared& make() {
        void* const page = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(page != MAP_FAILED);
        return *new (page) Shared;
    }
};

// A process with a pool that handles orders as `handle` says until it is killed.
template <class Handle>
pid_t pool_in_child(const std::string& directory, Handle handle,
                    unsigned threads = pool_threads) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child != 0) return child;
    shmbus::Bus bus = shmbus::Bus::open(directory);
    shmbus::EndpointOptions options;
    options.handler_threads = threads;
    shmbus::Endpoint endpoint = bus.endpoint("orders", options);
    endpoint.on<Order>(handle);
    endpoint.run();
    ::_exit(0);
}

int signal_that_ended(pid_t child) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// Who holds messages of the first endpoint.
std::set<std::uint16_t> owners_of_hands(const shmbus::testing::TemporaryBus& temporary) {
    const shmbus::lane::InboxView inbox(open_file(first_inbox(temporary)));
    std::set<std::uint16_t> owners;
    for (const shmbus::lane::StdHand& hand : inbox.hands()) {
        const std::uint64_t word = hand.word.load(std::memory_order_seq_cst);
        if (shmbus::lane::state_in(word) != shmbus::lane::HandState::idle)
            owners.insert(shmbus::lane::owner_in(word));
    }
    return owners;
}

void send_all(shmbus::Bus& bus) {
    for (std::uint64_t number = 0; number < many; ++number) REQUIRE(bus.send(Order{number, {}}));
}

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("what killed pools had in their handlers comes to a survivor's pool, marked and alone") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    Shared& shared = Shared::make();
    send_all(bus);
    // Two, each with all threads in handlers of one batch, more of that batch and whole other
    // batches: quick handlers before made them grow.
    const auto stuck_from = [&](std::uint64_t first) {
        return pool_in_child(temporary.directory(), [&shared, first](const Order& order) {
            if (order.number < first) {
                ++shared.of[order.number];
                return;
            }
            ++shared.begun[order.number];
            ++shared.inside;
            for (;;) ::pause();
        });
    };
    const pid_t one = stuck_from(200);
    REQUIRE(comes([&] { return shared.inside == pool_threads; }));
    const pid_t other = stuck_from(600);
    REQUIRE(comes([&] { return shared.inside == 2 * pool_threads; }));
    for (const pid_t child : {one, other}) ::kill(child, SIGKILL);
    for (const pid_t child : {one, other}) CHECK(signal_that_ended(child) == SIGKILL);
    std::uint64_t before = 0;
    for (const auto& count : shared.of) before += count;
    CHECK(before >= 200);

    shmbus::EndpointOptions options;
    options.handler_threads = 3;
    shmbus::Endpoint survivor = bus.endpoint("orders", options);
    std::atomic<std::uint64_t> running{0}, handled{0}, marked{0}, begun_before{0};
    std::atomic<bool> was_alone{true};
    survivor.on<Order>([&](const Order& order, shmbus::Context& context) {
        // What was begun takes longer, so that its neighbours would be seen with it.
        const bool begun = shared.begun[order.number] != 0;
        if (++running != 1 && begun) was_alone = false;
        std::this_thread::sleep_for(begun ? 5ms : 200us);
        if (begun && running != 1) was_alone = false;
        --running;
        CHECK(context.attempt() == (begun ? 2 : 1));
        marked += context.redelivered() ? 1 : 0;
        begun_before += begun && context.redelivered() ? 1 : 0;
        ++shared.of[order.number];
        ++handled;
    });
    {
        std::jthread runner([&] { survivor.run(); });
        CHECK(comes([&] { return handled == many - before; }));
        survivor.stop();
    }
    CHECK(begun_before == 2 * pool_threads);
    CHECK(was_alone);
    CHECK(survivor.counts().redelivered == marked);
    for (std::uint64_t number = 0; number < many; ++number) CHECK(shared.of[number] == 1);
    CHECK(survivor.poll() == 0);
}

TEST_CASE("what was taken from the dead is handled, also if a callback throws before its turn") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    Shared& shared = Shared::make();
    REQUIRE(bus.send(Order{1, {}}));
    const auto stay = [&shared](const Order&) {
        ++shared.inside;
        for (;;) ::pause();
    };
    const pid_t child = pool_in_child(temporary.directory(), stay, 1);
    REQUIRE(comes([&] { return shared.inside == 1; }));
    // A thread of the survivor is in a handler, and not done before the callback has thrown.
    shmbus::EndpointOptions options;
    options.handler_threads = 2;
    shmbus::Endpoint survivor = bus.endpoint("orders", options);
    std::atomic<bool> is_in{false}, is_called{false}, goes_on{false};
    std::atomic<std::uint64_t> handled{0};
    survivor.on<Order>([&](const Order& order) {
        if (order.number == 2) {
            is_in = true;
            goes_on.wait(false);
        }
        ++handled;
    });
    REQUIRE(bus.send(Order{2, {}}));
    std::atomic<bool> threw{false};
    std::jthread runner([&] {
        try {
            survivor.run();
        } catch (const std::runtime_error&) {
            threw = true;
        }
    });
    CHECK(comes([&] { return is_in.load(); }));
    ::kill(child, SIGKILL);
    CHECK(signal_that_ended(child) == SIGKILL);
    CHECK(comes([&] { return owners_of_hands(temporary).size() == 1; }));
    shmbus::Bus other = shmbus::Bus::open(temporary.directory());
    shmbus::Endpoint answers = other.endpoint("answers");
    answers.on<Describe>([](const Describe&) { return Described{}; });
    bus.request(Describe{0}).then([&](const auto&) {
        is_called = true;
        throw std::runtime_error("not my day");
    });
    CHECK(comes([&] {
        answers.poll();
        return is_called.load();
    }));
    goes_on = true;
    goes_on.notify_all();
    CHECK(comes([&] { return threw.load(); }));
    if (!threw) survivor.stop();
    runner.join();
    CHECK(comes([&] {
        survivor.poll();
        return handled == 2;
    }));
}

TEST_CASE("a message that kills a pool takes none of its neighbours to the error endpoint") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    bus.declare_endpoint<Order>("orders");
    Shared& shared = Shared::make();
    constexpr std::uint64_t poison = 2;
    send_all(bus);
    for (std::uint64_t death = 1; death <= 3; ++death) {
        // The first time all threads are in handlers when it kills.
        const pid_t child = pool_in_child(temporary.directory(), [&](const Order& order) {
            ++shared.begun[order.number];
            if (++shared.inside <= pool_threads) {
                if (!comes([&] { return shared.inside >= pool_threads; })) ::_exit(1);
                if (order.number != poison)
                    for (;;) ::pause();
            }
            if (order.number == poison) ::raise(SIGKILL);
            ++shared.of[order.number];
        });
        CHECK(signal_that_ended(child) == SIGKILL);
        CHECK(shared.begun[poison] == death);
    }
    shmbus::EndpointOptions options;
    options.handler_threads = pool_threads;
    shmbus::Endpoint survivor = bus.endpoint("orders", options);
    survivor.on<Order>([&](const Order& order) { ++shared.of[order.number]; });
    shmbus::Endpoint errors = bus.endpoint("error");
    std::uint64_t given_up = 0;
    errors.on<Order>([&](const Order& order, shmbus::Context& context) {
        CHECK(order.number == poison);
        CHECK(context.envelope().failure.reason == shmbus::FailureReason::process_died);
        CHECK(context.envelope().failure.attempts == 3);
        ++given_up;
    });
    {
        std::jthread runner([&] { survivor.run(); });
        CHECK(comes([&] { return errors.poll(), given_up == 1; }));
        for (std::uint64_t number = 0; number < many; ++number)
            if (number != poison) CHECK(comes([&] { return shared.of[number] == 1; }));
        survivor.stop();
    }
    CHECK(survivor.poll() == 0);
    CHECK(errors.poll() == 0);
    CHECK(shared.of[poison] == 0);
}
}
