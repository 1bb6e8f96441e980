// The bytes of a lane file and of an inbox file. Both are versioned together.
//
// Templates over the atomics policy, so that the tests can put a step, or a model checker, behind
// every operation; sizes and offsets are asserted for the real one. Zeroed memory is an empty
// state everywhere but in the identity pages, where it means: not ready.
#pragma once

#include "base/atomics.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace shmbus::lane {

inline constexpr std::size_t page_bytes = 4096;
inline constexpr std::uint64_t lane_magic = 0x316e6c2d73756273U;   // "sbus-ln1"
inline constexpr std::uint64_t inbox_magic = 0x3178692d73756273U;  // "sbus-ix1"
inline constexpr std::uint32_t layout_major = 6;
inline constexpr std::uint32_t layout_minor = 0;

inline constexpr std::uint32_t most_consumers = 32;
inline constexpr std::uint32_t hands_each = 8;
inline constexpr std::uint32_t most_hands = most_consumers * hands_each;
inline constexpr std::uint32_t most_entries = 64;  // messages in one hand
inline constexpr std::uint32_t most_lanes = 4096;  // into one inbox
inline constexpr std::uint16_t no_hand = 0xFFFF;

// A lane file:
//
//   0        4096       8192        12288                       12288 + capacity
//   +--------+----------+-----------+---------------------------+
//   | who    | writer's | readers'  | data: records              |   mapped twice back to back
//   +--------+----------+-----------+---------------------------+
//   read-only  written by  written by   written by the writer
//   when ready its writer  consumers    alone
//
struct LaneIdentity {
    std::uint64_t magic;
    std::uint32_t major;
    std::uint32_t minor;
    std::uint64_t lane_id;       // 52 bits, never reused
    std::uint64_t salt;
    std::uint64_t capacity;      // bytes of data, a power of two
    std::uint64_t writer;        // participant reference
    std::uint64_t predecessor;   // lane to be drained before this one; 0: none
    std::uint32_t endpoint;      // index of the endpoint whose inbox this is
    std::uint32_t endpoint_generation;
    std::uint32_t writer_uid;
    std::uint32_t ready;         // stored last, with release
};
static_assert(sizeof(LaneIdentity) == 72 && offsetof(LaneIdentity, ready) == 68);

// Before `position` this lane has carried so many messages.
template <class A>
struct CountMark {
    typename A::template word<std::uint64_t> position;
    typename A::template word<std::uint64_t> messages;
};

template <class A>
struct WriterPage {
    // 1: no record will ever follow. Stored by the writer when it leaves.
    typename A::template word<std::uint32_t> closed;
    // 1: the writer waits for room; whoever gives some back rings `room_bell`.
    typename A::template word<std::uint32_t> wants_room;
    // Where the last record ends; valid once `closed` is 1.
    typename A::template word<std::uint64_t> end;
    // Threads of the writing process that wait for a receipt: see receipt.h.
    typename A::template word<std::uint32_t> wants_receipt;
    typename A::template word<std::uint32_t> spare;
    // Lanes out of the journal: the highest LSN up to the record that stands at this position, or
    // is about to, and up to the one before it. So a daemon that was killed leaves behind what the
    // lane has carried even when everything in it was handled: see Writer::note_lsn.
    typename A::template word<std::uint64_t> lsn_before;
    typename A::template word<std::uint64_t> lsn_at;
    typename A::template word<std::uint64_t> lsn;
    // How many messages stood below a position, now and then: see count.h. In a line of its own,
    // which readers of the lane do not look at.
    alignas(128) std::array<CountMark<A>, 2> marks;
    // What did not get in, and how often the writer had to wait. Written by the writer alone.
    typename A::template word<std::uint64_t> refused;
    typename A::template word<std::uint64_t> dropped_newest;
    typename A::template word<std::uint64_t> dropped_oldest;
    typename A::template word<std::uint64_t> waits;
};

template <class A>
struct ReaderPage {
    // {position:48, hand:16}: everything below is taken; the hand that took last.
    alignas(128) typename A::template word<std::uint64_t> head;
    // Everything below may be overwritten. Only grows.
    alignas(128) typename A::template word<std::uint64_t> reclaim;
    // Futex word of the writer that waits for room.
    typename A::template word<std::uint32_t> room_bell;
    // 1: a reader found something here that cannot be; nobody reads this lane any more.
    typename A::template word<std::uint32_t> poisoned;
    // Lanes into the journal: everything below is on disk; and its futex word. See receipt.h.
    alignas(128) typename A::template word<std::uint64_t> receipt;
    typename A::template word<std::uint32_t> receipt_bell;
};

inline constexpr std::size_t writer_page_at = page_bytes;
inline constexpr std::size_t reader_page_at = 2 * page_bytes;
inline constexpr std::size_t data_at = 3 * page_bytes;

// The head word: who took last decides, after a death, which take happened.
[[nodiscard]] constexpr std::uint64_t head_word(std::uint64_t position, std::uint16_t hand) {
    return position << 16 | hand;
}
[[nodiscard]] constexpr std::uint64_t position_in(std::uint64_t head) { return head >> 16; }
[[nodiscard]] constexpr std::uint16_t hand_in(std::uint64_t head) {
    return static_cast<std::uint16_t>(head);
}

// What a consumer holds: messages [from, end) of one lane. Six cache lines: processors fetch
// lines in pairs, so what two processes write stands 128 bytes apart, here and above.
//
//   IDLE --take--> TAKING --head moved--> TAKEN --all done--> IDLE
//                    |  lost the head                 adopted: owner changes, still TAKEN
//                    +-----------> IDLE
//
//   word    {sequence:44, owner:16, state:4}: compared whole, so no two fillings look alike
//   fields  stored by the owner before TAKING; frozen until IDLE, save how far the batch is; an
//           adopter sets `since` and `signal`
enum class HandState : std::uint8_t { idle = 0, taking = 1, taken = 2 };

template <class A>
struct Hand {
    alignas(128) typename A::template word<std::uint64_t> word;
    typename A::template word<std::uint64_t> lane;    // lane id
    typename A::template word<std::uint64_t> from;
    typename A::template word<std::uint64_t> end;
    // base::ticks() of the take, or of the adoption: since when its owner has it, for display.
    typename A::template word<std::uint64_t> since;
    // {filling:24, records:8}: the records in [from, end), at most 64; and the number of this
    // filling, by which `settled` tells whether it was counted.
    typename A::template word<std::uint32_t> count;
    typename A::template word<std::uint32_t> signal;  // of the last holder's death, if learnt
    // How far the batch is, as long as its records are handled one after the other and nothing
    // goes wrong: {record:32, its progress:32}. Those before it are done, those behind it untried.
    // `progress_is_listed`: the list below tells instead, and is empty words until then.
    typename A::template word<std::uint64_t> cursor;
    // {messages:44, filling:20}: so many were settled in this hand, that filling's included.
    typename A::template word<std::uint64_t> settled;
    // Per record {done:16, failures:8, starts:8}: messages of it that are handled (a packed
    // record has many), handler calls that threw, calls begun and not ended: deaths.
    alignas(64) std::array<typename A::template word<std::uint32_t>, most_entries> progress;
};

[[nodiscard]] constexpr std::uint64_t hand_word(std::uint64_t sequence, std::uint16_t owner,
                                                HandState state) {
    return sequence << 20 | std::uint64_t{owner} << 4 | static_cast<std::uint64_t>(state);
}
[[nodiscard]] constexpr std::uint64_t sequence_in(std::uint64_t word) { return word >> 20; }
[[nodiscard]] constexpr std::uint16_t owner_in(std::uint64_t word) {
    return static_cast<std::uint16_t>(word >> 4);
}
[[nodiscard]] constexpr HandState state_in(std::uint64_t word) {
    return static_cast<HandState>(word & 0xFU);
}

struct Progress {
    std::uint16_t done = 0;
    std::uint8_t failures = 0;
    std::uint8_t starts = 0;
    [[nodiscard]] constexpr std::uint32_t word() const {
        return done | std::uint32_t{failures} << 16 | std::uint32_t{starts} << 24;
    }
    [[nodiscard]] static constexpr Progress of(std::uint32_t word) {
        return {static_cast<std::uint16_t>(word), static_cast<std::uint8_t>(word >> 16),
                static_cast<std::uint8_t>(word >> 24)};
    }
};

[[nodiscard]] constexpr std::uint32_t count_word(std::uint32_t filling, std::uint32_t records) {
    return filling << 8 | records;
}
[[nodiscard]] constexpr std::uint32_t records_in(std::uint32_t count) { return count & 0xFFU; }
[[nodiscard]] constexpr std::uint32_t filling_in(std::uint32_t count) { return count >> 8; }
[[nodiscard]] constexpr std::uint64_t settled_word(std::uint64_t messages, std::uint32_t filling) {
    return messages << 20 | (filling & 0xFFFFFU);
}
[[nodiscard]] constexpr std::uint64_t messages_in(std::uint64_t settled) { return settled >> 20; }
[[nodiscard]] constexpr std::uint32_t settled_filling_in(std::uint64_t settled) {
    return static_cast<std::uint32_t>(settled & 0xFFFFFU);
}
[[nodiscard]] constexpr bool is_of_filling(std::uint64_t settled, std::uint32_t filling) {
    return settled_filling_in(settled) == (filling & 0xFFFFFU);
}

// What the cursor of a hand says when the list tells how far each record is.
inline constexpr std::uint64_t progress_is_listed = ~std::uint64_t{0};
[[nodiscard]] constexpr std::uint64_t cursor_word(std::uint32_t record, Progress progress) {
    return std::uint64_t{record} << 32 | progress.word();
}
// More than any record has: it is done, however many messages it is.
inline constexpr Progress all_done{0xFFFF, 0, 0};

// An inbox file:
//
//   0        4096       8192        12288         45056           143360
//   +--------+----------+-----------+-------------+---------------+----------------------+
//   | who    | doorbell | consumers | lanes[4096] | hands[32 x 8] | metrics[32]          |
//   +--------+----------+-----------+-------------+---------------+----------------------+
//   read-only  senders    daemon      daemon        consumers       each consumer its own;
//                                                                   a hole in the file until then
//
struct InboxIdentity {
    std::uint64_t magic;
    std::uint32_t major;
    std::uint32_t minor;
    std::uint32_t endpoint;
    std::uint32_t endpoint_generation;
    std::uint64_t bus_high;  // the bus's uuid
    std::uint64_t bus_low;
    std::uint32_t spare;
    std::uint32_t ready;     // stored last, with release
};
static_assert(sizeof(InboxIdentity) == 48);

template <class A>
struct DoorbellPage {
    // A bit per consumer that sleeps or is about to. A waker clears the bit of the one it wakes.
    alignas(64) typename A::template word<std::uint64_t> sleepers;
    // Bits of those consumers that wait for a descriptor: ring their socket as well.
    typename A::template word<std::uint64_t> by_descriptor;
    // Futex words, one per consumer.
    alignas(64) std::array<typename A::template word<std::uint32_t>, most_consumers> bells;
};

template <class A>
struct ConsumersPage {
    // Moves after each change of the lanes or the consumers below.
    alignas(64) typename A::template word<std::uint64_t> version;
    typename A::template word<std::uint32_t> lanes_used;      // slots ever used: scan no further
    typename A::template word<std::uint32_t> consumers_used;  // same
    // Participant references; 0: free.
    alignas(64) std::array<typename A::template word<std::uint64_t>, most_consumers> consumers;
    // What did not get in through lanes that are gone: see InboxAdmin::keep_account.
    alignas(64) typename A::template word<std::uint64_t> kept_lane;
    std::array<typename A::template word<std::uint64_t>, 4> kept_before;
    std::array<typename A::template word<std::uint64_t>, 4> kept;  // in the order of WriterPage
    // What they have carried, in units of 64 bytes.
    typename A::template word<std::uint64_t> kept_units_before;
    typename A::template word<std::uint64_t> kept_units;
    // Records for this endpoint in the journal and in no lane yet, as the daemon knew last.
    typename A::template word<std::uint64_t> on_disk;
};

inline constexpr std::size_t doorbell_page_at = page_bytes;
inline constexpr std::size_t consumers_page_at = 2 * page_bytes;
inline constexpr std::size_t lane_table_at = 3 * page_bytes;
inline constexpr std::size_t hands_at = lane_table_at + most_lanes * 8;

using StdHand = Hand<base::StdAtomics>;
using StdWriterPage = WriterPage<base::StdAtomics>;
using StdReaderPage = ReaderPage<base::StdAtomics>;
using StdDoorbell = DoorbellPage<base::StdAtomics>;
using StdConsumers = ConsumersPage<base::StdAtomics>;
using LaneTable = std::array<base::StdAtomics::word<std::uint64_t>, most_lanes>;
using StdHands = std::array<StdHand, most_hands>;

static_assert(sizeof(StdHand) == 384 && offsetof(StdHand, cursor) == 48 &&
              offsetof(StdHand, settled) == 56 && offsetof(StdHand, progress) == 64);
static_assert(sizeof(StdReaderPage) == 384 && offsetof(StdReaderPage, reclaim) == 128);
static_assert(offsetof(StdReaderPage, receipt) == 256);
static_assert(offsetof(StdWriterPage, wants_room) == 4 && offsetof(StdWriterPage, end) == 8);
static_assert(offsetof(StdWriterPage, lsn_before) == 24 &&
              offsetof(StdWriterPage, marks) == 128 && sizeof(StdWriterPage) == 256);
static_assert(offsetof(StdConsumers, kept_lane) == 320 &&
              offsetof(StdConsumers, kept_units) == 400 &&
              offsetof(StdConsumers, on_disk) == 408);
static_assert(sizeof(StdDoorbell) <= page_bytes && sizeof(StdConsumers) <= page_bytes);
static_assert(hands_at % page_bytes == 0 && sizeof(StdHands) % page_bytes == 0);

inline constexpr std::size_t inbox_bytes = hands_at + sizeof(StdHands);
static_assert(inbox_bytes == 143360);

}  // namespace shmbus::lane
