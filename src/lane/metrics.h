// What one consumer of an inbox counts and times: a block of the inbox's file, in shared memory,
// so that it is there for whoever looks, also when everybody is dead.
//
//   +----------+-----------+------------+----------+------------+--------------+-----------+
//   | counters | types[63] | processing | critical | queue wait | troubled[31] | lanes[15] |
//   +----------+-----------+------------+----------+------------+--------------+-----------+
//
// Behind the blocks of all places stand the same three histograms of single types: 15 rows for each
// place, of the types that have the rows with the same numbers in `types`. Behind them those of
// single lanes: 15 rows for each place, of the lanes whose ids stand in `timed_lanes`.
//
// Written by the consumer whose place it is, one after the other over the years; the numbers go on.
// The block is a hole in the file until its first message, a row of times until the first message
// of its type that somebody here handles, or the first time that is taken of its lane. The inbox
// of the journal has the daemon as its only consumer, and there the three histograms are:
// fdatasync, records a batch, bytes a batch.
//
// A histogram has 32 buckets an octave: a value is told to 1.6 %, up to 274 s in nanoseconds, and
// what is longer is in the last bucket. Log-linear as in HdrHistogram (Tene).
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "lane/layout.h"

#include <bit>

namespace shmbus::lane {

inline constexpr unsigned octave_bits = 5;
inline constexpr unsigned highest_bit = 37;
inline constexpr std::size_t buckets = (highest_bit - octave_bits + 2) << octave_bits;
static_assert(buckets == 1088);

[[nodiscard]] constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    if (value < (1U << octave_bits)) return value;
    if (value >> (highest_bit + 1) != 0) return buckets - 1;
    const unsigned octave = static_cast<unsigned>(std::bit_width(value)) - 1 - octave_bits;
    return (std::size_t{octave} << octave_bits) + (value >> octave);
}
// The smallest value in a bucket; the one of the bucket behind it is where it ends.
[[nodiscard]] constexpr std::uint64_t bucket_begin(std::size_t bucket) noexcept {
    if (bucket < (2U << octave_bits)) return bucket;
    const std::size_t octave = (bucket >> octave_bits) - 1;
    const std::uint64_t within = (bucket & ((1U << octave_bits) - 1)) + (1U << octave_bits);
    return within << octave;
}
static_assert(bucket_of(31) == 31 && bucket_of(32) == 32 && bucket_of(63) == 63);
static_assert(bucket_of(64) == 64 && bucket_of(65) == 64 && bucket_of(66) == 65);
static_assert(bucket_begin(64) == 64 && bucket_begin(65) == 66 && bucket_begin(96) == 128);
static_assert(bucket_of((std::uint64_t{2} << highest_bit) - 1) == buckets - 1);

// dropped: nobody here handles that type. bytes: the journal's, written. exhausted: of those that
// failed, those whose handler threw as often as it may; every other call that threw was made again.
enum class Counter : std::uint8_t {
    threw, redelivered, failed, dropped, wakeups, bytes, exhausted
};
inline constexpr std::size_t counters = 8;  // one to come
// The first of them are counted by type as well: a message that is just handled never meets them.
inline constexpr std::size_t troubles = 4;
enum class Timed : std::uint8_t { processing, critical, queue_wait };
// What the three are in the journal's inbox.
inline constexpr Timed journal_sync_ns = Timed::processing;
inline constexpr Timed journal_records = Timed::critical;  // a batch
inline constexpr Timed journal_bytes = Timed::queue_wait;  // a batch
inline constexpr std::size_t timed = 3;
inline constexpr std::size_t most_counted_types = 63;
inline constexpr std::size_t most_troubled_types = 31;
inline constexpr std::size_t most_timed_types = 15;  // the first of those that are counted
inline constexpr std::size_t most_timed_lanes = 15;

template <class A>
using TimesOf = std::array<std::array<typename A::template word<std::uint64_t>, buckets>, timed>;
using StdTimes = TimesOf<base::StdAtomics>;

template <class A>
struct MetricsBlock {
    struct TypeCount {
        typename A::template word<std::uint64_t> type;  // its index and 1; 0: no row
        typename A::template word<std::uint64_t> handled;
    };
    using Troubles = std::array<typename A::template word<std::uint64_t>, troubles>;
    struct TypeTrouble {
        typename A::template word<std::uint64_t> type;  // as above
        Troubles counts;
    };
    std::array<typename A::template word<std::uint64_t>, counters> counts;
    std::array<TypeCount, most_counted_types> types;
    typename A::template word<std::uint64_t> other_types;  // that found no row
    typename A::template word<std::uint64_t> spare;
    TimesOf<A> times;
    std::array<TypeTrouble, most_troubled_types> troubled;
    Troubles other_troubled;
    // Lane ids; 0: nobody's row. See README.md, "Times by lane".
    std::array<typename A::template word<std::uint64_t>, most_timed_lanes> timed_lanes;
};
using StdMetrics = MetricsBlock<base::StdAtomics>;

inline constexpr std::size_t metrics_bytes = 7 * page_bytes;
static_assert(offsetof(StdMetrics, times) == 1088 && offsetof(StdMetrics, troubled) == 27200 &&
              offsetof(StdMetrics, timed_lanes) == 28472 && sizeof(StdMetrics) == 28592 &&
              sizeof(StdMetrics) <= metrics_bytes);
[[nodiscard]] constexpr std::size_t metrics_at(std::uint16_t slot) noexcept {
    return inbox_bytes + std::size_t{slot} * metrics_bytes;
}

inline constexpr std::size_t times_bytes = 7 * page_bytes;  // of one row
static_assert(sizeof(StdTimes) <= times_bytes);
[[nodiscard]] constexpr std::size_t type_times_at(std::uint16_t slot, std::size_t row) noexcept {
    return metrics_at(most_consumers) +
           (std::size_t{slot} * most_timed_types + row) * times_bytes;
}
[[nodiscard]] constexpr std::size_t lane_times_at(std::uint16_t slot, std::size_t row) noexcept {
    return type_times_at(most_consumers, 0) +
           (std::size_t{slot} * most_timed_lanes + row) * times_bytes;
}
// Gives a row to this lane, empty, with the name that onlookers find it by. Killed before the end:
// it is nobody's, and emptied by who gives it next.
template <class A>
void name_row(typename A::template word<std::uint64_t>& name, TimesOf<A>& times,
              std::uint64_t lane_id) noexcept {
    // relaxed: the fence keeps what follows behind it.
    name.store(0, std::memory_order_relaxed);
    A::fence(std::memory_order_release);
    // relaxed: between the fence and the name.
    for (auto& histogram : times)
        for (auto& bucket : histogram) bucket.store(0, std::memory_order_relaxed);
    // NAMED: the row was emptied since it was another lane's. Other end: times_of_lane.
    name.store(lane_id, std::memory_order_release);
}

inline constexpr std::size_t inbox_file_bytes = lane_times_at(most_consumers, 0);

}  // namespace shmbus::lane
