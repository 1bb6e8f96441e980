// One writer, one consumer, real files: records go in, come out, and give their room back.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "support/scene.h"

namespace shmbus::test {
namespace {

using namespace std::chrono_literals;

// A scene with a lane, its writer, and one consumer, all of this process.
struct Pair {
    explicit Pair(std::uint64_t capacity = 4096)
        : scene(capacity), file(scene.make_lane(5)), writer(file), view(*scene.inbox) {
        scene.make_participant(1);
        life = scene.live_as(1);
        slot = scene.admin->assign_consumer(1).value();
        consumer = scene.consume(slot, 1);
    }
    // Takes and handles everything; the numbers in order. A broken message counts as 0.
    std::vector<std::uint64_t> drain() {
        std::vector<std::uint64_t> numbers;
        while (lane::Batch* batch = consumer->take(64))
            handle(*consumer, *batch, [&](const std::optional<Cargo>& cargo, bool) {
                numbers.push_back(cargo ? cargo->number : 0);
            });
        return numbers;
    }

    Scene scene;
    base::File file;
    lane::Writer writer;
    lane::InboxView view;
    std::unique_ptr<base::Presence> life;
    std::uint16_t slot = 0;
    std::unique_ptr<lane::Consumer> consumer;
};

std::vector<std::uint64_t> numbers(std::uint64_t first, std::uint64_t last) {
    std::vector<std::uint64_t> all;
    for (std::uint64_t number = first; number <= last; ++number) all.push_back(number);
    return all;
}

TEST_SUITE("lane") {
TEST_CASE("what is sent arrives whole and in order, many laps around") {
    Pair pair;
    for (std::uint64_t lap = 0; lap < 200; ++lap) {
        for (std::uint64_t number = lap * 7 + 1; number <= lap * 7 + 7; ++number)
            REQUIRE(send(pair.writer, 1, number));
        CHECK(pair.drain() == numbers(lap * 7 + 1, lap * 7 + 7));
    }
    CHECK(pair.writer.tail() > 10 * 64);
}
TEST_CASE("what comes singly is taken once, though another consumer takes in between") {
    Pair pair;
    pair.scene.make_participant(2);
    const auto other_life = pair.scene.live_as(2);
    const auto other = pair.scene.consume(pair.scene.admin->assign_consumer(2).value(), 2);
    std::uint64_t next = 1;
    const auto send_next = [&] { REQUIRE(send(pair.writer, 1, next++)); };
    const auto other_takes_one = [&] {
        std::uint64_t number = 0;
        lane::Batch* const batch = other->take(1);
        REQUIRE(batch != nullptr);
        handle(*other, *batch, [&](const std::optional<Cargo>& cargo, bool) {
            number = cargo.value_or(Cargo{}).number;
        });
        return number;
    };
    // Up to two laps of the lane pass by the one that waits for its next message.
    for (const std::uint64_t taken_by_other : {1U, 2U, 63U, 64U, 65U, 128U}) {
        for (int alone = 0; alone < 3; ++alone) {
            send_next();
            CHECK(pair.drain() == numbers(next - 1, next - 1));
        }
        for (std::uint64_t i = 0; i < taken_by_other; ++i) {
            send_next();
            CHECK(other_takes_one() == next - 1);
        }
        CHECK(pair.drain().empty());
        // The place that the waiting one looks at holds a record, which is not its to take.
        send_next();
        send_next();
        CHECK(other_takes_one() == next - 2);
        CHECK(pair.drain() == numbers(next - 1, next - 1));
    }
}
TEST_CASE("records of every size up to the largest arrive whole across the end of the lane") {
    Pair pair;
    const std::uint32_t largest = static_cast<std::uint32_t>(pair.writer.most_units() * 64 - 16);
    std::uint64_t number = 0;
    for (std::uint32_t bytes = least_cargo; bytes <= largest; ++bytes) {
        ++number;
        REQUIRE(send(pair.writer, 1, number, bytes));
        const auto found = pair.drain();
        REQUIRE(found == numbers(number, number));
    }
    CHECK(pair.consumer->poisoned_lanes() == 0);
}
TEST_CASE("a full lane refuses a claim and leaves the tail where it was") {
    Pair pair;
    for (std::uint64_t number = 1; number <= 64; ++number) REQUIRE(send(pair.writer, 1, number));
    CHECK(pair.writer.tail() == 64);
    CHECK_FALSE(send(pair.writer, 1, 65));
    CHECK_FALSE(pair.writer.count_room(pair.view, 1));
    CHECK(pair.writer.tail() == 64);
    CHECK(pair.drain() == numbers(1, 64));
    CHECK(send(pair.writer, 1, 65));
    CHECK(pair.drain() == numbers(65, 65));
}
TEST_CASE("a lane with room for less than the record refuses that record and takes a smaller one") {
    Pair pair;
    for (std::uint64_t number = 1; number <= 62; ++number) REQUIRE(send(pair.writer, 1, number));
    CHECK_FALSE(send(pair.writer, 1, 63, 3 * 64 - 16));
    CHECK(send(pair.writer, 1, 63, 2 * 64 - 16));
    CHECK(pair.drain() == numbers(1, 63));
}
TEST_CASE("room that no reader has given back yet is found by the writer that counts") {
    Pair pair;
    for (std::uint64_t number = 1; number <= 64; ++number) REQUIRE(send(pair.writer, 1, number));
    lane::Batch* batch = pair.consumer->take(1);
    REQUIRE(batch != nullptr);
    handle(*pair.consumer, *batch, [](const std::optional<Cargo>&, bool) {});
    CHECK(pair.writer.count_room(pair.view, 1));
    CHECK(send(pair.writer, 1, 65));
    CHECK_FALSE(send(pair.writer, 1, 66));
}
TEST_CASE("a record that is held is not overwritten, the ones behind it not either") {
    Pair pair;
    for (std::uint64_t number = 1; number <= 64; ++number) REQUIRE(send(pair.writer, 1, number));
    lane::Batch* held = pair.consumer->take(1);
    REQUIRE(held != nullptr);
    for (std::uint64_t number = 2; number <= 64;) {
        lane::Batch* batch = pair.consumer->take(64);
        REQUIRE(batch != nullptr);
        handle(*pair.consumer, *batch, [&](const std::optional<Cargo>& cargo, bool) {
            CHECK(cargo.value_or(Cargo{}).number == number);
            ++number;
        });
    }
    CHECK_FALSE(pair.writer.count_room(pair.view, 1));
    const lane::Holder holder = lane::oldest_holder(pair.writer, pair.view);
    CHECK(holder.participant == 1);
    CHECK(holder.position == 0);
    CHECK(cargo_of(held->entry(0)).value_or(Cargo{}).number == 1);
    handle(*pair.consumer, *held, [](const std::optional<Cargo>&, bool) {});
    CHECK(pair.writer.count_room(pair.view, 64));
}
TEST_CASE("an abandoned loan leaves nothing behind, and the next record takes its place") {
    Pair pair;
    for (std::uint64_t lap = 0; lap < 100; ++lap) {
        const lane::Claim loan = pair.writer.claim(3);
        REQUIRE(loan);
        std::memset(loan.record, 0xA5, 3 * 64);
        CHECK(pair.drain().empty());
        REQUIRE(send(pair.writer, 1, lap + 1));
        CHECK(pair.drain() == numbers(lap + 1, lap + 1));
    }
}
TEST_CASE("bytes of the last lap that look like records are not taken for records") {
    Pair pair;
    const std::uint64_t salt = pair.writer.parts().identity().salt;
    // Every unit of a large record is given the control word that was valid there a lap ago.
    for (std::uint64_t lap = 0; lap < 20; ++lap) {
        const lane::Claim claim = pair.writer.claim(16);
        REQUIRE(claim);
        for (std::uint64_t unit = 1; unit < 16; ++unit) {
            const std::uint64_t word = wire::control_word(salt, claim.position + unit - 64);
            const std::uint64_t meta = wire::Meta{40, 1, 0, 0}.word();
            std::memcpy(claim.record + unit * 64, &word, sizeof(word));
            std::memcpy(claim.record + unit * 64 + 8, &meta, sizeof(meta));
        }
        // The loan is handed in for one unit only: what follows stays as it was scribbled.
        Cargo cargo{1, least_cargo, lap + 1, 0};
        cargo.check = cargo.sum();
        std::memcpy(claim.record + wire::head_bytes, &cargo, sizeof(cargo));
        pair.writer.commit(claim, wire::Meta{least_cargo, 1, 0, 0}.word());
        CHECK(pair.drain() == numbers(lap + 1, lap + 1));
    }
    CHECK(pair.consumer->poisoned_lanes() == 0);
}
TEST_CASE("a consumer with all its hands full takes nothing more until one is finished") {
    Pair pair;
    for (std::uint64_t number = 1; number <= lane::hands_each + 2; ++number)
        REQUIRE(send(pair.writer, 1, number));
    std::vector<lane::Batch*> held;
    for (std::uint32_t i = 0; i < lane::hands_each; ++i) {
        held.push_back(pair.consumer->take(1));
        REQUIRE(held.back() != nullptr);
    }
    CHECK(pair.consumer->take(1) == nullptr);
    handle(*pair.consumer, *held[2], [](const std::optional<Cargo>&, bool) {});
    lane::Batch* next = pair.consumer->take(1);
    REQUIRE(next != nullptr);
    CHECK(cargo_of(next->entry(0)).value_or(Cargo{}).number == lane::hands_each + 1);
}
TEST_CASE("a consumer with its hands full is not woken for messages that it cannot take") {
    Pair pair;
    for (std::uint64_t number = 1; number <= lane::hands_each + 2; ++number)
        REQUIRE(send(pair.writer, 1, number));
    std::vector<lane::Batch*> held;
    for (std::uint32_t i = 0; i < lane::hands_each; ++i) held.push_back(pair.consumer->take(1));
    std::atomic<bool> slept{false};
    std::thread sleeper([&] {
        for (int i = 0; i < 5; ++i) CHECK_FALSE(pair.consumer->sleep(20ms));
        slept = true;
    });
    // Among the sleepers it would be woken in the place of one who can take.
    std::uint64_t sleepers = 0;
    while (!slept) sleepers |= pair.view.doorbell().sleepers.load(std::memory_order_seq_cst);
    sleeper.join();
    CHECK(sleepers == 0);
    handle(*pair.consumer, *held[0], [](const std::optional<Cargo>&, bool) {});
    CHECK(pair.consumer->sleep(20ms));
}
TEST_CASE("a batch has one record at first, or as many as are there when all are asked for") {
    Pair pair;
    for (std::uint64_t number = 1; number <= 7; ++number) REQUIRE(send(pair.writer, 1, number));
    CHECK(pair.consumer->take(64)->count == 1);
    CHECK(pair.consumer->take_all(4)->count == 4);
    CHECK(pair.consumer->take_all(4)->count == 2);
    CHECK(pair.consumer->take_all(4) == nullptr);
}
TEST_CASE("a batch of records of several lines is short, but more than one record") {
    struct Expected {
        std::uint32_t lines;
        std::uint32_t records;
    };
    for (const Expected expected : {Expected{1, 64}, {2, 12}, {3, 8}, {5, 4}, {20, 4}}) {
        CAPTURE(expected.lines);
        Pair pair(131072);
        for (std::uint64_t number = 1; number <= 66; ++number)
            REQUIRE(send(pair.writer, 1, number, expected.lines * 64 - 16));
        const lane::Batch* const first = pair.consumer->take_all(64);
        REQUIRE(first != nullptr);
        CHECK(first->count == expected.records);
        const lane::Batch* const second = pair.consumer->take_all(2);
        REQUIRE(second != nullptr);
        CHECK(second->count == 2);
    }
}
TEST_CASE("a bell that rings between the look around and the sleep is not slept through") {
    Pair pair;
    const std::uint32_t seen = pair.consumer->rung();
    CHECK_FALSE(pair.consumer->sleep(1ms, seen));
    pair.scene.admin->ring_all();
    CHECK(pair.consumer->sleep(50ms, seen));
    CHECK_FALSE(pair.consumer->sleep(1ms));
}
TEST_CASE("a lane whose records are all taken is judged drained, otherwise not") {
    Pair pair;
    const lane::LaneParts daemon(pair.scene.open_lane(5), lane::LaneParts::Side::reader);
    CHECK(lane::is_drained(daemon));
    REQUIRE(send(pair.writer, 1, 1));
    CHECK_FALSE(lane::is_drained(daemon));
    lane::Batch* batch = pair.consumer->take(1);
    REQUIRE(batch != nullptr);
    CHECK(lane::is_drained(daemon));
    CHECK_FALSE(pair.scene.admin->in_nobodys_hand(5));
    handle(*pair.consumer, *batch, [](const std::optional<Cargo>&, bool) {});
    CHECK(pair.scene.admin->in_nobodys_hand(5));
    for (std::uint64_t number = 2; number <= 300; ++number) {
        REQUIRE(send(pair.writer, 1, number));
        CHECK_FALSE(lane::is_drained(daemon));
        pair.drain();
        CHECK(lane::is_drained(daemon));
    }
}
TEST_CASE("a successor is read when its predecessor is closed and drained, not before") {
    Pair pair;
    REQUIRE(send(pair.writer, 1, 1));
    lane::Writer next(pair.scene.make_lane(6, 5));
    REQUIRE(send(next, 1, 2));
    CHECK(pair.drain() == numbers(1, 1));
    CHECK(pair.consumer->anything_there() == false);
    pair.writer.close();
    REQUIRE(pair.consumer->anything_there());
    CHECK(pair.drain() == numbers(2, 2));
}
TEST_CASE("a thousand idle lanes do not hide a message in any one of them") {
    Pair pair;
    std::vector<std::unique_ptr<lane::Writer>> writers;
    for (std::uint64_t id = 100; id < 1100; ++id)
        writers.push_back(std::make_unique<lane::Writer>(pair.scene.make_lane(id)));
    for (const std::size_t chosen : {std::size_t{0}, std::size_t{499}, std::size_t{999}}) {
        REQUIRE(send(*writers[chosen], 1, chosen + 1));
        std::vector<std::uint64_t> found;
        // Bounded: the cold lanes are looked at two per take.
        for (int takes = 0; takes < 2000 && found.empty(); ++takes) found = pair.drain();
        CHECK(found == numbers(chosen + 1, chosen + 1));
        REQUIRE(send(*writers[999 - chosen], 1, 7));
        CHECK(pair.consumer->anything_there());
        CHECK(pair.drain() == numbers(7, 7));
    }
}
}

}  // namespace
}  // namespace shmbus::test
