// A lane of few records, its hands and its readers, as the models see them.
//
// The writer and the readers here do what Writer and Consumer do, call for call, over the same
// functions; a record is one unit, its payload a variable whose races the checker finds. Beside
// the lane stands an account that no thread of the model can read: what was published, handled,
// overwritten.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "relacy_atomics.h"

#include "lane/protocol.h"

namespace shmbus::test {

using A = RelacyAtomics;
template <class T>
using Word = RelacyWord<T>;
using lane::Hand;

// Logic mistakes that a model can be told to make; each must be caught.
enum class Mistake : std::uint8_t {
    none,
    no_help,          // the head moves on from a hand that still says TAKING
    hands_first,      // room: hands before head
    clear_early,      // the hand is let go of before the payload was read
    not_judged,       // adopters take every TAKING for a take that happened
    taker_forgotten,  // adopters compare the position in the head, not the hand
    same_sequence,    // adoption leaves the sequence as it was
    head_as_room,     // everything below the head may be overwritten
    ring_first,       // the bell is rung before the record is published
    no_look_around,   // a sleeper does not look again after its bit is set
};
inline Mistake& mistake() {
    static Mistake the_mistake = Mistake::none;
    return the_mistake;
}

inline constexpr std::uint64_t lane_id = 7;
inline constexpr std::uint64_t salt = std::uint64_t{1} << 63;

struct Account {
    std::array<unsigned, 8> handled{};  // times, by position
    std::array<bool, 8> marked{};       // the last time was a redelivery
    std::array<bool, 8> let_go{};       // its hand was cleared by one who knew it done
    std::array<unsigned, 4> holders{};  // who deliver from a hand at this moment
    unsigned published = 0;
};

template <unsigned capacity, unsigned hand_count>
struct World {
    Word<std::uint64_t> head;
    Word<std::uint64_t> reclaim;
    Word<std::uint32_t> wants_room;
    std::array<Word<std::uint64_t>, capacity> control;
    std::array<Word<std::uint64_t>, capacity> meta;
    std::array<rl::var<std::uint64_t>, capacity> payload;
    std::array<Hand<A>, hand_count> hands;
    Account account;
    std::uint64_t tail = 0;       // the writer's own
    std::uint64_t reclaimed = 0;  // the writer's own
    bool is_room_due = true;

    void watch() {
        head.watch();
        reclaim.watch();
        for (auto& word : control) word.watch();
        for (auto& word : meta) word.watch();
        for (auto& hand : hands) {
            hand.word.watch();
            hand.lane.watch();
            hand.from.watch();
            hand.end.watch();
            hand.cursor.watch();
        }
        for (auto& one : payload) one($) = 0;
    }

    static std::uint64_t value_at(std::uint64_t position) { return 100 + position; }

    // As Writer::claim, fill, Writer::commit.
    void fill_and_commit() {
        const std::uint64_t slot = tail % capacity;
        // What lies here is of the last lap: nobody may still need it.
        if (tail >= capacity) RL_ASSERT(account.let_go[tail - capacity]);
        payload[slot]($) = value_at(tail);
        meta[slot].store(value_at(tail), std::memory_order_relaxed);
        lane::publish(control[slot], salt, tail);
        ++tail;
        account.published = static_cast<unsigned>(tail);
    }
    [[nodiscard]] bool fits() const { return tail + 1 - reclaimed <= capacity; }
    void believe(std::uint64_t position) {
        if (position > reclaimed && position <= tail) reclaimed = position;
    }
    void look_for_room() { believe(reclaim.load(std::memory_order_acquire)); }
    void count_room_as_writer() { believe(counted()); }

    [[nodiscard]] std::uint64_t counted() const {
        if (mistake() == Mistake::head_as_room)
            return lane::position_in(head.load(std::memory_order_seq_cst));
        if (mistake() == Mistake::hands_first) return counted_hands_first();
        return lane::room<A>(head, hands, [] { return hand_count; }, lane_id);
    }
    // room() with a mistake, otherwise the same.
    [[nodiscard]] std::uint64_t counted_hands_first() const {
        std::uint64_t lowest = ~std::uint64_t{0};
        for (std::uint16_t i = 0; i < hand_count; ++i) {
            const Hand<A>& hand = hands[i];
            const std::uint64_t word = hand.word.load(std::memory_order_seq_cst);
            if (lane::state_in(word) == lane::HandState::idle) continue;
            lowest = std::min(lowest, hand.from.load(std::memory_order_acquire));
        }
        return std::min(lowest, lane::position_in(head.load(std::memory_order_seq_cst)));
    }

    [[nodiscard]] bool published(std::uint64_t position) const {
        return lane::is_published(control[position % capacity], salt, position);
    }

    // As Consumer::take_from: up to `limit` records into hand `index`. The number taken.
    unsigned take(std::uint16_t index, std::uint16_t owner, unsigned limit) {
        const std::uint64_t seen = head.load(std::memory_order_acquire);
        const std::uint64_t position = lane::position_in(seen);
        unsigned count = 0;
        std::array<std::uint64_t, 2> metas{};
        while (count < limit && !is_dead() && published(position + count)) {
            metas[count] = meta[(position + count) % capacity].load(std::memory_order_relaxed);
            ++count;
        }
        if (count == 0 || is_dead()) return 0;
        const std::uint16_t former = lane::hand_in(seen);
        if (former != index && mistake() != Mistake::no_help)
            lane::help(hands[former], lane_id, position);
        const lane::Span span{lane_id, position, position + count, count, 0};
        if (!lane::take<A>(head, seen, hands[index], index, owner, span) || is_dead()) return 0;
        for (unsigned i = 0; i < count; ++i) RL_ASSERT(metas[i] == value_at(position + i));
        return count;
    }

    // The handlers of what hand `index` holds and was not done yet, then its end: as the
    // dispatcher and Consumer::finish, which here always finds the room due, or never.
    void handle_and_finish(std::uint16_t index, bool adopted) {
        RL_ASSERT(account.holders[index] == 0);
        ++account.holders[index];
        handle(index, adopted);
        --account.holders[index];
    }
    void handle(std::uint16_t index, bool adopted) {
        Hand<A>& hand = hands[index];
        const std::uint64_t from = hand.from.load(std::memory_order_relaxed);
        const std::uint64_t end = hand.end.load(std::memory_order_relaxed);
        if (is_dead()) return;
        if (mistake() == Mistake::clear_early) clear_and_count(index, from, end);
        for (std::uint64_t at = from; at < end; ++at) {
            const auto entry = static_cast<std::uint32_t>(at - from);
            const bool done = lane::progress_of(hand, entry).done != 0;
            if (is_dead()) return;
            if (done) continue;
            const std::uint64_t found = payload[at % capacity]($);
            RL_ASSERT(found == value_at(at));
            RL_ASSERT(account.handled[at] == 0 || adopted);
            RL_ASSERT(!account.let_go[at]);
            ++account.handled[at];
            account.marked[at] = adopted;
            hand.cursor.store(lane::cursor_word(entry + 1, {}), std::memory_order_relaxed);
            if (is_dead()) return;
        }
        if (mistake() != Mistake::clear_early) clear_and_count(index, from, end);
    }
    void clear_and_count(std::uint16_t index, std::uint64_t from, std::uint64_t end) {
        for (std::uint64_t at = from; at < end; ++at) account.let_go[at] = true;
        lane::clear(hands[index]);
        if (!is_dead() && is_room_due) give_room_back();
    }
    void give_room_back() { lane::give_room(reclaim, counted()); }

    // As Consumer::adopt_hands_of for one hand. True when it is ours to deliver.
    bool adopt(std::uint16_t index, std::uint16_t dead, std::uint16_t me) {
        const std::uint64_t word = hands[index].word.load(std::memory_order_seq_cst);
        if (lane::state_in(word) == lane::HandState::idle || lane::owner_in(word) != dead)
            return false;
        return adopt_word(index, word, me) == lane::Verdict::adopted;
    }
    lane::Verdict adopt_word(std::uint16_t index, std::uint64_t word, std::uint16_t me) {
        if (mistake() == Mistake::same_sequence) return adopt_with_same_sequence(index, word, me);
        const auto read_head = [&](std::uint64_t) {
            const std::uint64_t there = head.load(std::memory_order_acquire);
            if (mistake() == Mistake::not_judged) return lane::head_word(end_of(index), index);
            if (mistake() == Mistake::taker_forgotten)
                return lane::head_word(lane::position_in(there), index);
            return there;
        };
        const lane::Verdict verdict = lane::adopt(hands[index], index, word, me, read_head);
        if (verdict == lane::Verdict::cleared) give_room_back();
        return verdict;
    }
    // adopt() of a TAKEN hand with a mistake, otherwise the same.
    lane::Verdict adopt_with_same_sequence(std::uint16_t index, std::uint64_t word,
                                           std::uint16_t me) {
        const std::uint64_t wanted =
            lane::hand_word(lane::sequence_in(word), me, lane::HandState::taken);
        return hands[index].word.compare_exchange(word, wanted, std::memory_order_seq_cst,
                                                  std::memory_order_relaxed)
                   ? lane::Verdict::adopted
                   : lane::Verdict::nothing;
    }
    [[nodiscard]] std::uint64_t end_of(std::uint16_t index) const {
        return hands[index].end.load(std::memory_order_relaxed);
    }

    // Nothing taken is lost, nothing was handled twice without a mark, all room is given back.
    void settle(bool room_was_counted) {
        const std::uint64_t taken = lane::position_in(head.load(std::memory_order_seq_cst));
        RL_ASSERT(taken <= account.published);
        for (std::uint64_t at = 0; at < account.handled.size(); ++at) {
            if (at < taken) RL_ASSERT(account.handled[at] >= 1);
            else RL_ASSERT(account.handled[at] == 0);
            RL_ASSERT(account.handled[at] <= 1 || account.marked[at]);
        }
        for (const auto& hand : hands)
            RL_ASSERT(lane::state_in(hand.word.load(std::memory_order_seq_cst)) ==
                      lane::HandState::idle);
        RL_ASSERT(counted() == taken);
        if (room_was_counted) RL_ASSERT(reclaim.load(std::memory_order_seq_cst) == taken);
    }
};

}  // namespace shmbus::test
