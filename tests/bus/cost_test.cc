// What a message costs: no allocation and no system call, on either side, once warm.
//
// Allocations are counted by the program's own operator new. System calls are forbidden by the
// kernel: a child that has warmed up installs a filter under which anything but exit kills it. (Not
// strict seccomp, which also takes the processor's clock away.)
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/messages.h"
#include "support/own_clock.h"
#include "support/own_new.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
inline constexpr bool sanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool sanitized = false;
#endif

namespace {

using namespace bus_tests;
using shmbus::test::clock_readings;
using shmbus::test::own_new;
using namespace std::chrono_literals;

// From here on each system call but exit_group kills this process with SIGSYS.
bool forbid_system_calls() {
    std::array<sock_filter, 4> program{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    }};
    sock_fprog filter{program.size(), program.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// A bus with commands, an event, and a handler with an output; one round uses them all.
class Traffic {
public:
    explicit Traffic(shmbus::Bus& bus)
        : bus_(bus), orders_(bus.endpoint("orders")), follows_(bus.endpoint("follows")) {
        orders_.on<Order>([this](const Order& order, shmbus::Context& context) {
            sum_ += order.number;
            if (order.number % 4 == 0) failed_ += context.send(Follow{order.number}) ? 0 : 1;
        });
        orders_.on<Happened>([this](const Happened& event) { sum_ += event.number; });
        follows_.on<Follow>([this](const Follow& follow) { sum_ += follow.number; });
    }
    // False when something did not go as it should.
    bool rounds(std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i) {
            failed_ += bus_.send(Order{i, {}}) ? 0 : 1;
            failed_ += bus_.publish(Happened{i}) ? 0 : 1;
            if (auto loan = bus_.loan<Order>()) {
                loan->number = 1;
                loan.commit();
            }
            handled_ += orders_.poll();
            handled_ += follows_.poll();
        }
        return failed_ == 0;
    }
    [[nodiscard]] std::uint64_t handled() const { return handled_; }

private:
    shmbus::Bus& bus_;
    shmbus::Endpoint orders_;
    shmbus::Endpoint follows_;
    std::uint64_t sum_ = 0;
    std::uint64_t handled_ = 0;
    std::uint64_t failed_ = 0;
};

// Lanes of this bus that this process has a descriptor of: successors that are not begun.
std::size_t successors_held(const std::string& directory) {
    std::size_t held = 0;
    std::error_code closed_meanwhile;
    for (const auto& one : std::filesystem::directory_iterator("/proc/self/fd")) {
        const std::string target = std::filesystem::read_symlink(one, closed_meanwhile).string();
        held += target.starts_with(directory + "/lanes/") ? 1 : 0;
    }
    return held;
}

// Lanes of this bus that this process reads or writes, or will.
std::size_t lanes_mapped(const std::string& directory) {
    std::set<std::string> mapped;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
        if (const auto at = line.find(directory + "/lanes/"); at != std::string::npos)
            mapped.insert(line.substr(at));
    return mapped.size();
}

// Warm: each of the two lanes has carried enough to have a successor, the writer holds it and the
// reader has opened it. A daemon that answers late is asked again every 100 ms.
bool warm_up(Traffic& traffic, const std::string& directory) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (traffic.rounds(5000)) {
        if (successors_held(directory) == 2 && lanes_mapped(directory) == 4) return true;
        if (std::chrono::steady_clock::now() >= deadline) return false;
    }
    return false;
}

}  // namespace

TEST_SUITE("bus") {

TEST_CASE("a message allocates nothing, on either side, once warm") {
    shmbus::testing::TemporaryBus temporary;
    Traffic traffic(temporary.bus());
    REQUIRE(warm_up(traffic, temporary.directory()));
    const std::uint64_t before = traffic.handled();
    const std::uint64_t allocated = own_new().allocations;
    const bool fine = traffic.rounds(20'000);
    const std::uint64_t allocations = own_new().allocations - allocated;
    CHECK(fine);
    CHECK(allocations == 0);
    CHECK(traffic.handled() - before == 3 * 20'000 + 5000);
}

TEST_CASE("a message makes no system call, on either side, once warm") {
    if constexpr (sanitized) {
        // The sanitizers' own threads and calls would be what is measured.
        MESSAGE("left out under a sanitizer");
        return;
    }
    shmbus::testing::TemporaryBus temporary;
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        shmbus::Bus mine = shmbus::Bus::open(temporary.directory());
        Traffic traffic(mine);
        if (!warm_up(traffic, temporary.directory())) ::_exit(3);
        if (!forbid_system_calls()) ::_exit(4);
        ::_exit(traffic.rounds(50'000) ? 0 : 5);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    // Killed by SIGSYS: it made a system call.
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}

// The place where its answer is kept; the answer, on its way and in the handler, none.
TEST_CASE("a request allocates once, and its answer not at all, once warm") {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint orders = bus.endpoint("orders");
    orders.on<Order>([](const Order& order) { return Accepted{order.number + 1}; });
    std::uint64_t failed = 0;
    const auto ask = [&](std::uint64_t rounds) {
        for (std::uint64_t i = 0; i < rounds; ++i) {
            auto pending = bus.request(Order{i, {}});
            failed += orders.poll() == 1 ? 0 : 1;
            const auto answer = pending.wait();
            failed += answer && answer->number == i + 1 ? 0 : 1;
        }
    };
    // Its two lanes get no successors: the inbox of answers is a private one, and the other one
    // has carried less than a sixteenth of its size.
    ask(100);
    const std::uint64_t allocated = own_new().allocations;
    ask(500);
    const std::uint64_t allocations = own_new().allocations - allocated;
    CHECK(failed == 0);
    CHECK(allocations == 500);
}

// Looking at it costs as much as the rest of a durable send. Both lanes have carried more than a
// sixteenth of their size by then; the one into the journal gets no successor.
TEST_CASE("a send that finds room does not look at the clock") {
    shmbus::BusOptions options;
    options.lane_bytes = 2 << 20;
    options.time_sent_every = 0;
    shmbus::testing::TemporaryBus temporary(options);
    shmbus::Bus& bus = temporary.bus();
    shmbus::Endpoint orders = bus.endpoint("orders");
    orders.on<Kept>([](const Kept&) {});
    orders.on<KeptFact>([](const KeptFact&) {});
    orders.on<Order>([](const Order&) {});
    const shmbus::SendOptions traced{.trace = shmbus::TraceContext{}};
    std::uint64_t failed = 0;
    const auto send = [&](std::uint64_t rounds) {
        for (std::uint64_t i = 0; i < rounds; ++i) {
            failed += bus.send(Kept{i}) ? 0 : 1;
            failed += bus.publish(KeptFact{i}) ? 0 : 1;
            failed += bus.send(Order{i, {}}, traced) ? 0 : 1;
        }
    };
    // A daemon that answers late is asked for the other lane's successor again every 100 ms.
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    do {
        send(1000);
        REQUIRE(bus.sync(20s));
        while (orders.poll() != 0) continue;
    } while (successors_held(temporary.directory()) == 0 &&
             std::chrono::steady_clock::now() < deadline);
    // Which would be seen: a deadline is a reading.
    const std::uint64_t so_far = clock_readings();
    REQUIRE(bus.sync(20s));
    REQUIRE(clock_readings() > so_far);
    const std::uint64_t before = clock_readings();
    send(1000);
    const std::uint64_t readings = clock_readings() - before;
    CHECK(failed == 0);
    CHECK(readings == 0);
}
}
