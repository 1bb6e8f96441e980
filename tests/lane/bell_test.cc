// Who rings whom: consumers that leave messages behind, readers that make room.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "support/scene.h"

namespace shmbus::test {
namespace {

using namespace std::chrono_literals;

// Two consumers of one lane, in one process.
struct Two {
    Two() : writer(scene.make_lane(5)), view(*scene.inbox) {
        scene.make_participant(1);
        life = scene.live_as(1);
        for (std::uint16_t slot = 0; slot < 2; ++slot) {
            REQUIRE(scene.admin->assign_consumer(1) == slot);
            (slot == 0 ? first : second) = scene.consume(slot, 1);
        }
    }
    [[nodiscard]] std::uint32_t rings_of_second() const {
        return view.doorbell().bells[1].load(std::memory_order_seq_cst);
    }
    [[nodiscard]] bool second_is_asleep() const {
        return view.doorbell().sleepers.load(std::memory_order_seq_cst) == 2;
    }

    Scene scene;
    lane::Writer writer;
    lane::InboxView view;
    std::unique_ptr<base::Presence> life;
    std::unique_ptr<lane::Consumer> first, second;
};

TEST_SUITE("lane") {
TEST_CASE("who takes some and leaves others behind wakes one that sleeps") {
    Two two;
    REQUIRE(two.second->announce(false));
    CHECK(two.second_is_asleep());
    const std::uint32_t before = two.rings_of_second();
    // Written without a ring, as by a writer that was killed before it rang.
    for (std::uint64_t number = 1; number <= 3; ++number) REQUIRE(send(two.writer, 1, number));
    lane::Batch* batch = two.first->take(1);
    REQUIRE(batch != nullptr);
    CHECK(batch->count == 1);
    CHECK(two.rings_of_second() == before + 1);
    CHECK_FALSE(two.second_is_asleep());
}
TEST_CASE("who slept on its bell and was woken is not taken for asleep in place of another") {
    Two two;
    const auto& doorbell = two.view.doorbell();
    // The first has waited for its descriptor once; then it sleeps on its bell.
    REQUIRE(two.first->announce(true));
    CHECK(doorbell.by_descriptor.load(std::memory_order_seq_cst) == 1);
    two.first->withdraw();
    std::atomic<bool> sleeps{true};
    std::thread sleeper([&] {
        two.first->sleep(1h);
        sleeps = false;
    });
    // Rung by hand, as by a stop: its bit stays, and it is awake.
    REQUIRE(comes_true([&] { return doorbell.sleepers.load(std::memory_order_seq_cst) == 1; }));
    CHECK(doorbell.by_descriptor.load(std::memory_order_seq_cst) == 0);
    REQUIRE(comes_true([&] {
        base::wake(two.view.doorbell().bells[0], 1);
        return !sleeps;
    }));
    sleeper.join();
    REQUIRE(two.second->announce(false));
    REQUIRE(send(two.writer, 1, 1));
    lane::ring(two.view.doorbell(), true, nullptr);
    CHECK_FALSE(two.second_is_asleep());
}
TEST_CASE("who takes all there is wakes nobody") {
    Two two;
    REQUIRE(two.second->announce(false));
    const std::uint32_t before = two.rings_of_second();
    REQUIRE(send(two.writer, 1, 1));
    REQUIRE(two.first->take(1) != nullptr);
    CHECK(two.rings_of_second() == before);
    CHECK(two.second_is_asleep());
}
TEST_CASE("a writer that waits for room is rung when there is some") {
    Two two;
    for (std::uint64_t number = 1; number <= 64; ++number) REQUIRE(send(two.writer, 1, number));
    lane::Batch* batch = two.first->take(1);
    REQUIRE(batch != nullptr);
    std::atomic<bool> waits{true};
    const auto begin = std::chrono::steady_clock::now();
    std::thread waiting([&] {
        // Longer than the test has time for: it must be rung.
        two.writer.wait_for_room(two.view, 1, 1h);
        waits = false;
    });
    REQUIRE(comes_true([&] {
        return two.writer.parts().writer_page().wants_room.load(std::memory_order_seq_cst) == 1;
    }));
    two.first->finish(batch);
    const bool was_rung = comes_true([&] { return !waits; });
    CHECK(was_rung);
    // Should it not have been: let it go all the same.
    base::wake(two.writer.parts().reader_page().room_bell, 1);
    waiting.join();
    CHECK(std::chrono::steady_clock::now() - begin < limit);
    CHECK(send(two.writer, 1, 65));
}
}

}  // namespace
}  // namespace shmbus::test
