// Who holds what: publish, take, clear, room, adopt. The protocols of the lane, on any atomics.
//
// Every function here may be cut off by the death of its process between any two operations; the
// comment at each says who repairs it. The library runs them on mapped files, the tests on a
// policy that kills before each operation and on a model checker's atomics. The README of this
// room has the table of edges named here in capitals.
#pragma once

#include "lane/layout.h"
#include "wire/record.h"

#include <atomic>

namespace shmbus::lane {

// Edges:
//   PUBLISHED  control word:  writer's payload and meta        -> reader that finds it valid
//   HELD       head CAS:      the hand's fields and its TAKING -> whoever reads head
//   FILLED     hand's fields: the clearing of the filling before -> whoever reads a field
//   CLEARED    hand's word:   last read of the payload         -> whoever counts the room
//   ROOM       reclaim CAS:   the counted hands                -> writer that overwrites
//   LISTED     cursor:        the list of all records' progress -> adopter that reads it

// Makes the record at `position` visible, with everything written before. Never undone; a writer
// that dies before has published nothing.
template <class Word>
[[gnu::always_inline]] inline void publish(Word& control, std::uint64_t salt,
                                           std::uint64_t position) noexcept {
    // PUBLISHED: meta, extensions and payload. Other end: is_published.
    control.store(wire::control_word(salt, position), std::memory_order_release);
}

template <class Word>
[[nodiscard, gnu::always_inline]] inline bool is_published(const Word& control,
                                                           std::uint64_t salt,
                                                           std::uint64_t position) noexcept {
    // PUBLISHED: from here the record is frozen. Other end: publish.
    return control.load(std::memory_order_acquire) == wire::control_word(salt, position);
}

// Marks the former taker's hand TAKEN on its behalf, if it still says TAKING for the batch that
// ends here. Must be done before the head moves on: afterwards nothing else would tell that its
// take happened. Comparing the whole word keeps a slow helper from touching a later filling.
template <class A>
void help(Hand<A>& former, std::uint64_t lane_id, std::uint64_t position) noexcept {
    // Acquire pairs with the store of TAKING: the fields below are of this filling or newer.
    std::uint64_t word = former.word.load(std::memory_order_acquire);
    if (state_in(word) != HandState::taking) return;
    // FILLED: fields of a later filling only make the comparisons fail; then its owner has cleared
    // the one before, and acquire passes that clear on to all who read the head we move.
    if (former.lane.load(std::memory_order_acquire) != lane_id) return;
    if (former.end.load(std::memory_order_acquire) != position) return;
    const std::uint64_t taken = hand_word(sequence_in(word), owner_in(word), HandState::taken);
    // HELD: carried on, for those who will read the head that moves after this.
    static_cast<void>(former.word.compare_exchange(word, taken, std::memory_order_acq_rel,
                                                   std::memory_order_relaxed));
}

struct Span {
    std::uint64_t lane_id;
    std::uint64_t from;
    std::uint64_t end;
    std::uint32_t count;
    std::uint64_t since;
};

// The words of a hand through one filling.
struct HandWords {
    std::uint64_t taking = 0;
    std::uint64_t taken = 0;
    std::uint64_t idle = 0;
};

// Fills the idle hand `mine` for the take of [span.from, span.end). Nobody else believes a word of
// it before the hand says TAKING: it may be filled long before the take, or once more.
template <class A>
[[nodiscard, gnu::always_inline]] inline HandWords fill(Hand<A>& mine, std::uint16_t owner,
                                                        const Span& span) noexcept {
    // CLEARED: by us, or by who had adopted it when our place was another's. Other end: clear.
    const std::uint64_t sequence =
        sequence_in(mine.word.load(std::memory_order_acquire)) + 1;
    // FILLED: whoever sees one of these has to see too that the filling before was cleared, or it
    // would believe the old word with the new fields. Other ends: held_by, help.
    mine.lane.store(span.lane_id, std::memory_order_release);
    mine.from.store(span.from, std::memory_order_release);
    mine.end.store(span.end, std::memory_order_release);
    // relaxed, the others: the store of TAKING and the CAS of the head carry them.
    mine.since.store(span.since, std::memory_order_relaxed);
    // The one behind the last that was counted, however often this is filled: a filling that was
    // not taken is counted by nobody, and its number may come again.
    const std::uint32_t filling =
        settled_filling_in(mine.settled.load(std::memory_order_relaxed)) + 1;
    mine.count.store(count_word(filling, span.count), std::memory_order_relaxed);
    mine.cursor.store(0, std::memory_order_relaxed);
    return {hand_word(sequence, owner, HandState::taking),
            hand_word(sequence, owner, HandState::taken),
            hand_word(sequence, owner, HandState::idle)};
}

// Takes what `mine` was filled with, published records that begin at the position of `head`;
// `head_behind` names their end and the hand. False: somebody else moved the head; nothing is held.
//   killed before the head moves   an adopter clears the hand: never happened
//   killed after                   an adopter finds it by head, or marked by a helper
template <class A>
[[nodiscard, gnu::always_inline]] inline bool take_filled(
    typename A::template word<std::uint64_t>& head_of_lane, std::uint64_t head,
    std::uint64_t head_behind, Hand<A>& mine, const HandWords& words) noexcept {
    // HELD: the fields, for helpers and adopters that read the word. Other ends: help, judge.
    mine.word.store(words.taking, std::memory_order_release);
    // HELD: the same for those who read the head. Other ends: room, judge. On failure nothing is
    // read but the fact.
    if (!head_of_lane.compare_exchange(head, head_behind, std::memory_order_acq_rel,
                                       std::memory_order_relaxed)) {
        // release, as in clear: an adopter goes on in the next filling.
        mine.word.store(words.idle, std::memory_order_release);
        return false;
    }
    // release: may already be done by a helper, with the same value.
    mine.word.store(words.taken, std::memory_order_release);
    return true;
}

// Both at once: takes [span.from, span.end) into the idle hand `mine`, whose index is `index`.
template <class A>
[[nodiscard]] bool take(typename A::template word<std::uint64_t>& head_of_lane,
                        std::uint64_t head, Hand<A>& mine, std::uint16_t index,
                        std::uint16_t owner, const Span& span) noexcept {
    const HandWords words = fill(mine, owner, span);
    return take_filled(head_of_lane, head, head_word(span.end, index), mine, words);
}

// Lets go of a hand whose records are all done. Killed before: an adopter finds all done, clears.
// A plain store, since it stands behind every message that is waited for: who wants to know what
// others see of it fences first, see room.
template <class A>
[[gnu::always_inline]] inline void clear(Hand<A>& mine) noexcept {
    // relaxed: the word of a TAKEN hand is its owner's.
    const std::uint64_t word = mine.word.load(std::memory_order_relaxed);
    // CLEARED: the last read of the payloads. Other ends: held_by, fill.
    mine.word.store(hand_word(sequence_in(word), owner_in(word), HandState::idle),
                    std::memory_order_release);
}

// Behind a clear: whether the lane's writer waits for room. `is_reached`: by the barrier of the one
// who wishes, which then pays for both.
template <class A, class Word>
[[nodiscard, gnu::always_inline]] inline bool is_room_wished(const Word& wants_room,
                                                             bool is_reached) noexcept {
    // WISHED: the clear stands before this look; for the compiler, where the barrier sees to the
    // processor. Other end: Writer::wait_for_room.
    if (is_reached) [[likely]] std::atomic_signal_fence(std::memory_order_seq_cst);
    else A::fence(std::memory_order_seq_cst);
    // relaxed: ordered by the above.
    return wants_room.load(std::memory_order_relaxed) != 0;
}

// Counts a filling whose records are all done, `messages` in all, once: who adopts it behind a
// death between here and clear finds it counted. Killed before: the adopter counts it.
template <class A>
[[gnu::always_inline]] inline void count_settled(Hand<A>& mine, std::uint64_t messages) noexcept {
    // relaxed, all: ours until it is cleared, and carried by CLEARED; others read it for display.
    const std::uint32_t filling = filling_in(mine.count.load(std::memory_order_relaxed));
    const std::uint64_t before = mine.settled.load(std::memory_order_relaxed);
    if (is_of_filling(before, filling)) [[unlikely]] return;
    mine.settled.store(settled_word(messages_in(before) + messages, filling),
                       std::memory_order_relaxed);
}

// What one hand holds back of a lane whose head was read as `head`, or `none`.
template <class A>
[[nodiscard]] std::uint64_t held_by(const Hand<A>& hand, std::uint16_t index,
                                    std::uint64_t lane_id, std::uint64_t head,
                                    std::uint64_t none) noexcept {
    // Ends: each turn that repeats means that the hand's owner has moved on to another filling.
    for (;;) {
        // CLEARED. Other end: clear.
        const std::uint64_t word = hand.word.load(std::memory_order_acquire);
        const HandState state = state_in(word);
        if (state == HandState::idle) return none;
        // FILLED: believed only if the word is the same afterwards. Other end: take.
        const std::uint64_t lane = hand.lane.load(std::memory_order_acquire);
        const std::uint64_t from = hand.from.load(std::memory_order_acquire);
        const std::uint64_t end = hand.end.load(std::memory_order_acquire);
        const std::uint64_t again = hand.word.load(std::memory_order_acquire);
        if (again != word) continue;
        if (lane != lane_id) return none;
        if (state == HandState::taking && head != head_word(end, index)) return none;
        return from;
    }
}

// The position below which the writer may overwrite: a pure function that anybody may compute.
// The head first, then every hand: a hand filled after the head was read holds later records.
// `count_hands` says how many hands there are, and is asked behind the head as well: a consumer
// that was counted only just before may have moved it.
template <class A, class Hands, class CountHands>
[[nodiscard]] std::uint64_t room(const typename A::template word<std::uint64_t>& head_of_lane,
                                 const Hands& hands, CountHands&& count_hands,
                                 std::uint64_t lane_id) noexcept {
    // seq_cst, behind the caller's clear if there was one: two who clear at the same time and then
    // count must not both miss the other's clearing. Of their fences one comes second, and the
    // looks behind it see what stands before the first: the cleared hand, and the head as its owner
    // moved it.
    A::fence(std::memory_order_seq_cst);
    // HELD. Other end: take.
    const std::uint64_t head = head_of_lane.load(std::memory_order_acquire);
    const std::uint32_t hands_used = count_hands();
    std::uint64_t lowest = position_in(head);
    for (std::uint32_t i = 0; i < hands_used; ++i) {
        const std::uint64_t from =
            held_by<A>(hands[i], static_cast<std::uint16_t>(i), lane_id, head, lowest);
        if (from < lowest) lowest = from;
    }
    return lowest;
}

// Raises `reclaim` to `position`; a late or mistaken smaller value changes nothing. Killed before:
// the room is counted again by the next who clears, buries, or waits for room.
template <class Word>
void give_room(Word& reclaim, std::uint64_t position) noexcept {
    // relaxed: only compared with.
    std::uint64_t known = reclaim.load(std::memory_order_relaxed);
    // Ends: each failure means that another one has raised it.
    while (known < position) {
        // ROOM: the payloads below are read for the last time. Other end: the writer's claim.
        if (reclaim.compare_exchange(known, position, std::memory_order_release,
                                     std::memory_order_relaxed))
            return;
    }
}

// How far record `index` of a hand is. Only its holder, or an adopter behind the proof of a death,
// may ask.
template <class A>
[[nodiscard]] Progress progress_of(const Hand<A>& hand, std::uint32_t index) noexcept {
    // LISTED. Other end: list_progress.
    const std::uint64_t cursor = hand.cursor.load(std::memory_order_acquire);
    // relaxed: only the holder of the hand writes; an adopter reads after the kernel has proved
    // that the holder is gone.
    if (cursor == progress_is_listed)
        return Progress::of(hand.progress[index].load(std::memory_order_relaxed));
    const std::uint64_t record = cursor >> 32;
    if (index < record) return all_done;
    return index == record ? Progress::of(static_cast<std::uint32_t>(cursor)) : Progress{};
}

// From here on the list tells of each of the hand's `count` records, which may then go on in any
// order. Killed before the last store: the cursor still tells.
template <class A>
void list_progress(Hand<A>& hand, std::uint32_t count) noexcept {
    // relaxed, here and below: ours.
    if (hand.cursor.load(std::memory_order_relaxed) == progress_is_listed) return;
    for (std::uint32_t i = 0; i < count; ++i)
        hand.progress[i].store(progress_of(hand, i).word(), std::memory_order_relaxed);
    // LISTED: the list, complete. Other end: progress_of, in an adopter.
    hand.cursor.store(progress_is_listed, std::memory_order_release);
}

enum class Verdict : std::uint8_t { nothing, adopted, cleared };

// Takes over the hand of an owner that was proved dead, whole: the hand stays where it is and
// belongs to `me` afterwards. `word` is its word as read before the death was proved. `head` reads
// the head of the hand's lane, which may be unknown (0 then). The adopter may die too: the hand is
// then found under its name.
//   nothing   it was idle, or another one was faster
//   adopted   the caller owns it and delivers what is not done
//   cleared   its take never happened; count the room
template <class A, class ReadHead>
[[nodiscard]] Verdict adopt(Hand<A>& hand, std::uint16_t index, std::uint64_t word,
                            std::uint16_t me, ReadHead&& read_head) noexcept {
    const HandState state = state_in(word);
    if (state == HandState::idle) return Verdict::nothing;
    bool happened = state == HandState::taken;
    if (!happened) {
        // The word before, the head now: had the head moved on from this hand's take, its helper
        // would have made the word TAKEN before, and the exchange below fails.
        // relaxed: the exchange below fails if these are of another filling.
        const std::uint64_t lane = hand.lane.load(std::memory_order_relaxed);
        const std::uint64_t end = hand.end.load(std::memory_order_relaxed);
        // HELD. Other end: take.
        happened = read_head(lane) == head_word(end, index);
    }
    // The sequence moves on: where the dead one's place was given to a new consumer, which adopts
    // under the same number, a third one must not take the adopted hand for the dead one's.
    const std::uint64_t sequence = sequence_in(word) + 1;
    const std::uint64_t wanted = happened ? hand_word(sequence, me, HandState::taken)
                                          : hand_word(sequence, owner_in(word), HandState::idle);
    // CLEARED, or HELD for those who look at the word: and all that its owner had stored is ours.
    if (!hand.word.compare_exchange(word, wanted, std::memory_order_acq_rel,
                                    std::memory_order_relaxed))
        return Verdict::nothing;
    return happened ? Verdict::adopted : Verdict::cleared;
}

}  // namespace shmbus::lane
