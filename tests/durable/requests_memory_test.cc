// Requests for which the daemon has no memory: each costs its own connection at most.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <span>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/server.h"
#include "daemon/state.h"
#include "served_bus.h"
#include "support/own_new.h"
#include "wire/channel.h"

namespace durable_tests {

namespace {

namespace base = shmbus::base;
namespace daemon = shmbus::daemon;
namespace wire = shmbus::wire;
using shmbus::test::own_new;

// Shared with the daemon.
struct Shown {
    std::atomic<bool> listens{false};
    std::atomic<std::uint64_t> fails_at{0};  // its allocations, from when it is set; 0: none fails
};
Shown* shown = nullptr;

void fail_when_due() {
    own_new().acts_at = 1;  // at the next one as well
    if (shown->fails_at != 0 && --shown->fails_at == 0) throw std::bad_alloc();
}

[[nodiscard]] pid_t start_daemon(const ServedBus& served) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) std::abort();
    daemon::State state(daemon::Home(served.config), served.config, [](auto, const auto&) {});
    daemon::Durable durable(state);
    daemon::Server server(state, durable);
    own_new().act = &fail_when_due;
    own_new().acts_at = 1;
    shown->listens = true;
    static_cast<void>(server.run());
    ::_exit(0);
}

[[nodiscard]] base::File connect(const ServedBus& served) {
    int error = 0;
    return wire::connect_at(base::File::open_directory(served.directory()), wire::socket_file,
                            error);
}

enum class Reaction : std::uint8_t { answer, end, nothing };

template <class Request>
[[nodiscard]] Reaction ask(const base::File& socket, const Request& request) {
    int error = 0;
    const auto sent =
        wire::send_frame(socket, std::as_bytes(std::span(&request, 1)), {}, error);
    if (sent != wire::FrameEnd::whole) return Reaction::end;
    if (!wire::wait_readable(socket, std::chrono::steady_clock::now() + 10s))
        return Reaction::nothing;
    wire::Reply reply{};
    const auto got = wire::receive_frame(socket, std::as_writable_bytes(std::span(&reply, 1)),
                                         wire::Descriptors::accepted);
    return got.end == wire::FrameEnd::whole ? Reaction::answer : Reaction::end;
}

[[nodiscard]] Reaction say_hello(const base::File& socket, const char* name) {
    auto hello = wire::make_request<wire::HelloRequest>(wire::RequestType::hello, 1);
    hello.name.set(name);
    return ask(socket, hello);
}

}  // namespace

TEST_SUITE("durable") {

TEST_CASE("a request that no memory is left for ends its connection at most, and no other") {
    void* const memory = ::mmap(nullptr, sizeof(Shown), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    shown = new (memory) Shown;
    const ServedBus served;
    const pid_t child = start_daemon(served);
    REQUIRE(child >= 0);
    REQUIRE(wait_until([&] { return shown->listens.load(); }));
    const base::File stays = connect(served);
    REQUIRE(say_hello(stays, "stays") == Reaction::answer);
    const auto status = wire::make_request<wire::StatusRequest>(wire::RequestType::status, 1);
    // How many newcomers' connections are ended, when each allocation fails once: of the newcomer
    // at the door, or of one who is in and says hello.
    const auto ended = [&](bool is_in) {
        int count = 0;
        bool has_failed = true;
        // Ends: with the first allocation that is not made.
        for (std::uint64_t at = 1; has_failed; ++at) {
            REQUIRE(at < 1000);
            INFO("allocation ", at);
            if (!is_in) shown->fails_at = at;
            const base::File comes = connect(served);
            REQUIRE(comes);
            if (is_in) {
                REQUIRE(ask(comes, status) == Reaction::answer);
                shown->fails_at = at;
            }
            const Reaction told = say_hello(comes, "comes");
            has_failed = shown->fails_at.exchange(0) == 0;
            CHECK(told != Reaction::nothing);
            count += told == Reaction::end ? 1 : 0;
            REQUIRE(::waitpid(child, nullptr, WNOHANG) == 0);
            CHECK(ask(stays, status) == Reaction::answer);
        }
        return count;
    };
    // A sweep may come in between and meet the failure in its place: then once more.
    CHECK(wait_until([&] { return ended(false) != 0; }));
    CHECK(wait_until([&] { return ended(true) != 0; }));
    kill_process(child);
    ::munmap(memory, sizeof(Shown));
}

}

}  // namespace durable_tests
