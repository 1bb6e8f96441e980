// Which messages share a sync: those that come while a batch as large as the last one is gathered.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>

#include <sys/mman.h>

#include "served_bus.h"
#include "worker.h"

namespace durable_tests {

using shmbus::Bus;

namespace {

// Shared with the daemon, which stops at the step that is asked for until it is let go.
struct Gate {
    std::atomic<const char*> at{nullptr};  // a literal: at the same place in both processes
    std::atomic<bool> is_reached{false};
    std::atomic<std::uint64_t> commits{0};

    static Gate& make() {
        void* const memory = ::mmap(nullptr, sizeof(Gate), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(memory != MAP_FAILED);
        return *new (memory) Gate;
    }
    ~Gate() = delete;  // lives as long as the test program

    void pass(const char* step) {
        if (std::strcmp(step, "committed") == 0) ++commits;
        for (const char* stop = at; stop != nullptr && std::strcmp(stop, step) == 0; stop = at)
            is_reached = true;
    }
    // `first` is sent and the daemon brought to the step, where it finds what `others` sends.
    template <class First, class Others>
    void stop_between(const char* step, First first, Others others) {
        is_reached = false;
        at = step;
        first();
        CHECK(wait_until([&] { return is_reached.load(); }));
        others();
        at = nullptr;
    }
};

void send(Bus& bus, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t number = from; number <= to; ++number)
        REQUIRE(bus.send(Work{number, 2 * number}));
}

Gate& serve_at_gate(ServedBus& served) {
    Gate& gate = Gate::make();
    served.at_step = [&gate](const char* name) { gate.pass(name); };
    served.serve();
    return gate;
}

// Work from 1 on; what follows the second is one batch: all of it is there when the daemon looks.
void send_batch_up_to(Bus& bus, Gate& gate, std::uint64_t last) {
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 1);
    gate.stop_between("to be committed", [&] { send(bus, 2, 2); }, [&] { send(bus, 3, last); });
    REQUIRE(bus.sync(20s));
}

}  // namespace

TEST_CASE("what comes while a batch smaller than the last one is gathered shares its sync") {
    ServedBus served;
    Gate& gate = serve_at_gate(served);
    Bus bus = served.open();
    send_batch_up_to(bus, gate, 12);
    const std::uint64_t before = gate.commits;
    gate.stop_between("collected", [&] { send(bus, 13, 13); }, [&] { send(bus, 14, 22); });
    REQUIRE(bus.sync(20s));
    CHECK(gate.commits == before + 1);
    Worker worker(bus);
    CHECK(handle_until(worker.endpoint, [&] { return worker.order.size() == 22; }));
    CHECK(worker.marked() == 0);
}

TEST_CASE("what is sent again while its batch is gathered is one message") {
    ServedBus served;
    Gate& gate = serve_at_gate(served);
    Bus bus = served.open();
    send_batch_up_to(bus, gate, 6);
    const auto send_named = [&](std::uint64_t number, std::uint64_t name) {
        shmbus::SendOptions options;
        options.id = {0xABC, name};
        REQUIRE(bus.send(Work{number, 2 * number}, options));
    };
    const std::uint64_t before = gate.commits;
    gate.stop_between(
        "collected",
        [&] {
            send_named(7, 1);
        },
        [&] {
            send_named(7, 1);
            send_named(8, 2);
            send_named(8, 2);
        });
    REQUIRE(bus.sync(20s));
    CHECK(gate.commits == before + 1);
    Worker worker(bus);
    send_numbers(bus, 9, 9);
    CHECK(handle_until(worker.endpoint, [&] { return worker.has_all(9); }));
    CHECK(worker.order.size() == 9);
}

TEST_CASE("a daemon that is killed while it gathers has lost nothing and doubles nothing") {
    ServedBus served;
    Gate& gate = serve_at_gate(served);
    Bus bus = served.open();
    send_batch_up_to(bus, gate, 12);
    SUBCASE("before its sync") {
        gate.stop_between("collected", [&] { send(bus, 13, 13); }, [&] {
            send(bus, 14, 22);
            gate.at = "to be committed";
            gate.is_reached = false;
            CHECK(wait_until([&] { return gate.is_reached.load(); }));
            served.kill_daemon();
        });
    }
    SUBCASE("behind its sync, before its receipts") {
        gate.stop_between("collected", [&] { send(bus, 13, 13); }, [&] {
            send(bus, 14, 22);
            gate.at = "committed";
            gate.is_reached = false;
            CHECK(wait_until([&] { return gate.is_reached.load(); }));
            served.kill_daemon();
        });
    }
    served.serve();
    REQUIRE(bus.sync(20s));
    Worker worker(bus);
    send_numbers(bus, 23, 23);
    CHECK(handle_until(worker.endpoint, [&] { return worker.has_all(23); }));
    CHECK(worker.order.size() == 23);
    CHECK(std::ranges::is_sorted(worker.order));
}

}  // namespace durable_tests
