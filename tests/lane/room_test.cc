// A writer that waits for room, and readers that let go of hands at that moment: with the kernel's
// barrier, where the writer may not ask for it, and where it does not reach the reader.
//
// Each in a child of its own, which an alarm ends when it waits for ever.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <csignal>

#include <ucontext.h>
#include <unistd.h>

#include "base/barrier.h"
#include "support/barrier_filter.h"
#include "support/scene.h"

namespace shmbus::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t narrow_lane = 5;
constexpr std::uint64_t narrow_units = 64;  // all that the lane has

// A lane that is full, its first message in a consumer's hand.
struct Full {
    Full() : writer(scene.make_lane(narrow_lane)), view(*scene.inbox) {
        scene.make_participant(1);
        life = scene.live_as(1);
        if (scene.admin->assign_consumer(1) != 0) throw std::runtime_error("no place");
        consumer = scene.consume(0, 1);
        for (std::uint64_t number = 1; number <= narrow_units; ++number)
            if (!send(writer, 1, number)) throw std::runtime_error("full too early");
        batch = consumer->take(1);
        if (batch == nullptr) throw std::runtime_error("nothing taken");
    }
    Scene scene;
    lane::Writer writer;
    lane::InboxView view;
    std::unique_ptr<base::Presence> life;
    std::unique_ptr<lane::Consumer> consumer;
    lane::Batch* batch = nullptr;
};

// How the kernel's barrier goes: told of in a signal, in whose handler the consumer has let go of
// its hand without having seen any wish, as one does whose clear was on its way until then.
struct AtBarrier {
    static inline Full* full = nullptr;
    static inline int asked = 0;
    static inline bool was_wished = false;

    static void handle(int, siginfo_t*, void* context) {
        ++asked;
        const auto& wish = full->writer.parts().writer_page().wants_room;
        was_wished = wish.load(std::memory_order_seq_cst) != 0;
        lane::clear(*full->batch->hand);
        auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
        registers.gregs[REG_RAX] = 0;
#elif defined(__aarch64__)
        registers.regs[0] = 0;
#else
#error "where does this machine keep what a system call answers?"
#endif
    }
};

// 0, or what was not so.
int wait_across_a_barrier() {
    ::alarm(30);
    Full full;
    if (!base::barrier_available()) return 0;  // then the next test is the one
    AtBarrier::full = &full;
    struct sigaction action {};
    action.sa_sigaction = AtBarrier::handle;
    action.sa_flags = SA_SIGINFO;
    if (::sigaction(SIGSYS, &action, nullptr) != 0) return 2;
    filter_barrier(SECCOMP_RET_TRAP);
    full.writer.wait_for_room(full.view, 1, 1h);  // nobody rings
    if (AtBarrier::asked != 1) return 3;
    if (!AtBarrier::was_wished) return 4;
    return send(full.writer, 1, narrow_units + 1) ? 0 : 5;
}

int wait_without_a_barrier() {
    ::alarm(30);
    Full full;
    deny_barrier();
    full.writer.wait_for_room(full.view, 1, 1h);  // nobody rings, and there is no room
    if (send(full.writer, 1, narrow_units + 1)) return 2;
    lane::clear(*full.batch->hand);
    full.writer.wait_for_room(full.view, 1, 1h);
    return send(full.writer, 1, narrow_units + 1) ? 0 : 3;
}

// Lets go of one message once the writer wishes for room: far less than what it gives unasked.
int read_unreached(Scene& scene) {
    ::alarm(30);
    deny_barrier();
    const lane::LaneParts parts(scene.open_lane(narrow_lane), lane::LaneParts::Side::reader);
    const auto is_wished = [&] {
        return parts.writer_page().wants_room.load(std::memory_order_seq_cst) == 1;
    };
    const auto life = scene.live_as(1);
    const auto consumer = scene.consume(0, 1);
    lane::Batch* const batch = consumer->take(1);
    if (batch == nullptr || !comes_true(is_wished)) return 2;
    handle(*consumer, *batch, [](const std::optional<Cargo>&, bool) {});
    return 0;
}

TEST_SUITE("lane") {
TEST_CASE("between its wish and its count a writer that waits for room passes the barrier") {
    CHECK(exited_with(Child(wait_across_a_barrier).reap(), 0));
}
TEST_CASE("a writer that may not ask for the barrier looks again by itself") {
    CHECK(exited_with(Child(wait_without_a_barrier).reap(), 0));
}
TEST_CASE("a reader that the barrier does not reach rings a writer that waits for room") {
    Scene scene;
    lane::Writer writer(scene.make_lane(narrow_lane));
    lane::InboxView view(*scene.inbox);
    scene.make_participant(1);
    REQUIRE(scene.admin->assign_consumer(1) == 0);
    for (std::uint64_t number = 1; number <= narrow_units; ++number)
        REQUIRE(send(writer, 1, number));
    Child reader([&] { return read_unreached(scene); });
    const auto begin = std::chrono::steady_clock::now();
    writer.wait_for_room(view, 1, limit);
    CHECK(std::chrono::steady_clock::now() - begin < limit);
    CHECK(exited_with(reader.reap(), 0));
    CHECK(send(writer, 1, narrow_units + 1));
}
}

}  // namespace
}  // namespace shmbus::test
