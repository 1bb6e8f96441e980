// What stands in front of every payload: the control word, the meta word, the extensions.
//
// A record begins on a 64-byte border of a lane:
//
//   0         8         16                       16 + extension_bytes
//   +---------+---------+------------------------+------------------ -
//   | control | meta    | extensions, 0 to 240 B | payload ...
//   +---------+---------+------------------------+------------------ -
//   control   salt + position: valid for one position of one lane only
//   meta      payload_bytes:32 | type:16 | extension_units:4 | flags:12     (one load, one store)
//
// Extensions stand in the order of their flags, the block is padded to 16 bytes, so that every
// payload is aligned to 16. A 32-byte payload with an explicit id fills one cache line exactly.
//
//   explicit_id  16  the message's id, where it is not {lane, position}
//   reply_to     16  endpoint that expects the answer, and its request
//   time_sent    16  CLOCK_MONOTONIC, nanoseconds; and the endpoint of origin
//   lineage      48  related-to, conversation and correlation, where the id does not tell them
//   failure      96  why the message is in the error endpoint
//   durable      16  on its way into the journal: which endpoint it is for, or none: subscribers,
//                    and what it came of; on its way out: its number there
//   trace        32  W3C trace context
//
// Ids. A message sent outside a handler is {lane:52, index:12 | position:48, ordinal:0} and stores
// nothing. An output of its handler is {the same | position, ordinal:n}: its related-to,
// conversation and correlation are read off its id. What carries its id in its record may have
// come to several endpoints under it, as an event does: what their handlers send has an id mixed
// from that one, the handling endpoint's name and the ordinal, and a lineage. So has a packed
// output, for what is read off an id would be the same for all of its messages, and what is sent
// for a copy, which has a lineage. An id that a sender chose cannot be taken apart either, and has
// no lineage. A transient message that failed carries the id that its place gave it; sent back to
// where it failed it is what it was there, and so is what is sent for it. Sent elsewhere it counts
// as one whose id cannot be taken apart.
//
// Zeroed memory is no record: a salt is never so small that salt + position could be 0.
#pragma once

#include <shmbus/result.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace shmbus::wire {

inline constexpr std::size_t unit_bytes = 64;
inline constexpr std::size_t head_bytes = 16;
inline constexpr std::uint64_t last_position = std::uint64_t{1} << 47;
inline constexpr std::uint32_t most_packed = 4096;

enum Flag : std::uint16_t {
    has_explicit_id = 1 << 0,
    has_reply_to = 1 << 1,
    has_time_sent = 1 << 2,
    has_lineage = 1 << 3,
    has_failure = 1 << 4,
    is_packed = 1 << 5,    // payload: count:32, zero:32, zero:64, then the messages back to back
    is_repeated = 1 << 6,  // written by a handler that was redelivered to
    is_mixed_id = 1 << 7,  // the explicit id cannot be taken apart
    has_durable = 1 << 8,
    is_again = 1 << 9,     // out of the journal, and may have been delivered before a reboot
    has_trace = 1 << 10,
};

struct Meta {
    std::uint32_t payload_bytes = 0;
    std::uint16_t type = 0;
    std::uint8_t extension_units = 0;  // of 16 bytes
    std::uint16_t flags = 0;

    [[nodiscard]] constexpr std::uint64_t word() const noexcept {
        return payload_bytes | std::uint64_t{type} << 32 |
               std::uint64_t{extension_units & 0xFU} << 48 | std::uint64_t{flags & 0xFFFU} << 52;
    }
    [[nodiscard]] static constexpr Meta of(std::uint64_t word) noexcept {
        return {static_cast<std::uint32_t>(word), static_cast<std::uint16_t>(word >> 32),
                static_cast<std::uint8_t>(word >> 48 & 0xFU),
                static_cast<std::uint16_t>(word >> 52)};
    }
    [[nodiscard]] constexpr std::size_t payload_offset() const noexcept {
        return head_bytes + std::size_t{extension_units} * 16;
    }
};

// The 64-byte units that a record of this meta word takes; at most 2^26 + 4.
[[nodiscard]] constexpr std::uint64_t units_of(std::uint64_t meta) noexcept {
    const std::uint64_t bytes =
        head_bytes + (meta >> 48 & 0xFU) * 16 + static_cast<std::uint32_t>(meta);
    return (bytes + unit_bytes - 1) / unit_bytes;
}
static_assert(units_of(Meta{32, 1, 1, has_explicit_id}.word()) == 1);
static_assert(units_of(Meta{48, 1, 0, 0}.word()) == 1 && units_of(Meta{49, 1, 0, 0}.word()) == 2);
static_assert(Meta::of(Meta{7, 65535, 15, 0xFFF}.word()).flags == 0xFFF);

// The only value that publishes the record at `position` of the lane with this salt.
[[nodiscard]] constexpr std::uint64_t control_word(std::uint64_t salt,
                                                   std::uint64_t position) noexcept {
    return salt + position;
}

struct ReplyTo {
    std::uint32_t endpoint;  // the requester's reply inbox; 0: none
    std::uint32_t generation;
    std::uint64_t request;   // the requester's own number for it
};
struct TimeSent {
    std::int64_t monotonic_ns;
    std::uint64_t origin_endpoint;
};
struct Lineage {
    MessageId related_to;
    MessageId conversation;
    MessageId correlation;
};
struct FailureRecord {
    std::uint8_t reason;
    std::uint8_t attempts;
    std::uint8_t what_bytes;
    std::uint8_t generation;  // the endpoint's, its last byte; 0: not known
    std::int32_t signal;
    std::int64_t pid;
    std::uint32_t endpoint;
    char what[76];
};
// It failed at this endpoint: see is_failed_at.
constexpr void set_failed_at(FailureRecord& failure, std::uint32_t endpoint,
                             std::uint32_t generation) noexcept {
    failure.endpoint = endpoint;
    failure.generation = static_cast<std::uint8_t>(generation);
}
// Whether it failed at this endpoint, and not at one whose row this has now.
[[nodiscard]] constexpr bool is_failed_at(const FailureRecord& failure, std::uint32_t endpoint,
                                          std::uint32_t generation) noexcept {
    return failure.endpoint == endpoint &&
           (failure.generation == 0 || failure.generation == (generation & 0xFFU));
}
struct Durable {
    std::uint32_t endpoint;  // 0: an event's subscribers
    std::uint32_t generation;
    std::uint64_t lsn;       // of the journal's record; not there yet: what it came of, or 0
};
struct Trace {
    std::array<std::uint8_t, 16> trace_id;
    std::array<std::uint8_t, 8> parent_id;
    std::uint8_t flags;
    std::array<std::uint8_t, 7> spare;
};
static_assert(sizeof(Durable) == 16 && sizeof(Trace) == 32);
static_assert(sizeof(ReplyTo) == 16 && sizeof(TimeSent) == 16 && sizeof(Lineage) == 48);
static_assert(sizeof(FailureRecord) == 96 && sizeof(MessageId) == 16);

// The extensions of one record, as read or to be written.
struct Extensions {
    std::uint16_t flags = 0;
    MessageId id;
    ReplyTo reply_to{};
    TimeSent time_sent{};
    Lineage lineage{};
    FailureRecord failure{};
    Durable durable{};
    Trace trace{};
};

// Bytes of the extension block that these flags ask for; a multiple of 16, at most 240.
[[nodiscard]] constexpr std::size_t extension_bytes(std::uint16_t flags) noexcept {
    std::size_t bytes = 0;
    if (flags & has_explicit_id) bytes += sizeof(MessageId);
    if (flags & has_reply_to) bytes += sizeof(ReplyTo);
    if (flags & has_time_sent) bytes += sizeof(TimeSent);
    if (flags & has_lineage) bytes += sizeof(Lineage);
    if (flags & has_failure) bytes += sizeof(FailureRecord);
    if (flags & has_durable) bytes += sizeof(Durable);
    if (flags & has_trace) bytes += sizeof(Trace);
    return bytes;
}
static_assert(extension_bytes(0xFFF) == 240 && extension_bytes(0xFFF) / 16 <= 15);

// Where in a record that tells when it was sent that stands.
[[nodiscard]] constexpr std::size_t time_sent_at(std::uint16_t flags) noexcept {
    return head_bytes + extension_bytes(flags & (has_explicit_id | has_reply_to));
}

// Writes the block for `extensions.flags` to `into`, which has extension_bytes(flags) bytes.
inline void write_extensions(const Extensions& extensions, std::byte* into) noexcept {
    const auto put = [&](Flag flag, const auto& field) {
        if (extensions.flags & flag) {
            std::memcpy(into, &field, sizeof(field));
            into += sizeof(field);
        }
    };
    put(has_explicit_id, extensions.id);
    put(has_reply_to, extensions.reply_to);
    put(has_time_sent, extensions.time_sent);
    put(has_lineage, extensions.lineage);
    put(has_failure, extensions.failure);
    put(has_durable, extensions.durable);
    put(has_trace, extensions.trace);
}

// Reads the block of a record copied out of a lane. False when the flags and the length of the
// block disagree: the record is then a stranger's and the lane is not to be believed.
[[nodiscard]] inline bool read_extensions(const Meta& meta, const std::byte* from,
                                          Extensions& into) noexcept {
    if (extension_bytes(meta.flags) != std::size_t{meta.extension_units} * 16) return false;
    into.flags = meta.flags;
    const auto get = [&](Flag flag, auto& field) {
        if (meta.flags & flag) {
            std::memcpy(&field, from, sizeof(field));
            from += sizeof(field);
        }
    };
    get(has_explicit_id, into.id);
    get(has_reply_to, into.reply_to);
    get(has_time_sent, into.time_sent);
    get(has_lineage, into.lineage);
    get(has_failure, into.failure);
    get(has_durable, into.durable);
    get(has_trace, into.trace);
    return true;
}

// The id of the `index`-th message of the record at `position` of lane `lane_id` (52 bits).
[[nodiscard]] constexpr MessageId id_at(std::uint64_t lane_id, std::uint64_t position,
                                        std::uint32_t index) noexcept {
    return {lane_id << 12 | (index & 0xFFFU), position << 16};
}

namespace detail {
constexpr std::uint64_t mixed(std::uint64_t value) noexcept {
    // The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit.
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9U;
    value = (value ^ value >> 27) * 0x94D049BB133111EBU;
    return value ^ value >> 31;
}
}  // namespace detail

// The id of the `ordinal`-th (from 1) output of the handler of `parent`, whose id is its place in a
// lane. The same whoever runs the handler, as id_mixed: a repeat after a death is recognisable.
[[nodiscard, gnu::always_inline]] constexpr MessageId id_of_output(MessageId parent,
                                                                   std::uint16_t ordinal) noexcept {
    return {parent.high, parent.low | ordinal};
}
// The id of what `by` has made of `parent`, the `number`-th of such.
[[nodiscard]] constexpr MessageId id_mixed(MessageId parent, std::uint64_t by,
                                           std::uint16_t number) noexcept {
    const std::uint64_t high =
        detail::mixed((parent.high ^ detail::mixed(by)) + 0x9E3779B97F4A7C15U * number);
    return {high, detail::mixed(parent.low ^ high)};
}
// The id of a message in a packed record whose first one has this id, which cannot be taken apart
// (`is_mixed`) or is the place of the record.
[[nodiscard]] constexpr MessageId id_of_item(MessageId first, bool is_mixed,
                                             std::uint32_t item) noexcept {
    if (is_mixed && item != 0) return id_mixed(first, item, 0);
    return {first.high + item, first.low};
}
// What a record on its way into the journal came of: the durable message that was in hand, by its
// number there and by who had it. Never 0; what was sent outside a handler, or by the handler of a
// transient message, came of none and has 0 instead.
//
//   0                1                      21                        64
//   +----------------+----------------------+-------------------------+
//   | is it sent on? | index of an endpoint | lower 43 bits of an LSN |
//   +----------------+----------------------+-------------------------+
//
// Sent on under its id (because it failed, is tried again, is moved) it is another record of the
// journal. So it is known again by this word as well: doing it twice, after a death, is told from
// doing it once more.
inline constexpr std::uint32_t most_endpoints = 1U << 20;  // that can be told apart
[[nodiscard]] constexpr std::uint64_t output_of(std::uint64_t lsn,
                                                std::uint32_t endpoint) noexcept {
    return lsn << 21 | std::uint64_t{endpoint & (most_endpoints - 1)} << 1;
}
[[nodiscard]] constexpr std::uint64_t sent_on_from(std::uint64_t lsn,
                                                   std::uint32_t endpoint) noexcept {
    return output_of(lsn, endpoint) | 1U;
}
[[nodiscard]] constexpr bool is_sent_on(std::uint64_t came_of) noexcept {
    return (came_of & 1U) != 0;
}

// Its place in a lane, of a message that was sent outside a handler, unless it is mixed.
[[nodiscard]] constexpr bool is_place(MessageId id) noexcept { return (id.low & 0xFFFFU) == 0; }
// The message failed, and was sent back to the endpoint into which its lane led.
[[nodiscard]] constexpr bool is_back(const Extensions& extensions) noexcept {
    constexpr unsigned others = is_mixed_id | has_failure | has_durable;
    return (extensions.flags & (has_explicit_id | others)) == has_explicit_id &&
           is_place(extensions.id);
}

// Takes a first-generation id apart: the root message whose handler sent it.
[[nodiscard]] constexpr MessageId root_of(MessageId output) noexcept {
    return {output.high, output.low & ~std::uint64_t{0xFFFF}};
}

}  // namespace shmbus::wire
