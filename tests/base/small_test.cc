// The small parts: arithmetic, names, clocks, random numbers, words, barriers, causes of death.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <limits>
#include <memory>
#include <set>
#include <vector>

#include <fcntl.h>

#include <doctest/doctest.h>

#include "base/atomics.h"
#include "base/barrier.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/death_cause.h"
#include "base/name.h"
#include "base/random.h"
#include "support.h"

using namespace shmbus::base;
using namespace shmbus::test;

TEST_SUITE("base") {

TEST_CASE("sizes round to powers of two in both directions") {
    CHECK(round_up(0U, 64U) == 0);
    CHECK(round_up(1U, 64U) == 64);
    CHECK(round_up(64U, 64U) == 64);
    CHECK(round_up(65U, 64U) == 128);
    CHECK(round_up(std::uint64_t{1} << 40, 4096) == std::uint64_t{1} << 40);
    CHECK(round_down(127U, 64U) == 64);
    CHECK(round_up(std::numeric_limits<std::uint32_t>::max(), 64U) == 0);
    CHECK(is_power_of_two(1U));
    CHECK(is_power_of_two(std::uint64_t{1} << 63));
    CHECK_FALSE(is_power_of_two(0U));
    CHECK_FALSE(is_power_of_two(3U));
}

TEST_CASE("a shared field is read as it stands") {
    const std::uint16_t field = 7;
    CHECK(read_once(field) == 7);
}

TEST_CASE("a copy in pieces is the whole copy, and nothing but it") {
    constexpr std::size_t piece = std::size_t{256} << 10;
    constexpr std::byte untouched{0xA5};
    std::vector<std::byte> from(3 * piece + 8);
    for (std::size_t at = 0; at < from.size(); ++at)
        from[at] = static_cast<std::byte>(at ^ at >> 8 ^ at >> 16);
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, piece - 1, piece, piece + 1,
                                    2 * piece, 2 * piece + 1, 3 * piece + 7}) {
        CAPTURE(bytes);
        std::vector<std::byte> into(bytes + 2, untouched);
        copy_in_pieces(into.data() + 1, from.data(), bytes);
        CHECK(std::equal(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(bytes),
                         into.begin() + 1));
        CHECK(into.front() == untouched);
        CHECK(into.back() == untouched);
    }
}

TEST_CASE("names are short and made of harmless characters") {
    CHECK(is_valid_name("shop.orders-2_a"));
    CHECK(is_valid_name(std::string(200, 'a')));
    for (const char* name : {"", ".", "..", "a/b", "a b", "a\n", "\xc3\xa4", "a:"})
        CHECK_FALSE(is_valid_name(name));
    CHECK_FALSE(is_valid_name(std::string(201, 'a')));
    CHECK_FALSE(is_valid_name(std::string_view("a\0b", 3)));
}

TEST_CASE("ticks convert to the time that the kernel's clock shows") {
    const TickRate rate = TickRate::calibrate();
    const std::uint64_t begin_ns = now_ns();
    const std::uint64_t begin_ticks = ticks();
    while (now_ns() - begin_ns < 5'000'000) cpu_relax();
    const std::uint64_t by_ticks = rate.to_ns(ticks() - begin_ticks);
    const std::uint64_t by_clock = now_ns() - begin_ns;
    // One percent, and 100 us for being put aside between two readings.
    const std::uint64_t apart = by_ticks > by_clock ? by_ticks - by_clock : by_clock - by_ticks;
    CHECK(apart <= by_clock / 100 + 100'000);
    CHECK(rate.to_ticks(rate.to_ns(1'000'000)) <= 1'000'001);
    CHECK(realtime_ns() > 1'600'000'000'000'000'000U);
}

TEST_CASE("random numbers differ and are never zero") {
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 1000; ++i) seen.insert(random_u64());
    CHECK(seen.size() == 1000);
    CHECK(seen.count(0) == 0);
}

TEST_CASE("a word does what its operations are called") {
    StdAtomics::word<std::uint64_t> word{5};
    // relaxed: one thread.
    constexpr auto order = std::memory_order_relaxed;
    std::uint64_t expected = 4;
    CHECK_FALSE(word.compare_exchange(expected, 6, order, order));
    CHECK(expected == 5);
    CHECK(word.compare_exchange(expected, 6, order, order));
    CHECK(word.exchange(7, order) == 6);
    CHECK(word.fetch_add(1, order) == 7);
    CHECK(word.fetch_or(3, order) == 8);
    CHECK(word.fetch_and(1, order) == 11);
    word.store(word.load(order) + 1, order);
    CHECK(word.load(order) == 2);
    static_assert(sizeof(word) == 8);
}

TEST_CASE("the global barrier works exactly where the kernel says that it does") {
    CHECK(register_for_global_barrier() == barrier_available());
    CHECK(global_barrier() == barrier_available());
}

TEST_CASE("a broken promise ends the process") {
    Child child([] {
        ::close(STDERR_FILENO);
        const int nowhere = ::open("/dev/null", O_WRONLY);
        check(true, "this holds");
        check(nowhere < 0, "this does not");
        return 0;
    });
    const int status = child.reap();
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGABRT);
}

TEST_CASE("the signal that killed a process can be told while it is a zombie") {
    Child child([]() -> int { return stay(); });
    const File handle = open_process(child.pid());
    CHECK_FALSE(signal_of_dead(child.pid(), handle).has_value());
    child.signal(SIGKILL);
    siginfo_t ended{};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(child.pid()), &ended, WEXITED | WNOWAIT) == 0);
    CHECK(signal_of_dead(child.pid(), handle) == SIGKILL);
}

TEST_CASE("after a process was reaped its handle tells the signal or admits not to know") {
    SharedStep step;
    Child child([&]() -> int {
        step.reach(1);
        return stay();
    });
    REQUIRE(step.wait_for(1));
    const pid_t pid = child.pid();
    const File handle = open_process(pid);
    child.signal(SIGTERM);
    const int status = child.reap();
    REQUIRE(WIFSIGNALED(status));
    const std::optional<int> told = signal_of_dead(pid, handle);
    MESSAGE("told: " << (told ? std::to_string(*told) : "unknown"));
    CHECK((!told.has_value() || *told == SIGTERM));
    CHECK_FALSE(signal_of_dead(pid, File{}).has_value());
}

}
