// The bytes on disk: heads of segments and records, their sums, and when a batch is valid.
//
// FORMAT.md draws every byte and works an example; format_test.cc checks both. Used by the
// journal's thread and by whoever reads its files. What is read from a disk is checked here, once.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "base/bytes.h"

namespace shmbus::journal {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

inline constexpr std::uint32_t format_version = 1;
inline constexpr std::uint64_t block_bytes = 4096;
inline constexpr std::uint64_t first_batch_offset = block_bytes;

template <class T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::span<const std::byte> bytes_of(const T& value) noexcept {
    return std::as_bytes(std::span(&value, 1));
}
template <class T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] T read_as(std::span<const std::byte> bytes, std::uint64_t offset = 0) noexcept {
    T value{};
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

// Where the log stood: behind the batch that ends at `offset` of segment `number`.
struct Place {
    std::uint64_t number = 0;
    std::uint64_t offset = 0;
    std::uint64_t lsn = 0;  // of the last record before
    std::uint32_t chain = 0;
    std::uint32_t zero = 0;
    friend bool operator==(const Place&, const Place&) = default;
};
static_assert(sizeof(Place) == 32);

// First block of a segment's file and, as a copy, its last: without the salt no record can be
// checked. Written before the file gets its name, then frozen.
//
//   0       8         12      16           24       32          40     48           4092
//   +-------+---------+-------+------------+--------+-----------+------+------- - --+-----+
//   | magic | version | shape | journal_id | number | covers_to | salt | file_bytes,| sum |
//   |       |         |       |            |        |           |      | rest       |     |
//   +-------+---------+-------+------------+--------+-----------+------+------- - --+-----+
struct SegmentHead {
    enum class Shape : std::uint32_t { plain = 1, merged = 2 };
    static constexpr std::uint64_t right_magic = 0x314C4E524A424D53;  // "SMBJRNL1"

    std::uint64_t magic = right_magic;
    std::uint32_t version = format_version;
    Shape shape = Shape::plain;
    std::uint64_t journal_id = 0;
    std::uint64_t number = 0;
    std::uint64_t covers_to = 0;  // the last segment that this file stands for; plain: number
    std::uint64_t salt = 0;
    std::uint64_t file_bytes = 0;
    // Of merged ones only; plain ones carry this in their records.
    Place previous;                 // what the first of the merged segments followed
    Place end;                      // as the successor names the last of the merged segments
    std::uint64_t content_end = 0;  // of this file
    std::uint64_t record_count = 0;
};
static_assert(sizeof(SegmentHead) == 136 && std::is_trivially_copyable_v<SegmentHead>);

// What a record is. Numbers are for ever.
enum class Kind : std::uint8_t {
    begin = 1,        // of a segment: what it follows. Takes no LSN.
    publish = 2,      // a message, once for all its receivers
    acknowledge = 3,  // what an endpoint has settled, all of it
    item = 4,         // a thing the daemon wants to find again, by type and key
    erase = 5,        // and no more
    audience = 6,     // a set of endpoints that messages are published to
    forget = 7,       // an endpoint is gone for good
    up_to = 8,        // how far incoming lanes have been consumed
    lane_gone = 9,    // an incoming lane will bring nothing new
    loss = 10,        // an operator has accepted that these LSNs are lost
    batch_end = 11,   // the records since the last one count. Takes no LSN.
};

enum RecordFlag : std::uint8_t {
    keep_id = 1,  // publish: remember the id for the window of duplicates
};

// Head of a record; the payload follows, filled with zeros to a multiple of 8.
//
//   0        4           8   16            20   21    22   24     28       32    40
//   +--------+-----------+---+-------------+----+-----+----+------+--------+-----+------+
//   |head_sum|payload_sum|lsn|payload_bytes|kind|flags|type|number|sequence|first|second|
//   +--------+-----------+---+-------------+----+-----+----+------+--------+-----+------+
//   head_sum covers bytes 4 to 47, payload_sum the payload and its filling; both are seeded with
//   journal id, segment number, salt and the record's offset, so bytes out of place are no record.
struct RecordHead {
    std::uint32_t head_sum = 0;
    std::uint32_t payload_sum = 0;
    std::uint64_t lsn = 0;  // dense over the whole journal; begin and batch_end: of the last one
    std::uint32_t payload_bytes = 0;
    Kind kind{};
    std::uint8_t flags = 0;
    std::uint16_t type = 0;      // publish: message type; item, erase: the daemon's sort of thing
    std::uint32_t number = 0;    // publish, audience: the audience; batch_end: records
    std::uint32_t sequence = 0;  // publish: dense per audience, tells whose messages a hole took
    std::uint64_t first = 0;     // publish: id; acknowledge, forget: endpoint; item, erase: key;
    std::uint64_t second = 0;    // publish: id; acknowledge: all settled up to here; loss: last LSN
};
static_assert(sizeof(RecordHead) == 48 && offsetof(RecordHead, number) == 24 &&
              offsetof(RecordHead, second) == 40);

[[nodiscard]] constexpr bool takes_lsn(const RecordHead& head) noexcept {
    return head.kind != Kind::begin && head.kind != Kind::batch_end;
}
// Whether it may stand behind the record with this LSN; in a merged segment numbers are left out.
[[nodiscard]] constexpr bool may_follow(const RecordHead& head, std::uint64_t lsn) noexcept {
    return takes_lsn(head) ? head.lsn > lsn : head.lsn >= lsn;
}

// Payload of batch_end, followed by zeros to the next block's border.
struct BatchEnd {
    std::uint64_t first_lsn = 0;
    std::uint64_t durable_before = 0;  // highest LSN known to be synced when this was written
    std::uint32_t previous_chain = 0;
    std::uint32_t chain = 0;  // sum of previous_chain and the head_sums of the batch
    std::uint64_t begin_offset = 0;
    // By the journal's own clock: since 1970 when it was made, and on while it is open.
    std::uint64_t seconds = 0;
};
static_assert(sizeof(BatchEnd) == 40);

// Payload of begin.
struct SegmentBegin {
    enum class Why : std::uint32_t { full = 1, failed = 2, recovered = 3, first = 4 };
    Place previous;  // everything behind it in its file is void
    Why why = Why::first;
    std::uint32_t zero = 0;
};
static_assert(sizeof(SegmentBegin) == 40);

inline constexpr std::uint64_t begin_bytes = sizeof(RecordHead) + sizeof(SegmentBegin);
inline constexpr std::uint64_t least_end_bytes = sizeof(RecordHead) + sizeof(BatchEnd);

[[nodiscard]] constexpr std::uint64_t padded(std::uint64_t payload_bytes) noexcept {
    return base::round_up(payload_bytes, 8U);
}
[[nodiscard]] constexpr std::uint64_t record_bytes(std::uint64_t payload_bytes) noexcept {
    return sizeof(RecordHead) + padded(payload_bytes);
}
// Offset behind the record whose head stands at `offset`.
[[nodiscard]] constexpr std::uint64_t end_of(std::uint64_t offset,
                                             const RecordHead& head) noexcept {
    return offset + record_bytes(head.payload_bytes);
}

// Seeds the sums of one segment.
class Seed {
public:
    Seed() noexcept = default;
    Seed(std::uint64_t journal_id, std::uint64_t number, std::uint64_t salt) noexcept;
    [[nodiscard]] std::uint32_t at(std::uint64_t offset) const noexcept;

private:
    std::uint32_t base_ = 0;
};

// Sums of a record whose head stands at `offset` of its file; `payload` with its filling.
[[nodiscard]] std::uint32_t payload_sum(const Seed& seed, std::uint64_t offset,
                                        std::span<const std::byte> payload) noexcept;
[[nodiscard]] std::uint32_t head_sum(const Seed& seed, std::uint64_t offset,
                                     const RecordHead& head) noexcept;
[[nodiscard]] std::uint32_t continue_chain(std::uint32_t chain, const RecordHead& head) noexcept;

// A stretch of a segment's file in memory.
struct Stretch {
    Seed seed;
    std::span<const std::byte> bytes;
    std::uint64_t begin = 0;  // offset of bytes[0] in the file
    [[nodiscard]] std::uint64_t end() const noexcept { return begin + bytes.size(); }
};

// The head at `offset`, if one stands there: valid if and only if the offset is a multiple of 8
// in the stretch with room for a head, its sum is right and its kind is known.
[[nodiscard]] std::optional<RecordHead> head_at(const Stretch& stretch,
                                                std::uint64_t offset) noexcept;
// The payload with its filling lies in the stretch and its sum is right.
[[nodiscard]] bool payload_is_right(const Stretch& stretch, std::uint64_t offset,
                                    const RecordHead& head) noexcept;
// Without its filling; only after payload_is_right.
[[nodiscard]] std::span<const std::byte> payload_at(const Stretch& stretch, std::uint64_t offset,
                                                    const RecordHead& head) noexcept;

enum class Numbering : std::uint8_t { dense, rising };

struct Batch {
    bool valid = false;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;  // valid: offset behind it
    std::uint64_t first_lsn = 0;
    std::uint64_t last_lsn = 0;
    std::uint32_t count = 0;
    std::uint32_t chain = 0;
    BatchEnd tail;
    // Not valid: the first record that is not right, and the LSN that it should have had.
    std::uint64_t wrong_offset = 0;
    std::uint64_t wrong_lsn = 0;
    bool is_cut_off = false;  // that record reaches over the end of the stretch
    std::string why;
};

// The batch that begins at `offset` behind `before_lsn`; FORMAT.md has the rule. The chain is
// compared by the caller, who may have lost it in a hole.
[[nodiscard]] Batch read_batch(const Stretch& stretch, std::uint64_t offset,
                               std::uint64_t before_lsn, Numbering numbering = Numbering::dense);

// A block of its own with its sum at the end, as segment heads and superblocks are.
using Block = std::array<std::byte, block_bytes>;
[[nodiscard]] Block sealed_block(std::span<const std::byte> content, std::uint64_t seed) noexcept;
[[nodiscard]] bool block_is_right(std::span<const std::byte> block, std::uint64_t seed) noexcept;

[[nodiscard]] bool all_zero(std::span<const std::byte> bytes) noexcept;

// "seg-000000000000002a", and back.
[[nodiscard]] std::string numbered_name(const char* prefix, std::uint64_t number);
[[nodiscard]] std::optional<std::uint64_t> number_of(const std::string& name, const char* prefix);

}  // namespace shmbus::journal
