// The bytes of the directory: who is on the bus, what is called what, who gets what.
//
// Written by the daemon alone, mapped read-only by everybody else, kept twice: the copy that the
// version's lowest bit names is active, the other is the daemon's to write.
//
//   0          4096        8192             8192 + copy_bytes      8192 + 2 * copy_bytes
//   +----------+-----------+----------------+----------------------+
//   | identity | version   | copy 0         | copy 1               |
//   +----------+-----------+----------------+----------------------+
//   read-only   one word    active when the  active when the
//   when ready              version is even  version is odd
//
// A copy is a head and six tables, each a row of fixed-size rows, each starting on a cache line:
//
//   +------+--------------+-----------+-------+---------------+--------------+-------+
//   | head | participants | endpoints | types | subscriptions | publications | lanes |
//   +------+--------------+-----------+-------+---------------+--------------+-------+
//
// Rows never move. Row 0 of each table stays unused, so that index 0 can mean "none". A row that
// is free keeps its generation: the next user of the row gets the next one. Zeroed rows are free.
// Shared bytes are only ever touched as 64-bit words with relaxed atomic accesses; the structs
// below are what those words mean, in private memory.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "base/bytes.h"

namespace shmbus::directory {

inline constexpr std::uint64_t directory_magic = 0x3172642d73756273U;  // "sbus-dr1"
inline constexpr std::uint32_t layout_major = 2;
inline constexpr std::uint32_t layout_minor = 0;
inline constexpr std::size_t page_bytes = 4096;
inline constexpr std::size_t version_at = page_bytes;
inline constexpr std::size_t copies_at = 2 * page_bytes;

enum class Table : std::uint8_t {
    participants = 0,
    endpoints = 1,
    types = 2,
    subscriptions = 3,
    publications = 4,
    lanes = 5,
};
inline constexpr std::size_t table_count = 6;

// Rows of each table, row 0 included.
using TableSizes = std::array<std::uint32_t, table_count>;
inline constexpr TableSizes default_sizes{1024, 4096, 4096, 8192, 8192, 16384};
inline constexpr std::uint32_t most_rows = 1U << 20;
inline constexpr std::uint32_t most_types = 1U << 16;  // a record has 16 bits for its type

enum class RowState : std::uint8_t {
    free = 0,
    live = 1,
    // Lanes: made ahead for a publisher that has not asked for it yet.
    pending = 2,
    // Participants: proved dead or closed; what depends on it is being cleared away.
    // Lanes: closed by the writer; goes when it is drained.
    leaving = 3,
};

// journal: durable messages on their way there; the daemon reads them.
enum class EndpointKind : std::uint8_t { ordinary = 1, reply_inbox = 2, error = 3, journal = 4 };
// Not found by name: nobody may send to it, subscribe it or remove it.
[[nodiscard]] constexpr bool is_private(EndpointKind kind) noexcept {
    return kind == EndpointKind::reply_inbox || kind == EndpointKind::journal;
}
inline constexpr const char* journal_endpoint_name = "shmbus.journal";

inline constexpr std::size_t most_name_bytes = 200;
inline constexpr std::size_t most_bases = 8;

// FNV-1a: lets a search by name look at one word per row.
[[nodiscard]] constexpr std::uint32_t name_hash(std::string_view name) noexcept {
    std::uint32_t hash = 2166136261U;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    return hash;
}

// What the three tables with names share: the first word and the name at the same places.
//
//   0            4       5           6..8      8 ...        40     44          48        248
//   +------------+-------+-----------+---------+- - - - - - +------+-----------+---------+-------+
//   | generation | state | name_bytes| the     | the row's  | uid  | name_hash | name    | spare |
//   |            |       |           | row's   |            |      |           |         |       |
//   +------------+-------+-----------+---------+- - - - - - +------+-----------+---------+-------+
inline constexpr std::size_t hash_word_at = 40;

struct ParticipantRow {
    static constexpr Table table = Table::participants;
    std::uint32_t generation;
    RowState state;
    std::uint8_t name_bytes;
    std::uint16_t spare;
    std::uint64_t pid;       // as the process sees itself; for display
    std::uint64_t since_ns;  // realtime of its registration; for display
    std::uint64_t host_pid;  // as the daemon sees it; for display
    std::uint64_t spare_word;
    std::uint32_t uid;
    std::uint32_t hash;
    std::array<char, most_name_bytes> text;
    std::uint64_t spare_end;
};
struct EndpointRow {
    static constexpr Table table = Table::endpoints;
    std::uint32_t generation;
    RowState state;
    std::uint8_t name_bytes;
    EndpointKind kind;
    std::uint8_t waiting;           // shmbus::Waiting
    std::uint8_t events_when_full;  // shmbus::WhenFull
    std::uint8_t condition;         // of the journal: 0 in service, 1 its disk is full, 2 stopped
    std::array<std::uint8_t, 6> spare;
    std::uint64_t lane_bytes;
    std::uint64_t events_wait_ns;
    std::uint64_t owner;  // participant reference; reply inboxes only
    std::uint32_t uid;
    std::uint32_t hash;
    std::array<char, most_name_bytes> text;
    std::uint64_t spare_end;
};
struct TypeRow {
    static constexpr Table table = Table::types;
    std::uint32_t generation;
    RowState state;
    std::uint8_t name_bytes;
    std::uint8_t kind;        // shmbus::Kind
    std::uint8_t durability;  // shmbus::Durability
    std::uint32_t bytes;
    std::uint32_t alignment;
    std::uint32_t base_count;
    std::uint32_t route;  // endpoint that announced this command; 0: none
    std::array<std::uint16_t, most_bases> bases;
    std::uint32_t uid;
    std::uint32_t hash;
    std::array<char, most_name_bytes> text;
    std::uint64_t spare_end;
};
// The endpoint gets every event of this type.
struct SubscriptionRow {
    static constexpr Table table = Table::subscriptions;
    RowState state;
    std::uint8_t policy;  // shmbus::WhenFull when this endpoint's lane is full
    std::uint16_t spare;
    std::uint32_t event;
    std::uint32_t endpoint;
    std::uint32_t uid;
};
// The participant publishes events of this type: it needs a lane to every subscriber.
struct PublicationRow {
    static constexpr Table table = Table::publications;
    std::uint64_t participant;
    std::uint32_t event;
    RowState state;
    std::array<std::uint8_t, 3> spare;
};
struct LaneRow {
    static constexpr Table table = Table::lanes;
    std::uint64_t id;
    std::uint64_t writer;  // participant reference
    std::uint32_t endpoint;
    std::uint32_t endpoint_generation;
    std::uint64_t predecessor;
    std::uint64_t capacity;
    std::uint64_t token;  // of the request that asked for it; see OpenLaneRequest
    std::uint32_t uid;
    RowState state;
    std::array<std::uint8_t, 3> spare;
};

static_assert(sizeof(ParticipantRow) == 256 && offsetof(ParticipantRow, uid) == hash_word_at);
static_assert(sizeof(EndpointRow) == 256 && offsetof(EndpointRow, uid) == hash_word_at);
static_assert(sizeof(TypeRow) == 256 && offsetof(TypeRow, uid) == hash_word_at);
static_assert(offsetof(ParticipantRow, text) == 48 && offsetof(EndpointRow, text) == 48 &&
              offsetof(TypeRow, text) == 48);
static_assert(offsetof(EndpointRow, lane_bytes) == 16 && offsetof(TypeRow, bases) == 24);
static_assert(sizeof(SubscriptionRow) == 16 && sizeof(PublicationRow) == 16);
static_assert(sizeof(LaneRow) == 56 && offsetof(LaneRow, token) == 40);

inline constexpr std::array<std::size_t, table_count> row_bytes{
    sizeof(ParticipantRow),  sizeof(EndpointRow),    sizeof(TypeRow),
    sizeof(SubscriptionRow), sizeof(PublicationRow), sizeof(LaneRow)};

// The name of a row, never longer than its field whatever the length byte says.
template <class Row>
[[nodiscard]] std::string_view name_in(const Row& row) noexcept {
    return {row.text.data(), std::min<std::size_t>(row.name_bytes, row.text.size())};
}
template <class Row>
void set_name(Row& row, std::string_view name) noexcept {
    row.text = {};
    row.name_bytes = static_cast<std::uint8_t>(std::min(name.size(), row.text.size()));
    std::copy_n(name.begin(), row.name_bytes, row.text.begin());
    row.hash = name_hash(name_in(row));
}

// The head of a copy.
struct CopyHead {
    // Per table: rows ever used, row 0 included; nobody scans further.
    std::array<std::uint32_t, 8> used;
    std::uint64_t next_lane_id;
    // What the journal holds up to this LSN may have been delivered before this file was made.
    std::uint64_t again_to;
    // 1: the rows were found in the journal, or are kept there.
    std::uint64_t is_kept;
    std::uint64_t spare;
};
static_assert(sizeof(CopyHead) == 64 && offsetof(CopyHead, next_lane_id) == 32);

// Page 0. Stored once, `ready` last; a file without it is half made and says nothing.
struct Identity {
    std::uint64_t magic;
    std::uint32_t major;
    std::uint32_t minor;
    std::uint64_t bus_high;  // the bus's uuid
    std::uint64_t bus_low;
    std::uint64_t boot_high;  // of the kernel that ran when this was made
    std::uint64_t boot_low;
    TableSizes rows;
    std::uint64_t copy_bytes;
    std::uint64_t file_bytes;
    std::uint64_t created_ns;  // realtime; for display
    std::uint32_t owner_uid;
    std::uint32_t ready;
};
static_assert(sizeof(Identity) == 104 && offsetof(Identity, ready) == 100);

// Where everything lies in a file with tables of these sizes.
struct Shape {
    TableSizes rows{};
    std::array<std::size_t, table_count> table_at{};  // from the begin of a copy
    std::size_t copy_bytes = 0;
    std::size_t file_bytes = 0;

    [[nodiscard]] constexpr std::size_t row_at(std::size_t copy, Table table,
                                               std::uint32_t row) const noexcept {
        const auto which = static_cast<std::size_t>(table);
        return copies_at + copy * copy_bytes + table_at[which] + row * row_bytes[which];
    }
    [[nodiscard]] constexpr std::size_t head_at(std::size_t copy) const noexcept {
        return copies_at + copy * copy_bytes;
    }
    [[nodiscard]] constexpr std::uint32_t rows_of(Table table) const noexcept {
        return rows[static_cast<std::size_t>(table)];
    }
};
[[nodiscard]] constexpr bool sizes_are_sane(const TableSizes& rows) noexcept {
    for (const std::uint32_t count : rows)
        if (count < 2 || count > most_rows) return false;
    return rows[static_cast<std::size_t>(Table::types)] <= most_types;
}
[[nodiscard]] constexpr Shape shape_of(const TableSizes& rows) noexcept {
    Shape shape;
    shape.rows = rows;
    std::size_t at = sizeof(CopyHead);
    for (std::size_t table = 0; table < table_count; ++table) {
        shape.table_at[table] = at;
        at += base::round_up(rows[table] * row_bytes[table], base::cache_line_bytes);
    }
    shape.copy_bytes = base::round_up(at, page_bytes);
    shape.file_bytes = copies_at + 2 * shape.copy_bytes;
    return shape;
}
// With 64 MiB of shared memory, as containers have it, the tables leave the lanes most of it.
static_assert(shape_of(default_sizes).file_bytes <= std::size_t{8} << 20);

// Why a file is not a directory that can be used.
enum class Trouble : std::uint8_t {
    none,
    half_made,      // empty, zero-filled or cut off before its identity was complete
    not_ours,       // something else, or scribbled on
    other_version,  // made by another version of this library: leave it alone
};

// Judges an identity that was copied out of a file of `file_bytes`.
[[nodiscard]] constexpr Trouble judge(const Identity& identity,
                                      std::uint64_t file_bytes) noexcept {
    if (identity.magic == 0 && identity.ready == 0) return Trouble::half_made;
    if (identity.magic != directory_magic) return Trouble::not_ours;
    if (identity.ready == 0) return Trouble::half_made;
    if (identity.major != layout_major) return Trouble::other_version;
    if (identity.ready != 1 || !sizes_are_sane(identity.rows)) return Trouble::not_ours;
    const Shape shape = shape_of(identity.rows);
    if (identity.copy_bytes != shape.copy_bytes || identity.file_bytes != shape.file_bytes ||
        file_bytes != shape.file_bytes)
        return Trouble::not_ours;
    return Trouble::none;
}

}  // namespace shmbus::directory
