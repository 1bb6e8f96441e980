// No memory left, at each allocation of the daemon's turns: the turn is given up, the daemon goes
// on, and every message is handled once.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <new>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/server.h"
#include "daemon/state.h"
#include "served_bus.h"

namespace {

// Of this thread's allocations.
struct Shortage {
    std::uint64_t left = 0;  // so many more, of which the last one fails; 0: none will
    bool has_begun = false;
    bool lasts = false;  // all that follow fail as well
};
thread_local Shortage shortage;

void* allocate(std::size_t bytes) {
    const bool begins = shortage.left != 0 && --shortage.left == 0;
    if (begins) shortage.has_begun = true;
    if (begins || (shortage.has_begun && shortage.lasts)) throw std::bad_alloc();
    void* const room = std::malloc(bytes == 0 ? 1 : bytes);
    if (room == nullptr) throw std::bad_alloc();
    return room;
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
void operator delete(void* room) noexcept { std::free(room); }
void operator delete[](void* room) noexcept { std::free(room); }
void operator delete(void* room, std::size_t) noexcept { std::free(room); }
void operator delete[](void* room, std::size_t) noexcept { std::free(room); }

namespace durable_tests {

using shmbus::Bus;
using shmbus::Endpoint;

namespace {

namespace daemon = shmbus::daemon;

// Shared with the daemon.
struct Wish {
    std::atomic<bool> serves{false};        // as any daemon does; asked by a signal, it only turns
    std::atomic<bool> turns{false};
    std::atomic<std::uint64_t> fails_at{0};  // counted over turns, from the next one on
    std::atomic<bool> lasts{false};          // to the end of the turn in which it begins
    std::atomic<std::uint64_t> again{0};     // and once more, counted from the next turn on
    std::atomic<std::uint64_t> failed{0};    // how often it has begun
    std::atomic<std::uint64_t> logged{0};
};

[[noreturn]] void turn_for_ever(daemon::Durable& durable, Wish& wish) {
    for (;;) {
        if (const std::uint64_t at = wish.fails_at.exchange(0); at != 0)
            shortage = {at, false, wish.lasts};
        static_cast<void>(durable.turn());
        if (!shortage.has_begun) continue;
        shortage = {wish.again.exchange(0), false, wish.lasts};
        ++wish.failed;
    }
}

[[nodiscard]] pid_t start_daemon(const ServedBus& served, Wish& wish) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    const auto log = [&](shmbus::LogLevel, const std::string& text) {
        if (text.find("no memory left") != std::string::npos) ++wish.logged;
    };
    daemon::State state(daemon::Home(served.config), served.config, log);
    daemon::Durable durable(state);
    daemon::Server server(state, durable);
    wish.serves = true;
    static_cast<void>(server.run());
    wish.turns = true;
    turn_for_ever(durable, wish);
}

}  // namespace

TEST_SUITE("durable") {

TEST_CASE("a turn that no memory is left for is given up; the next goes on, and nothing is lost") {
    void* const memory = ::mmap(nullptr, sizeof(Wish), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    Wish& wish = *new (memory) Wish;
    ServedBus served;
    const pid_t child = start_daemon(served, wish);
    REQUIRE(wait_until([&] { return wish.serves.load(); }));
    std::map<std::uint64_t, int> handled;
    std::map<std::uint64_t, int> heard;
    {
        Bus bus = served.open();
        Endpoint one = bus.endpoint("one");
        Endpoint two = bus.endpoint("two");
        one.on<Work>([&](const Work& work) { ++handled[work.number]; });
        two.on<Done>([&](const Done& done) { ++heard[done.number]; });
        std::uint64_t number = 0;
        const auto send = [&] {
            ++number;
            REQUIRE(bus.send(Work{number, 2 * number}, {.wait = 20s}));
            REQUIRE(bus.publish(Done{number}, {.wait = 20s}));
        };
        const auto has_died = [&] { return ::waitpid(child, nullptr, WNOHANG) == child; };
        const auto all_came = [&] {
            one.poll();
            two.poll();
            return handled.size() == number && heard.size() == number;
        };
        send();
        REQUIRE(wait_until(all_came));
        ::kill(child, SIGTERM);
        REQUIRE(wait_until([&] { return wish.turns.load(); }));
        // What failed while a message was on its way, and how often.
        const auto fail = [&](std::uint64_t at, std::uint64_t again) {
            const std::uint64_t failed = wish.failed;
            wish.again = again;
            wish.fails_at = at;
            REQUIRE(wait_until([&] { return wish.fails_at == 0 || has_died(); }));
            send();
            bool died = false;
            CHECK(wait_until([&] { return (died = has_died()) || all_came(); }));
            INFO("allocation ", at, ", then ", again, ", and all that follow: ", wish.lasts.load());
            REQUIRE_FALSE(died);
            return wish.failed - failed;
        };
        for (const bool lasts : {false, true}) {
            wish.lasts = lasts;
            // Ends, both: no message makes the daemon make so many allocations.
            for (std::uint64_t at = 1; fail(at, 0) == 1; ++at) REQUIRE(at < 2000);
            // Of those that take the service up again only some: each costs a second.
            for (std::uint64_t at = 1; fail(1, at) == 2; at += 1 + at) REQUIRE(at < 2000);
        }
        MESSAGE("allocations that failed: ", wish.failed.load());
        CHECK(wish.failed > 60);
        CHECK(wish.logged > 0);
        for (const auto& counts : {handled, heard})
            for (const auto& [which, times] : counts) CHECK(times == 1);
        kill_process(child);
    }
    // What is on disk says the same.
    served.serve();
    Bus bus = served.open();
    Endpoint one = bus.endpoint("one");
    one.on<Work>([&](const Work& work) { ++handled[work.number]; });
    REQUIRE(bus.send(Work{1'000'000, 0}, {.wait = 20s}));
    CHECK(handle_until(one, [&] { return handled.contains(1'000'000); }));
    CHECK(wait_until([&] { return served.rests(); }));
    for (const auto& [which, times] : handled) CHECK(times == 1);
    ::munmap(memory, sizeof(Wish));
}

}

}  // namespace durable_tests
