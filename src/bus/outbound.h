// One thread's way out: a lane to each endpoint it sends to, and the routes that lead there.
//
//   send ---> this_thread_place ---> Outbound ---> Route (by type) ---> Target ---> lane::Writer
//
// Belongs to the thread that uses it; a thread that ends leaves it to the next one (bus_core.h).
// From send to commit there is no locked operation, no system call, no allocation and no virtual
// call; whatever needs one of them is in the functions of outbound.cc, room.cc and publish.cc.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/bus.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "bus/copy.h"
#include "bus/inbox.h"
#include "bus/receipt_lane.h"
#include "bus/session.h"
#include "bus/tally.h"
#include "lane/doorbell.h"
#include "lane/drop.h"
#include "lane/writer.h"
#include "wire/record.h"

namespace shmbus::detail {

class BusCore;
class Delivery;

// Our lane into one endpoint.
struct Target {
    lane::Writer* writer = nullptr;  // null: not open (yet, or any more)
    lane::StdDoorbell* doorbell = nullptr;
    lane::DescriptorBell* bell = nullptr;
    bool fence = false;
    // The writer's budget is none as long as it is open: every send takes the slow way and sees it.
    bool has_loan = false;
    std::uint64_t budget_kept = 0;  // while it is
    [[nodiscard]] std::uint64_t quick_commands() const noexcept {
        return granted.read() - writer->budget() - spent_otherwise.read();
    }

    // Quick commands are not counted one by one: they are what was granted to the writer and is
    // gone, less what went on something else.
    Tally granted;
    Tally spent_otherwise;

    std::uint32_t endpoint = 0;
    std::uint32_t generation = 0;
    std::uint64_t held_units = 0;  // that the handler's outputs will need
    bool is_beside = false;        // see Outbound::journal_target_beside
    bool is_deaf = false;          // of a requester: its inbox stayed full all the time we waited
    std::shared_ptr<Inbox> inbox;
    std::unique_ptr<lane::Writer> current;
    // Closed ones before it, of which a stopped consumer still holds messages.
    std::vector<std::unique_ptr<lane::Writer>> before;
    // The lane to go on in when this one is held back: asked for while it goes well, because later
    // the daemon may be away. None: asked for then, and why there was none.
    base::File successor;
    std::uint64_t asked_ns = 0;
    bool is_private = false;  // the endpoint: it was found out that there will be none
    std::string why_none;
    std::unique_ptr<lane::Dropper> dropper;
    std::shared_ptr<ReceiptLane> receipts;  // of a lane into the journal

    // Payload bytes that always fit, whatever extensions the record has.
    [[nodiscard]] std::uint64_t most_payload() const noexcept {
        return writer->most_units() * wire::unit_bytes - wire::head_bytes - 240;
    }
};

// Where messages of one type go. Right as long as the directory has not moved.
struct Route {
    const TypeDescriptor* key = nullptr;
    // All that a quick send looks at, for types of a fixed size that fits and leaves no open end:
    // the directory's version, or no_version; the lane; the whole meta word of a record without
    // extensions and the units it takes; the word that says whether a consumer sleeps.
    std::uint64_t quick_version = no_version;
    lane::Writer* writer = nullptr;
    std::uint64_t whole_meta = 0;
    std::uint64_t units = 0;
    const base::StdWord<std::uint64_t>* sleepers = nullptr;

    std::uint64_t version = no_version;  // of the directory
    Target* target = nullptr;
    std::uint64_t meta = 0;  // the type's part of the meta word
    std::uint64_t most_payload = 0;

    static constexpr std::uint64_t no_version = ~std::uint64_t{0};
};

// Where replies of one type go to one requester. Right as long as the directory has not moved.
struct WayBack {
    wire::ReplyTo to{};
    Route route;
};

// One endpoint that gets an event, and what to do when it is full.
struct Subscription {
    Target* target = nullptr;
    const base::StdWord<std::uint64_t>* sleepers = nullptr;  // as in Route
    WhenFull when_full = WhenFull::wait;
    std::chrono::nanoseconds wait{0};
};

// Where durable commands of one type are for. Right as long as the directory has not moved.
struct DurableRoute {
    const TypeDescriptor* key = nullptr;
    std::uint64_t version = Route::no_version;
    std::uint16_t type = 0;
    wire::Durable to{};
};

// Who gets events of one type. Right as long as the directory has not moved.
struct Audience {
    const TypeDescriptor* key = nullptr;
    std::uint64_t version = no_version;
    std::uint64_t meta = 0;
    std::uint64_t most_payload = 0;  // of the smallest lane
    bool is_known = false;           // the daemon knows that we publish this
    std::vector<Subscription> subscribers;
    // Not ok: some subscriber is not among these, because there is no lane to it. Then `version` is
    // none, and it is looked for when the directory has moved, or at that time.
    ErrorCode missed = ErrorCode::ok;
    std::string why_missed;
    std::uint64_t looked_at_version = 0;
    std::uint64_t look_again_ns = 0;

    static constexpr std::uint64_t no_version = Route::no_version;

    // An error that names the subscriber that is not among these.
    [[nodiscard]] Result<void> reaches_all() const;
};

// A record to be written, on the ways that are not the quickest.
struct Outgoing {
    std::uint16_t type = 0;
    std::uint32_t packed = 0;  // messages behind one header; 0: one, without
    std::uint16_t flags = 0;   // besides those of the extensions
    std::span<const std::byte> payload;
    wire::Extensions extensions{};

    void carry(const TraceContext& trace) noexcept;
    // Units of 64 bytes that it takes at most: with the time, should it get one.
    [[nodiscard]] std::uint64_t most_units() const noexcept;
};

// How long to wait for room, and for whom.
struct Patience {
    std::chrono::nanoseconds wait{0};  // from when it is found that there is none
    std::uint64_t deadline_ns = 0;     // the wait's end where it has begun before; 0: it has not
    // The type of an event: who takes its subscription back is not waited for any longer.
    std::uint16_t event = 0;
    const std::stop_token* stop = nullptr;  // of a request
};

// A table of a few dozen types, found by the descriptor's address. Never shrinks.
template <class Row>
class TypeTable {
public:
    TypeTable() : rows_(64) {}
    // The row where the type most likely is; compare its key.
    [[nodiscard, gnu::always_inline]] Row& guess(const TypeDescriptor* key) noexcept {
        return rows_[place(key)];
    }
    // The row of the type, made if there is none.
    [[nodiscard]] Row& of(const TypeDescriptor* key) {
        // Ends: at most half of the rows are in use.
        for (std::size_t at = place(key);; at = (at + 1) & (rows_.size() - 1)) {
            if (rows_[at].key == key) return rows_[at];
            if (rows_[at].key != nullptr) continue;
            if (2 * (used_ + 1) > rows_.size()) break;
            ++used_;
            rows_[at].key = key;
            return rows_[at];
        }
        grow();
        return of(key);
    }

    template <class Function>
    void for_each(Function&& function) {
        for (Row& row : rows_)
            if (row.key != nullptr) function(row);
    }

private:
    [[nodiscard, gnu::always_inline]] std::size_t place(const TypeDescriptor* key) const noexcept {
        // Fibonacci hashing: descriptors lie some 80 bytes apart.
        return reinterpret_cast<std::uintptr_t>(key) * 0x9E3779B97F4A7C15U >> shift_;
    }
    void grow() {
        std::vector<Row> old(rows_.size() * 2);
        old.swap(rows_);
        --shift_;
        used_ = 0;
        for (Row& row : old)
            if (row.key != nullptr) of(row.key) = std::move(row);
    }

    std::vector<Row> rows_;
    std::size_t used_ = 0;
    int shift_ = 64 - 6;
};

class Outbound {
public:
    explicit Outbound(BusCore& core);
    ~Outbound();
    Outbound(const Outbound&) = delete;
    Outbound& operator=(const Outbound&) = delete;

    // acquire: routes that we look up afterwards are at least as new as this version.
    // ACTIVE. Other end: DirectoryWriter::commit.
    [[nodiscard, gnu::always_inline]] std::uint64_t directory_version() const noexcept {
        return version_->load(std::memory_order_acquire);
    }
    // The lane that a message of this type takes without looking anything up, else null.
    [[nodiscard, gnu::always_inline]] Target* quick_target(const TypeDescriptor& type,
                                                           const SendOptions& options,
                                                           std::size_t bytes) noexcept {
        const Route& route = routes.guess(&type);
        if (route.key != &type || route.version != directory_version() ||
            !options.is_usual() || bytes > route.most_payload)
            return nullptr;
        return route.target->writer == nullptr ? nullptr : route.target;
    }
    // One message, no extensions. False when it has to take the slow way: no room is known of, the
    // time is due (and with it a look whether a reader found the lane poisoned), a loan is open, or
    // the lane was given up. Nothing has happened then.
    [[nodiscard, gnu::always_inline]] static bool put(Target& target, std::uint64_t meta,
                                                      const std::byte* payload,
                                                      std::size_t bytes) noexcept {
        const std::uint64_t units = wire::units_of(meta);
        const lane::QuickClaim claim = target.writer->claim_quickly(units);
        if (!claim) [[unlikely]] return false;
        copy_bytes(claim.record + wire::head_bytes, payload, bytes);
        close_end(claim.record, wire::head_bytes + bytes);
        target.writer->commit_quickly(claim, meta, units);
        return true;
    }
    [[nodiscard, gnu::always_inline]] static bool seems_asleep(const Target& target) noexcept {
        // relaxed: a bit that is missed belongs to a sleeper that will look around.
        return target.doorbell->sleepers.load(std::memory_order_relaxed) != 0;
    }
    // Wakes a sleeper if there is one. As lane::ring, with its rare half out of line.
    [[gnu::always_inline]] static void ring(Target& target) noexcept {
        // seq_cst: see lane::ring; asked for only where sleepers have no barrier of their own.
        if (target.fence) [[unlikely]] base::StdAtomics::fence(std::memory_order_seq_cst);
        if (seems_asleep(target)) [[unlikely]] wake(target);
    }
    [[gnu::noinline]] static void wake(Target& target) noexcept;

    // The route of a command, looked up in the directory and opened. Errors: no_route, no_endpoint,
    // closed and those of the session.
    Result<Route*> route(const TypeDescriptor& type, std::string_view destination);
    // The same for events. Nobody there is no error.
    Result<Audience*> audience(const TypeDescriptor& type);
    // Our lane into this endpoint of this generation, one in which `least_payload` bytes fit; or
    // the one beside it.
    Result<Target*> target(std::uint32_t endpoint, std::uint32_t generation,
                           std::uint64_t least_payload = 0, bool is_beside = false);

    // The slow halves: route, wait for room, write, ring.
    Result<void> send(const TypeDescriptor& type, Outgoing& message, const SendOptions& options);
    Result<Published> publish(const TypeDescriptor& type, Outgoing& message,
                              const SendOptions& options);
    // Publishes to an audience that was looked up.
    Result<Published> publish_to(Audience& audience, Outgoing& message, const SendOptions& options);

    // The same for one of them; counts it in `answer`.
    Result<void> publish_one(const Subscription& to, Outgoing& message, const SendOptions& options,
                             Published& answer);

    // Room for `units`, waiting as `patience` says. Errors: full, lane_lost, would_block, stopped,
    // no_endpoint: the endpoint has gone meanwhile, or wants the event no longer.
    Result<void> make_room(Target& target, std::uint64_t units, Patience patience);
    // Writes; the room must have been seen. Does not ring.
    void write(Target& target, Outgoing& message) noexcept;
    // Writes with only an id before the payload; the room must have been seen. Does not ring.
    void write_with_id(Target& target, std::uint64_t meta, MessageId id,
                       std::span<const std::byte> payload) noexcept;
    Result<void> write_and_ring(Target& target, Outgoing& message, Patience patience);
    // Lets the oldest messages go until `units` fit. How many went; room may still be missing.
    std::uint64_t drop_oldest(Target& target, std::uint64_t units);
    // Into the journal, for whoever the type or the options say. Errors: as for send; no_journal.
    Result<void> send_durably(const TypeDescriptor& type, Outgoing& message,
                              const SendOptions& options);
    // The lane of a command that is sent as its type says; completes the message for it.
    Result<Target*> target_of(const TypeDescriptor& type, std::string_view destination,
                              Outgoing& message);
    // The same, whatever the type says, for the way through the journal; events too.
    Result<Target*> durable_target_of(const TypeDescriptor& type, std::string_view destination,
                                      Outgoing& message);
    // Our lane into the journal. Errors: no_journal, and those of the session. Where a message of
    // `least_payload` bytes does not fit, a longer one takes its place: what stands in it then is
    // to be on disk, or may come behind what is sent next.
    Result<Target*> journal_target(std::uint64_t least_payload = 0);
    // A longer one beside it then: for what has no place in the order of what we send.
    Result<Target*> journal_target_beside(std::uint64_t payload);
    // The type's index, and which endpoint it is for; none when it is an event.
    Result<DurableRoute> durable_route(const TypeDescriptor& type, std::string_view destination);
    [[nodiscard]] static bool is_durable(const TypeDescriptor& type,
                                         const SendOptions& options) noexcept {
        return options.durability.value_or(type.durability) == Durability::durable &&
               type.kind != Kind::reply;
    }
    [[nodiscard]] Receipt last_receipt() const;
    // What was sent into the journal by this thread, for sync(). Any thread.
    void add_receipts(std::vector<Receipt>& into) const;
    // Those of lanes that were lost, once somebody has heard of it. Any thread.
    void forget_lost_receipts();

    // Messages that were let go for want of room, for our counters and the lane's.
    void note_dropped(Target& target, lane::Writer::Account why, std::uint64_t how_many) noexcept;

    // The lane was found lost: the next send opens another one.
    void abandon(Target& target) noexcept;
    [[nodiscard]] static Patience patience_of(WhenFull when_full, std::chrono::nanoseconds wait);
    // Says in all lanes that nothing follows.
    void close_lanes() noexcept;

    TypeTable<Route> routes;
    // The place where the way back to this requester is, if it is known.
    [[nodiscard, gnu::always_inline]] WayBack& way_back(const wire::ReplyTo& to) noexcept {
        return ways_back_[to.endpoint % ways_back_.size()];
    }
    // The index of this type in the directory, remembered by this thread. Errors: as
    // BusCore::type_index.
    Result<std::uint16_t> type_index(const TypeDescriptor& type);
    // Set while this thread runs a handler of this bus: sends join its outputs.
    Delivery* delivery = nullptr;
    // The route that this thread took last, as far as the quick ways tell: the next command most
    // likely takes it too. Of no type, when there is none.
    [[nodiscard, gnu::always_inline]] const Route& latest() const noexcept { return *latest_; }
    void note_latest(const Route& route) noexcept { latest_ = &route; }
    // The same for events.
    [[nodiscard, gnu::always_inline]] const Audience& latest_audience() const noexcept {
        return *latest_audience_;
    }
    void note_latest(const Audience& audience) noexcept { latest_audience_ = &audience; }

    // Commands that were sent. Any thread.
    [[nodiscard]] std::uint64_t commands_sent() const;

    // Counters, written by this thread, read by any.
    Tally sent;  // besides the quick ones that granted budgets tell of
    Tally published;
    Tally dropped;
    Tally without_subscriber;
    Tally replies_to_gone;

    TypeTable<Audience> audiences;
    // Of types that are declared durable and sent otherwise: not to be found by the quick ways.
    TypeTable<Route> routes_otherwise;
    TypeTable<Audience> audiences_otherwise;

private:
    struct NamedRoute {
        std::string destination;
        std::unique_ptr<Route> route;
    };
    // Which endpoint handles the command, or is named. Errors: no_route, no_endpoint.
    Result<EndpointHandle> receiver_of(const TypeDescriptor& type, std::uint16_t index,
                                       std::string_view destination) const;
    // What a quick way looks at: not zero, somebody may have to be woken.
    [[nodiscard]] static const base::StdWord<std::uint64_t>* sleepers_of(
        const Target& target) noexcept;
    Result<void> look_up(Route& route, const TypeDescriptor& type, std::string_view destination);
    Result<void> look_up(Audience& audience, const TypeDescriptor& type);
    Result<void> open(Target& target, std::uint32_t endpoint, std::uint32_t generation,
                      std::uint64_t least_payload);
    // Bytes of our lanes into this endpoint when nothing asks for more.
    [[nodiscard]] std::uint64_t usual_capacity(std::uint32_t endpoint) const;
    void adopt_lane(Target& target, base::File lane, std::shared_ptr<Inbox> inbox);
    [[nodiscard]] bool is_held_back(const Target& target) const;
    [[nodiscard]] bool is_wanted(const Target& target, std::uint16_t event) const;
    void ask_for_successor(Target& target, bool is_needed);
    [[nodiscard]] bool go_on_in_successor(Target& target, std::uint64_t units);
    [[nodiscard]] Error full(const Target& target) const;
    void forget_gone_endpoints() noexcept;
    // The next record of this lane carries the time, or not, and then `records` may go quickly.
    void grant(Target& target, std::uint64_t records) noexcept;
    void settle_grants(Target& target) noexcept;
    void spend(Target& target) noexcept;
    void forget_quick_routes(const Target& target) noexcept;
    void forget_ways_to(const Target& target) noexcept;

    BusCore& core_;
    const base::StdWord<std::uint64_t>* version_;
    const Route* latest_ = &no_route_;
    Route no_route_;
    const Audience* latest_audience_ = &no_audience_;
    Audience no_audience_;
    // Never removed, so that routes may point at them.
    std::vector<std::unique_ptr<Target>> targets_;
    // Taken by this thread when it changes targets_ or one's writer, by others to read those.
    mutable std::mutex counting_;
    std::vector<NamedRoute> named_routes_;
    TypeTable<DurableRoute> durable_routes_;
    struct KnownType {
        const TypeDescriptor* key = nullptr;
        std::uint16_t index = 0;
    };
    TypeTable<KnownType> types_;
    // By endpoint; those that share a place take turns. They stay where they are: see latest.
    std::array<WayBack, 16> ways_back_;
    Target* journal_ = nullptr;
    std::uint64_t journal_version_ = Route::no_version;
    std::vector<Receipt> receipts_of_old_;  // of lanes into the journal that were given up
};

// A refusal because of a message's length.
[[nodiscard]] Error too_large(std::size_t wanted, std::uint64_t limit);

}  // namespace shmbus::detail
