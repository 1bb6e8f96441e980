// Messages taken past thousands of others, by a process that is killed at the worst moment.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/pick.h"

#include <csignal>
#include <cstdint>
#include <map>
#include <string>

#include <sys/wait.h>

#include <doctest/doctest.h>
#include <shmbus/bus.h>

#include "base/support.h"
#include "cli/send_on.h"
#include "daemon/fixture.h"

namespace {

namespace cli = shmbus::cli;
using shmbus::Bus;
using shmbus::test::Child;

struct Other {
    static constexpr auto message = shmbus::command("pick.other", shmbus::transient);
    std::uint64_t number = 0;
};
struct Wanted {
    static constexpr auto message = shmbus::command("pick.wanted", shmbus::transient);
    std::uint64_t number = 0;
};

// More than one process has hands for: 128 with 64 each.
constexpr std::uint64_t others = 20'000;
constexpr std::uint64_t wanted = 10;

shmbus::BusOptions without_daemon() {
    shmbus::BusOptions options;
    options.start_daemon = false;
    return options;
}

// Two endpoints, and in one of them the others before those that are wanted.
void fill(const std::string& path) {
    Bus bus = Bus::open(path, without_daemon());
    for (const char* name : {"from", "to"}) {
        shmbus::EndpointOptions options;
        options.lane_bytes = 4U << 20;
        static_cast<void>(bus.endpoint(name, options));
    }
    shmbus::SendOptions options;
    options.destination = "from";
    for (std::uint64_t at = 0; at < others; ++at) bus.send(Other{at}, options).value();
    for (std::uint64_t at = 0; at < wanted; ++at) bus.send(Wanted{at}, options).value();
}

// As `shmbus move from to --type pick.wanted`; killed when a batch for the `dies_at`th time is all
// sent and nothing of it is let go.
std::uint64_t move_wanted(const std::string& path, int dies_at) {
    cli::Common common;
    common.bus = path;
    cli::Member member(common, cli::lane_bytes_to_send_on(common, "from", cli::Sends::some));
    const std::uint32_t type = member.bus().type("pick.wanted").index;
    cli::SendOn how{.to = member.endpoint("to"), .from = member.endpoint("from")};
    int batches = 0;
    const cli::Picked picked = cli::pick(
        member, "from", ~std::uint64_t{0},
        {[&](const cli::SeenMessage& message) { return message.meta.type == type; },
         [&](const cli::SeenMessage& message, bool is_again) {
             how.may_be_repeated = is_again;
             cli::send_on(member, message, how);
         },
         [&] {
             if (++batches == dies_at) ::raise(SIGKILL);
         }});
    CHECK_FALSE(picked.is_cut);
    return picked.count;
}

struct Came {
    std::uint64_t copies = 0;
    std::uint64_t unmarked = 0;
};

template <class T>
void count(shmbus::Endpoint& endpoint, std::map<std::uint64_t, Came>& came) {
    endpoint.on<T>([&came](const T& message, shmbus::Context& context) {
        Came& one = came[message.number];
        ++one.copies;
        if (!context.redelivered() && !context.repeated()) ++one.unmarked;
    });
}

std::uint64_t copies_in(const std::map<std::uint64_t, Came>& came) {
    std::uint64_t sum = 0;
    for (const auto& [number, one] : came) sum += one.copies;
    return sum;
}

}  // namespace

TEST_SUITE("cli") {

TEST_CASE("what is killed while it passes over thousands leaves each, and marks what is twice") {
    for (const int dies_at : {1, 150}) {
        CAPTURE(dies_at);
        const test::Folder folder;
        const test::Daemon daemon(folder.bus());
        fill(folder.bus());
        Child mover([&] { return static_cast<int>(move_wanted(folder.bus(), dies_at)); });
        const int status = mover.reap();
        REQUIRE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
        CHECK(move_wanted(folder.bus(), 0) == wanted);

        Bus bus = Bus::open(folder.bus(), without_daemon());
        std::map<std::uint64_t, Came> left;
        std::map<std::uint64_t, Came> moved;
        shmbus::Endpoint from = bus.endpoint("from");
        shmbus::Endpoint to = bus.endpoint("to");
        count<Other>(from, left);
        count<Wanted>(to, moved);
        CHECK(test::eventually([&] {
            from.poll();
            to.poll();
            return moved.size() == wanted && copies_in(left) >= others + 64;
        }));
        CHECK(left.size() == others);
        // A batch had been sent behind the others and was not let go.
        CHECK(copies_in(left) == others + 64);
        for (const auto& all : {left, moved})
            for (const auto& [number, one] : all) REQUIRE(one.unmarked <= 1);
    }
}

}
