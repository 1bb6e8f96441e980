// The models: two or three threads on a lane of two records. Each is small enough that a few
// hundred thousand random schedules meet what matters in it; relacy_test.cc says what.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "world.h"

#include "lane/count.h"
#include "lane/doorbell.h"

namespace shmbus::test {

// What every model starts with.
template <class Model, unsigned threads, unsigned capacity = 2, unsigned hand_count = 2>
struct LaneModel : rl::test_suite<Model, threads> {
    World<capacity, hand_count> world;

    void prepare(unsigned records) {
        run().left.fill(Run::never);
        world.watch();
        for (unsigned i = 0; i < records; ++i) world.fill_and_commit();
    }
    // The writer until `records` are published or its patience ends.
    void write(unsigned records, unsigned patience) {
        while (world.tail < records && patience > 0) {
            --patience;
            if (!world.fits()) {
                if (rl::rand(2) == 0) world.look_for_room();
                else world.count_room_as_writer();
            }
            if (world.fits()) world.fill_and_commit();
        }
    }
    void read(std::uint16_t reader, unsigned patience, unsigned limit) {
        while (patience > 0 && !is_dead()) {
            --patience;
            if (world.take(reader, reader, 1 + (limit > 1 ? rl::rand(limit) : 0)) > 0)
                world.handle_and_finish(reader, false);
        }
    }
    // The thread may end before any of its first `operations`.
    static void may_die_within(unsigned operations) {
        run().left[rl::thread_index()] = 1 + rl::rand(operations);
    }
};

// One writer, one reader, the lane goes around.
struct OneReader : LaneModel<OneReader, 2> {
    void before() { prepare(0); }
    void thread(unsigned index) {
        if (index == 0) write(4, 10);
        else read(0, 8, 2);
    }
    void after() { world.settle(true); }
};

// The same with a writer that finds all room by itself: the fence of a reader that counts stands in
// for orders that are needed where it does not.
struct RoomNotDue : LaneModel<RoomNotDue, 2> {
    void before() {
        world.is_room_due = false;
        prepare(0);
    }
    void thread(unsigned index) {
        if (index == 0) write(4, 10);
        else read(0, 8, 2);
    }
    void after() {
        world.give_room_back();
        world.settle(true);
    }
};

// One writer, two readers who compete, help one another, fill their hands again.
struct TwoReaders : LaneModel<TwoReaders, 3> {
    void before() { prepare(2); }
    void thread(unsigned index) {
        if (index == 2) write(5, 8);
        else read(static_cast<std::uint16_t>(index), 4, 2);
    }
    void after() {
        world.give_room_back();
        world.settle(true);
    }
};

// Two readers finish at the same time: the second to count must find all the room.
struct TwoFinish : LaneModel<TwoFinish, 2> {
    void before() {
        prepare(2);
        RL_ASSERT(world.take(0, 0, 1) == 1 && world.take(1, 1, 1) == 1);
    }
    void thread(unsigned index) {
        world.handle_and_finish(static_cast<std::uint16_t>(index), false);
    }
    void after() { world.settle(true); }
};

// The same with the take before it.
struct TwoTakeAndFinish : LaneModel<TwoTakeAndFinish, 2> {
    void before() { prepare(2); }
    void thread(unsigned index) { read(static_cast<std::uint16_t>(index), 2, 1); }
    void after() { world.settle(true); }
};

// Reader 0 dies anywhere; reader 1 goes on; the third thread writes over what is free and
// takes over what the dead one held.
struct OneDies : LaneModel<OneDies, 3> {
    rl::atomic<unsigned> gone{0};

    void before() { prepare(2); }
    void thread(unsigned index) {
        if (index == 0) {
            may_die_within(40);
            read(0, 3, 2);
            // What the kernel does: it says so after everything that the dead one did.
            gone.store(1, rl::mo_release, $);
        } else if (index == 1) {
            read(1, 3, 2);
        } else {
            for (unsigned patience = 5; patience > 0; --patience) {
                write(4, 1);
                if (gone.load(rl::mo_acquire, $) != 0) rescue();
            }
        }
    }
    void rescue() {
        if (world.adopt(0, 0, 2)) world.handle_and_finish(0, true);
    }
    void after() {
        run().left.fill(Run::never);
        rescue();
        world.give_room_back();
        world.settle(true);
    }
};

// An adopter dies while it takes over the hand of a dead one; another one takes both over.
struct AdopterDies : LaneModel<AdopterDies, 2> {
    rl::atomic<unsigned> gone{0};

    void before() {
        prepare(2);
        RL_ASSERT(world.take(0, 3, 2) == 2);
    }
    void thread(unsigned index) {
        if (index == 0) {
            may_die_within(16);
            if (world.adopt(0, 3, 1) && !is_dead()) world.handle_and_finish(0, true);
            gone.store(1, rl::mo_release, $);
        } else {
            for (unsigned patience = 4; patience > 0; --patience) rescue();
        }
    }
    void rescue() {
        if (world.adopt(0, 3, 2) ||
            (gone.load(rl::mo_acquire, $) != 0 && world.adopt(0, 1, 2)))
            world.handle_and_finish(0, true);
    }
    void after() {
        run().left.fill(Run::never);
        rescue();
        world.give_room_back();
        world.settle(true);
    }
};

// The place of a dead consumer is given to a new one, which takes over what was left under its
// number, while a survivor that saw the old owner is about to do the same.
struct PlaceGivenAgain : LaneModel<PlaceGivenAgain, 2> {
    Word<std::uint64_t> place;

    void before() {
        prepare(2);
        place.watch();
        place.store(1, std::memory_order_relaxed);
        RL_ASSERT(world.take(0, 0, 1) == 1);
    }
    void thread(unsigned index) {
        if (index == 0) {
            // The survivor: the word, then the place, then the exchange.
            const std::uint64_t word = world.hands[0].word.load(std::memory_order_seq_cst);
            if (place.load(std::memory_order_acquire) != 1) return;
            if (world.adopt_word(0, word, 1) == lane::Verdict::adopted)
                world.handle_and_finish(0, true);
        } else {
            place.store(2, std::memory_order_release);
            if (world.adopt(0, 0, 0)) world.handle_and_finish(0, true);
        }
    }
    void after() {
        world.give_room_back();
        world.settle(true);
    }
};

// A dead consumer's place was given to a new one while a survivor delivers what was left in its
// hand: the new one fills that hand when the survivor has cleared it.
struct HandHandedBack : LaneModel<HandHandedBack, 3> {
    void before() {
        world.is_room_due = false;
        prepare(2);
        RL_ASSERT(world.take(0, 3, 1) == 1);
    }
    void thread(unsigned index) {
        if (index == 0) {
            for (unsigned patience = 6; patience > 0; --patience) {
                // As Consumer::idle_hand.
                const std::uint64_t word = world.hands[0].word.load(std::memory_order_relaxed);
                if (lane::state_in(word) != lane::HandState::idle) continue;
                if (world.take(0, 0, 1) > 0) world.handle_and_finish(0, false);
                return;
            }
        } else if (index == 1) {
            if (world.adopt(0, 3, 1)) world.handle_and_finish(0, true);
        } else {
            for (unsigned patience = 8; patience > 0 && world.tail < 3; --patience) {
                world.count_room_as_writer();
                if (world.fits()) world.fill_and_commit();
            }
        }
    }
    void after() {
        world.give_room_back();
        world.settle(true);
    }
};

// A writer begins to wait while two readers finish: it finds the room itself or is rung.
struct WriterWaits : LaneModel<WriterWaits, 3> {
    Word<std::uint32_t> bell;
    std::uint32_t rung = 0;
    bool slept = false;

    void before() {
        prepare(2);
        bell.watch();
        world.wants_room.watch();
        RL_ASSERT(world.take(0, 0, 1) == 1 && world.take(1, 1, 1) == 1);
    }
    void thread(unsigned index) {
        if (index == 2) return wait();
        // As Consumer::finish when no room is due.
        const auto hand = static_cast<std::uint16_t>(index);
        world.account.let_go[index] = true;
        lane::clear(world.hands[hand]);
        if (!lane::is_room_wished<A>(world.wants_room, false)) return;
        world.give_room_back();
        if (world.wants_room.load(std::memory_order_relaxed) != 0)
            bell.fetch_add(1, std::memory_order_release);
    }
    // As Writer::wait_for_room, which would sleep where this one returns.
    void wait() {
        rung = bell.load(std::memory_order_relaxed);
        world.wants_room.store(1, std::memory_order_seq_cst);
        world.look_for_room();
        if (!world.fits()) world.count_room_as_writer();
        slept = !world.fits();
    }
    void after() {
        RL_ASSERT(!slept || bell.load(std::memory_order_relaxed) != rung);
    }
};

// Sleepers of a doorbell, for wake() below: one model runs at a time.
inline std::array<bool, 2>& asleep() {
    static std::array<bool, 2> them{};
    return them;
}
inline std::array<const void*, 2>& bells() {
    static std::array<const void*, 2> them{};
    return them;
}
// The kernel's answer: how many slept on this word.
inline int wake(const Word<std::uint32_t>& bell, int) {
    for (std::size_t i = 0; i < bells().size(); ++i)
        if (bells()[i] == &bell && asleep()[i]) return 1;
    return 0;
}

// A record is published while two consumers fall asleep, in the mode without membarrier: one of
// them is awake or has been rung at the end.
struct FallAsleep : LaneModel<FallAsleep, 3> {
    lane::DoorbellPage<A> doorbell;
    std::array<std::uint32_t, 2> rung{};

    void before() {
        prepare(0);
        doorbell.sleepers.watch();
        for (unsigned i = 0; i < 2; ++i) {
            doorbell.bells[i].watch();
            bells()[i] = &doorbell.bells[i];
            asleep()[i] = false;
        }
    }
    void thread(unsigned index) {
        if (index < 2) return fall_asleep(index);
        if (mistake() == Mistake::ring_first) lane::ring(doorbell, true, nullptr);
        world.fill_and_commit();
        if (mistake() != Mistake::ring_first) lane::ring(doorbell, true, nullptr);
    }
    // As Consumer::sleep and announce, which would sleep where this one returns.
    void fall_asleep(unsigned index) {
        rung[index] = doorbell.bells[index].load(std::memory_order_acquire);
        doorbell.sleepers.fetch_or(std::uint64_t{1} << index, std::memory_order_seq_cst);
        A::fence(std::memory_order_seq_cst);
        if (mistake() != Mistake::no_look_around && world.published(0)) return;
        asleep()[index] = true;
        // Woken at once: what it was rung for must be there to be seen.
        if (doorbell.bells[index].load(std::memory_order_acquire) != rung[index])
            RL_ASSERT(world.published(0));
    }
    void after() {
        unsigned awake = 0;
        for (unsigned i = 0; i < 2; ++i)
            if (!asleep()[i] || doorbell.bells[i].load(std::memory_order_relaxed) != rung[i])
                ++awake;
        RL_ASSERT(awake > 0);
    }
};

// Somebody looks at the count of a lane while its writer makes one mark after the other.
struct Marks : rl::test_suite<Marks, 2> {
    lane::WriterPage<A> page;

    void before() {
        run().left.fill(Run::never);
        for (auto& mark : page.marks) {
            mark.position.watch();
            mark.messages.watch();
        }
    }
    void thread(unsigned index) {
        if (index == 0) {
            for (std::uint64_t position = 1; position <= 5; ++position)
                lane::set_mark(page, {position, position * 10});
            return;
        }
        std::uint64_t before = 0;
        for (int looks = 0; looks < 2; ++looks) {
            const lane::Counted seen = lane::last_mark(page);
            RL_ASSERT(seen.messages == seen.position * 10);
            RL_ASSERT(seen.position >= before);
            before = seen.position;
        }
    }
    void after() { RL_ASSERT(lane::last_mark(page).messages == 50); }
};

}  // namespace shmbus::test
