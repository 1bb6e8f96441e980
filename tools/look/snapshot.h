// All that can be seen of a bus at one moment, as plain data; filled by look.h.
//
// What cannot be known is nothing (std::nullopt), never zero. Times are nanoseconds, sizes bytes.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "directory/layout.h"
#include "look/histogram.h"
#include "wire/names.h"

namespace shmbus::look {

using wire::Reference;
using OptionalNumber = std::optional<std::uint64_t>;

// unknown: the kernel of this machine has nothing to say, as for a copy of a bus.
enum class Life : std::uint8_t { alive, dead, unknown };
// gone: was there a moment ago and is not any more. damaged: `trouble` says what is wrong with it.
enum class Sight : std::uint8_t { seen, gone, damaged };
// At which endpoints times are wanted of each type and each lane as well: 26 KiB more to read for
// each of them.
struct Apart {
    bool everywhere = false;
    Reference endpoint = 0;  // here, if not everywhere
    [[nodiscard]] bool at(Reference one) const noexcept { return everywhere || one == endpoint; }
    [[nodiscard]] bool covers(const Apart& less) const noexcept {
        return everywhere || (!less.everywhere && (less.endpoint == 0 || at(less.endpoint)));
    }
};
inline constexpr Apart apart_everywhere{true, 0};

struct Daemon {
    Life life = Life::unknown;
    std::optional<pid_t> pid;
    bool is_stopped = false;  // by a signal or a debugger
    std::string log{};        // the file that it writes its log to; empty: none, or not known
};

struct Memory {
    std::uint64_t used_bytes = 0;  // by the files of this bus
    OptionalNumber limit_bytes;    // of the file system they lie on
    OptionalNumber free_bytes;
};

struct Process {
    Reference reference = 0;
    std::string name;
    std::optional<pid_t> pid;  // in our own numbering if it lives, else as it was registered
    std::uint32_t uid = 0;
    Life life = Life::unknown;
    bool is_leaving = false;       // dead or gone, not all of it is cleared away
    std::optional<bool> has_left;  // of a dead one: it left by itself, and was not killed
    bool is_stopped = false;       // by a signal or a debugger
    std::string program;           // name of its file; empty: not readable
    OptionalNumber cpu{};          // that it ran on last; nothing: dead, or not to be read
    std::uint64_t since_ns = 0;    // realtime of its registration
    std::uint32_t lanes = 0;       // that it writes
    std::uint64_t sent = 0;        // messages, in those lanes
};

// Ever since, also by type.
struct Troubles {
    std::uint64_t threw = 0;  // calls of a handler
    std::uint64_t redelivered = 0;
    std::uint64_t failed = 0;   // given up: to the error endpoint
    std::uint64_t dropped = 0;  // nobody there handles that type

    Troubles& operator+=(const Troubles& more) noexcept;
    [[nodiscard]] bool any() const noexcept {
        return threw != 0 || redelivered != 0 || failed != 0 || dropped != 0;
    }
};
// Of one consumer or of a whole endpoint.
struct Counters : Troubles {
    std::uint64_t exhausted = 0;  // of those that failed, those whose handler threw too often
    std::uint64_t wakeups = 0;
    // Calls of handlers that were made again, or are about to be, because the one before threw.
    [[nodiscard]] std::uint64_t retried() const noexcept {
        return threw > exhausted ? threw - exhausted : 0;
    }
};
struct Times {
    Histogram processing_ns;
    Histogram critical_ns;
    Histogram wait_ns;

    void add(const Times& more);
    // What came since `before`, an earlier state of these.
    [[nodiscard]] Times since(const Times& before) const;
};
struct Metrics : Times {
    Counters counters;
    // By type index; 0: types without a row.
    std::map<std::uint32_t, std::uint64_t> handled;
    std::map<std::uint32_t, Troubles> troubles;
    // By type index as well, where it was asked for, of types that have a row for it.
    std::map<std::uint32_t, Times> times;
};

struct Consumer {
    std::uint16_t slot = 0;
    Reference process = 0;
    bool sleeps = false;
    Metrics metrics;
};

struct Hand {
    std::uint16_t index = 0;
    std::uint16_t owner = 0;  // a consumer's slot
    Reference process = 0;    // 0: nobody has that slot
    bool is_taking = false;   // about to: not yet told whether the take happened
    std::uint64_t lane = 0;
    std::uint64_t from = 0;
    std::uint64_t end = 0;
    std::uint64_t records = 0;
    std::uint64_t count = 0;         // messages in them
    std::uint64_t done = 0;          // of them
    std::uint64_t done_records = 0;  // a bit for each record that is done
    OptionalNumber held_ns;
};

struct Lane {
    std::uint64_t id = 0;
    Reference writer = 0;
    std::uint64_t predecessor = 0;
    directory::RowState state = directory::RowState::live;
    std::uint64_t capacity_bytes = 0;
    Sight sight = Sight::seen;
    std::string trouble;
    // Units of 64 bytes: taken, given back, written up to here.
    std::uint64_t head = 0;
    std::uint64_t reclaim = 0;
    std::uint64_t tail = 0;
    std::uint64_t handled = 0;   // below this nothing waits and no hand holds anything
    std::uint64_t receipt = 0;   // lanes into the journal: on disk up to here
    std::uint64_t messages = 0;  // ever written
    std::uint64_t waiting = 0;   // of them, not taken
    bool is_exact = true;        // both
    std::uint64_t refused = 0;
    std::uint64_t dropped_newest = 0;
    std::uint64_t dropped_oldest = 0;
    std::uint64_t waits = 0;  // of its writer, for room
    bool is_closed = false;
    bool is_poisoned = false;
    bool wants_room = false;
    // Of the oldest message that waits; see `oldest_is_at_least`.
    OptionalNumber oldest_ns;
    bool oldest_is_at_least = false;
    Times times;  // ever, where they were asked for and the lane has a row for them

    [[nodiscard]] bool is_damaged() const noexcept {
        return sight == Sight::damaged || is_poisoned;
    }
    // Of the lane, ever: what records take there, with their heads, rounded up to 64 bytes.
    [[nodiscard]] std::uint64_t written_bytes() const noexcept { return tail * 64; }
    [[nodiscard]] std::uint64_t taken_bytes() const noexcept { return head * 64; }
    [[nodiscard]] std::uint64_t used_bytes() const noexcept {
        return tail > reclaim ? (tail - reclaim) * 64 : 0;
    }
    // 0 to 1, of what waits or is in a hand. What is done and not given back yet, up to a quarter
    // of a lane, is in used_bytes() alone: an idle lane is not full.
    [[nodiscard]] std::optional<double> fill() const noexcept;
};

struct Endpoint {
    Reference reference = 0;
    std::uint32_t index = 0;
    std::string name;
    directory::EndpointKind kind = directory::EndpointKind::ordinary;
    Reference owner = 0;  // reply inboxes
    std::uint64_t lane_bytes = 0;
    Sight sight = Sight::seen;
    std::string trouble;
    std::vector<Lane> lanes;
    std::vector<Consumer> consumers;
    std::vector<Hand> hands;
    Metrics metrics;            // of all who ever consumed
    std::uint64_t settled = 0;  // messages that left the inbox
    // Of lanes that are gone: their refused, dropped and waits, and what they carried.
    std::uint64_t gone_refused = 0;
    std::uint64_t gone_dropped_newest = 0;
    std::uint64_t gone_dropped_oldest = 0;
    std::uint64_t gone_waits = 0;
    std::uint64_t gone_bytes = 0;
    // Records for it that are in the journal and in no lane yet, as the daemon knew last.
    std::uint64_t on_disk = 0;
    // Durable messages for it that are sent and not yet on disk, as far as they were looked at.
    std::uint64_t journal_lag = 0;
    // Of the messages in hands that are not done, by type.
    std::map<std::uint32_t, std::uint64_t> types_in_hand;

    // Finds for each lane what is `handled`, once its lanes and hands are filled in.
    void find_handled() noexcept;

    // Messages in lanes that nobody has taken; that are taken and not done; those and what waits on
    // disk; that ever came in through lanes.
    [[nodiscard]] std::uint64_t waiting() const noexcept;
    [[nodiscard]] std::uint64_t in_hand() const noexcept;
    [[nodiscard]] std::uint64_t depth() const noexcept { return waiting() + in_hand() + on_disk; }
    [[nodiscard]] std::uint64_t received() const noexcept {
        return settled + waiting() + in_hand();
    }
    // Of the fullest lane, 0 to 1; nothing without lanes.
    [[nodiscard]] std::optional<double> fill() const noexcept;
    [[nodiscard]] OptionalNumber oldest_ns() const noexcept;
    // Some message waits whose age is not known, or not exactly.
    [[nodiscard]] bool oldest_is_at_least() const noexcept;
    [[nodiscard]] bool is_full() const noexcept;  // some writer waits for room
    [[nodiscard]] bool is_damaged() const noexcept;
    // Over all lanes that ever were: sends that found no room; messages let go for want of room;
    // how often a writer waited for it; bytes of lane as Lane has them.
    [[nodiscard]] std::uint64_t refused() const noexcept;
    [[nodiscard]] std::uint64_t dropped_newest() const noexcept;
    [[nodiscard]] std::uint64_t dropped_oldest() const noexcept;
    [[nodiscard]] std::uint64_t waits() const noexcept;
    [[nodiscard]] std::uint64_t written_bytes() const noexcept;
    [[nodiscard]] std::uint64_t taken_bytes() const noexcept;
};

struct Type {
    Reference reference = 0;
    std::uint32_t index = 0;
    std::string name;
    std::uint8_t kind = 0;        // shmbus::Kind
    std::uint8_t durability = 0;  // shmbus::Durability
    std::uint32_t bytes = 0;
    std::uint32_t route = 0;    // index of the endpoint that handles it; 0: none
    std::uint64_t handled = 0;  // by all
    Troubles troubles{};        // of all
    Times times{};              // of all, where it was asked for
    // Payload of what was handled; nothing for a type without a fixed length.
    [[nodiscard]] OptionalNumber handled_bytes() const noexcept {
        return bytes == 0 ? std::nullopt : OptionalNumber(handled * bytes);
    }
};

struct Subscription {
    std::uint32_t event = 0;
    std::uint32_t endpoint = 0;
    std::uint8_t when_full = 0;  // shmbus::WhenFull
    bool is_orphaned = false;    // no living process has the endpoint open
};

struct Journal {
    std::string path;
    bool is_there = false;
    bool is_readable = false;
    // There is one, or there may be: nobody can say whether acknowledged messages are in it.
    [[nodiscard]] bool is_left() const noexcept {
        return is_there && (!is_readable || segments != 0);
    }
    std::uint32_t segments = 0;
    std::uint32_t checkpoints = 0;
    std::uint64_t bytes = 0;     // of all its files
    bool is_in_use = false;      // the bus has an endpoint for it
    // Nor is it, though there is one: a daemon takes up what is there when it starts, and what it
    // could not take up has no endpoint if it does not say which there are.
    [[nodiscard]] bool is_not_taken_up() const noexcept { return !is_in_use && is_left(); }
    std::uint8_t condition = 0;  // 0 in service, 1 its disk is full, 2 stopped
    std::uint64_t lag = 0;       // durable messages sent and not yet on disk
    OptionalNumber lag_ns;       // how long the oldest of them waits
    // Since the bus was made.
    Histogram sync_ns;
    Histogram batch_records;
    std::uint64_t written_bytes = 0;
};

struct Snapshot {
    Apart apart;  // where it was asked for
    std::string name;
    std::string directory;
    std::string uuid;  // 32 hexadecimal digits
    std::uint64_t created_ns = 0;
    std::uint64_t version = 0;   // of its tables
    std::uint64_t taken_ns = 0;  // realtime
    std::uint64_t monotonic_ns = 0;
    bool is_of_this_boot = true;
    Daemon daemon;
    Memory memory;
    Journal journal;
    std::vector<Process> processes;
    std::vector<Endpoint> endpoints;
    std::vector<Type> types;
    std::vector<Subscription> subscriptions;

    // Null when it is not there.
    [[nodiscard]] const Process* process(Reference reference) const noexcept;
    [[nodiscard]] const Endpoint* endpoint(Reference reference) const noexcept;
    [[nodiscard]] const Endpoint* endpoint_at(std::uint32_t index) const noexcept;
    [[nodiscard]] const Type* type(std::uint32_t index) const noexcept;
    // Processes that have it open. Of a bus of another machine, or a copy, nobody can say.
    struct Open {
        std::size_t alive = 0;
        std::size_t unknown = 0;
        [[nodiscard]] std::size_t not_dead() const noexcept { return alive + unknown; }
    };
    [[nodiscard]] Open opened(const Endpoint& endpoint) const noexcept;
    // A process that is alive has it open.
    [[nodiscard]] bool is_served(const Endpoint& endpoint) const noexcept;
    // A daemon lives that says what waits on disk: also when that disk takes nothing more.
    [[nodiscard]] bool is_disk_known() const noexcept {
        return daemon.life == Life::alive && journal.condition < 2;
    }
    // "sales", "shmbusd", or the reference itself when the process is unknown.
    [[nodiscard]] std::string process_name(Reference reference) const;
    // "sales"; "reply of web" for a reply inbox, which has no name.
    [[nodiscard]] std::string endpoint_name(const Endpoint& endpoint) const;
    // "shop.place_order", or "type 7" when it is unknown.
    [[nodiscard]] std::string type_name(std::uint32_t index) const;
};

[[nodiscard]] const char* name_of(Life life) noexcept;
[[nodiscard]] const char* name_of(directory::EndpointKind kind) noexcept;
[[nodiscard]] const char* name_of_type_kind(std::uint8_t kind) noexcept;
[[nodiscard]] const char* name_of_when_full(std::uint8_t policy) noexcept;
[[nodiscard]] const char* name_of_condition(std::uint8_t condition) noexcept;
// Journal::is_not_taken_up() as such a name.
inline constexpr const char* not_taken_up = "not taken up";

}  // namespace shmbus::look
