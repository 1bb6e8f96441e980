// One thread's way out, its slow half: routes, lanes, writing. Waiting for room is in room.cc,
// publishing in publish.cc.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/outbound.h"

#include <algorithm>

#include "base/clock.h"
#include "bus/bus_core.h"
#include "bus/refusal.h"

namespace shmbus::detail {

Error too_large(std::size_t wanted, std::uint64_t limit) {
    Refusal& details = fresh_refusal();
    details.wanted_bytes = wanted;
    details.limit_bytes = limit;
    return Error(ErrorCode::too_large, &details);
}

std::uint64_t Outgoing::most_units() const noexcept {
    const std::uint16_t all = extensions.flags | wire::has_time_sent;
    const std::uint64_t bytes = wire::head_bytes + wire::extension_bytes(all) + payload.size() +
                                (packed != 0 ? 16 : 0);
    return (bytes + wire::unit_bytes - 1) / wire::unit_bytes;
}

Outbound::Outbound(BusCore& core) : core_(core), version_(&core.version_word().word()) {}

Outbound::~Outbound() = default;

void Outbound::close_lanes() noexcept {
    for (const auto& target : targets_)
        if (target->writer != nullptr) target->writer->close();
}

void Outbound::wake(Target& target) noexcept { lane::wake_one(*target.doorbell, target.bell); }

// ---- routes

Result<Route*> Outbound::route(const TypeDescriptor& type, std::string_view destination) {
    Route* found = nullptr;
    if (destination.empty()) {
        found = type.durability == Durability::durable ? &routes_otherwise.of(&type)
                                                       : &routes.of(&type);
    } else {
        for (NamedRoute& named : named_routes_)
            if (named.route->key == &type && named.destination == destination)
                found = named.route.get();
        if (found == nullptr) {
            named_routes_.push_back({std::string(destination), std::make_unique<Route>()});
            found = named_routes_.back().route.get();
            found->key = &type;
        }
    }
    if (found->target == nullptr || found->target->writer == nullptr ||
        found->version != directory_version()) {
        if (const Result<void> looked = look_up(*found, type, destination); !looked)
            return looked.error();
    }
    return found;
}

Result<EndpointHandle> Outbound::receiver_of(const TypeDescriptor& type, std::uint16_t index,
                                             std::string_view destination) const {
    std::optional<directory::Endpoint> there;
    if (destination.empty()) {
        const std::uint32_t endpoint = core_.directory().route(index);
        if (endpoint != 0) there = core_.directory().endpoint(endpoint);
        if (!there) return refuse(ErrorCode::no_route, type.name);
    } else {
        there = core_.directory().find_endpoint(destination);
        if (!there) return refuse(ErrorCode::no_endpoint, destination);
    }
    return EndpointHandle{there->index, there->row.generation};
}

const base::StdWord<std::uint64_t>* Outbound::sleepers_of(const Target& target) noexcept {
    // Where senders have to fence, each has somebody to look after.
    static constinit const base::StdWord<std::uint64_t> somebody{1};
    return target.fence ? &somebody : &target.doorbell->sleepers;
}

Result<void> Outbound::look_up(Route& route, const TypeDescriptor& type,
                               std::string_view destination) {
    latest_ = &no_route_;  // a new row may have moved the others
    // Read before the tables: if they change meanwhile, the next send looks again.
    const std::uint64_t version = directory_version();
    route.target = nullptr;
    const Result<std::uint16_t> index = core_.type_index(type);
    if (!index) return index.error();
    const Result<EndpointHandle> there = receiver_of(type, *index, destination);
    if (!there) return there.error();
    const Result<Target*> opened = target(there->index, there->generation);
    if (!opened) return opened.error();
    // A table that grew meanwhile would have moved the route; nothing above adds to it.
    route.target = *opened;
    route.meta = wire::Meta{0, *index, 0, 0}.word();
    route.most_payload = (*opened)->most_payload();
    route.version = version;
    const bool is_quick = type.bytes != 0 && type.bytes <= route.most_payload &&
                          open_end(wire::head_bytes + type.bytes) == 0;
    route.quick_version = is_quick ? version : Route::no_version;
    route.writer = (*opened)->writer;
    route.whole_meta = route.meta | type.bytes;
    route.units = wire::units_of(route.whole_meta);
    route.sleepers = sleepers_of(**opened);
    return {};
}

Result<std::uint16_t> Outbound::type_index(const TypeDescriptor& type) {
    const KnownType& known = types_.guess(&type);
    if (known.key == &type) return known.index;
    const Result<std::uint16_t> index = core_.type_index(type);
    if (index) types_.of(&type).index = *index;
    return index;
}

// ---- lanes

Result<Target*> Outbound::target(std::uint32_t endpoint, std::uint32_t generation,
                                 std::uint64_t least_payload, bool is_beside) {
    Target* found = nullptr;
    for (const auto& target : targets_)
        if (target->endpoint == endpoint && target->is_beside == is_beside) found = target.get();
    if (found != nullptr && found->generation == generation &&
        found->writer != nullptr && found->most_payload() >= least_payload)
        return found;
    if (found == nullptr) {
        forget_gone_endpoints();
        for (const auto& target : targets_)
            if (target->endpoint == 0 && !target->has_loan && target->held_units == 0)
                found = target.get();
    }
    if (found == nullptr) {
        const std::lock_guard lock(counting_);
        targets_.push_back(std::make_unique<Target>());
        found = targets_.back().get();
    }
    found->is_beside = is_beside;
    if (found->has_loan)
        return refuse(ErrorCode::would_block, "a loan of an endpoint that is gone is still open");
    if (const Result<void> opened = open(*found, endpoint, generation, least_payload); !opened)
        return opened.error();
    return found;
}

std::uint64_t Outbound::usual_capacity(std::uint32_t endpoint) const {
    if (core_.options().lane_bytes != 0) return core_.options().lane_bytes;
    const auto there = core_.directory().endpoint(endpoint);
    return there ? there->row.lane_bytes : 0;
}

Result<void> Outbound::open(Target& target, std::uint32_t endpoint, std::uint32_t generation,
                            std::uint64_t least_payload) {
    abandon(target);
    // A record may take a quarter of its lane. 0: as long as lanes into this endpoint are anyway.
    std::uint64_t capacity = 0;
    if (least_payload != 0) {
        const std::uint64_t least = std::bit_ceil(4 * (least_payload + 2 * 256));
        if (least > usual_capacity(endpoint)) capacity = least;
    }
    Result<BusCore::LaneToWrite> made = core_.open_lane(endpoint, generation, capacity);
    if (!made) return made.error();
    try {
        target.endpoint = endpoint;
        target.generation = generation;
        adopt_lane(target, std::move(made->lane), std::move(made->inbox));
    } catch (const std::exception& error) {
        abandon(target);
        return refuse(ErrorCode::lane_lost, error.what());
    }
    return {};
}

void Outbound::adopt_lane(Target& target, base::File lane, std::shared_ptr<Inbox> inbox) {
    auto writer = std::make_unique<lane::Writer>(lane);
    {
        const std::lock_guard lock(counting_);
        target.current = std::move(writer);
        target.writer = target.current.get();
    }
    target.inbox = std::move(inbox);
    target.doorbell = &target.inbox->view.doorbell();
    target.bell = &target.inbox->bell;
    target.fence = core_.fences();
    target.dropper.reset();
    target.asked_ns = 0;
}

// Quick sends are counted up to here by the counter, from here on by a new budget.
void Outbound::settle_grants(Target& target) noexcept {
    if (target.writer == nullptr) return;
    sent.add(target.quick_commands());
    target.granted.set(0);
    target.spent_otherwise.set(0);
    target.writer->set_budget(0);
}

void Outbound::grant(Target& target, std::uint64_t records) noexcept {
    const std::lock_guard lock(counting_);
    settle_grants(target);
    target.granted.set(std::min(records, lane::Writer::most_budget));
    target.writer->set_budget(target.granted.read());
}

std::uint64_t Outbound::commands_sent() const {
    const std::lock_guard lock(counting_);
    std::uint64_t all = sent.read();
    for (const auto& target : targets_)
        if (target->writer != nullptr) all += target->quick_commands();
    return all;
}

// A record that is counted elsewhere goes off the budget too.
void Outbound::spend(Target& target) noexcept {
    if (target.has_loan || target.writer->budget() == 0) return;
    target.spent_otherwise.add(1);
    target.writer->set_budget(target.writer->budget() - 1);
}

void Outbound::forget_quick_routes(const Target& target) noexcept {
    latest_ = &no_route_;
    routes.for_each([&](Route& route) {
        if (route.target == &target) route.quick_version = Route::no_version;
    });
    for (WayBack& way : ways_back_)
        if (way.route.target == &target) way = {};
}

// It may lead to another endpoint soon, without the directory moving: a lane that was made ahead is
// taken by name when no daemon is there.
void Outbound::forget_ways_to(const Target& target) noexcept {
    forget_quick_routes(target);
    const auto forget_route = [&](Route& route) {
        if (route.target == &target) route.version = Route::no_version;
    };
    routes.for_each(forget_route);
    routes_otherwise.for_each(forget_route);
    for (const NamedRoute& named : named_routes_) forget_route(*named.route);
    latest_audience_ = &no_audience_;
    const auto forget_audience = [&](Audience& audience) {
        for (const Subscription& to : audience.subscribers)
            if (to.target == &target) audience.version = Audience::no_version;
    };
    audiences.for_each(forget_audience);
    audiences_otherwise.for_each(forget_audience);
    const std::lock_guard lock(counting_);
    if (journal_ == &target) journal_ = nullptr;
}

void Outbound::abandon(Target& target) noexcept {
    forget_ways_to(target);
    {
        const std::lock_guard lock(counting_);
        settle_grants(target);
        target.writer = nullptr;
    }
    target.dropper.reset();
    if (target.receipts != nullptr) {
        const std::lock_guard lock(counting_);
        receipts_of_old_.emplace_back(std::exchange(target.receipts, nullptr),
                                      target.current ? target.current->tail() : 0);
    }
    target.is_deaf = false;
    target.before.clear();
    if (target.current) target.current->close();
    target.current.reset();
    target.successor.close();
    target.asked_ns = 0;
    target.is_private = false;
    target.why_none.clear();
    target.endpoint = 0;
    target.generation = 0;
}

// Requesters come and go: their lanes go with them.
void Outbound::forget_gone_endpoints() noexcept {
    for (const auto& target : targets_) {
        if (target->endpoint == 0 || target->has_loan || target->held_units != 0) continue;
        const auto row = core_.directory().endpoint(target->endpoint);
        if (!row || row->row.generation != target->generation) abandon(*target);
    }
}

void Outbound::note_dropped(Target& target, lane::Writer::Account why,
                            std::uint64_t how_many) noexcept {
    dropped.add(how_many);
    if (target.writer != nullptr) target.writer->note(why, how_many);
}

// ---- writing

void Outbound::write(Target& target, Outgoing& message) noexcept {
    wire::Extensions& extensions = message.extensions;
    // This one and the quick ones that follow are time_sent_every.
    if (target.writer->budget() == 0 && !target.has_loan) {
        const std::uint32_t every = core_.options().time_sent_every;
        grant(target, every == 0 ? lane::Writer::most_budget : every - 1);
        if (every != 0) {
            extensions.flags |= wire::has_time_sent;
            extensions.time_sent = {static_cast<std::int64_t>(base::now_ns()), 0};
        }
    } else {
        spend(target);
    }
    const std::size_t extension_bytes = wire::extension_bytes(extensions.flags);
    const std::size_t head = message.packed != 0 ? 16 : 0;
    const wire::Meta meta{
        static_cast<std::uint32_t>(message.payload.size() + head), message.type,
        static_cast<std::uint8_t>(extension_bytes / 16),
        static_cast<std::uint16_t>(extensions.flags | message.flags |
                                   (message.packed != 0 ? wire::is_packed : 0))};
    const lane::Claim claim = target.writer->claim(wire::units_of(meta.word()));
    base::check(static_cast<bool>(claim), "room for a record was seen before it is written");
    target.writer->ask_ahead(claim, wire::units_of(meta.word()));
    std::byte* at = claim.record + wire::head_bytes;
    wire::write_extensions(extensions, at);
    at += extension_bytes;
    if (message.packed != 0) {
        const std::array<std::uint32_t, 4> count{message.packed, 0, 0, 0};
        std::memcpy(at, count.data(), sizeof(count));
        at += sizeof(count);
    }
    copy_bytes(at, message.payload.data(), message.payload.size());
    close_end(claim.record, meta.payload_offset() + meta.payload_bytes);
    target.writer->commit(claim, meta.word(), std::max(message.packed, 1U));
    extensions.flags &= static_cast<std::uint16_t>(~wire::has_time_sent);
}

void Outbound::write_with_id(Target& target, std::uint64_t meta_of_type, MessageId id,
                             std::span<const std::byte> payload) noexcept {
    const std::uint64_t meta =
        meta_of_type |
        wire::Meta{static_cast<std::uint32_t>(payload.size()), 0, 1, wire::has_explicit_id}.word();
    const lane::Claim claim = target.writer->claim(wire::units_of(meta));
    base::check(static_cast<bool>(claim), "room for a record was seen before it is written");
    std::memcpy(claim.record + wire::head_bytes, &id, sizeof(id));
    copy_bytes(claim.record + wire::head_bytes + sizeof(id), payload.data(), payload.size());
    close_end(claim.record, wire::head_bytes + sizeof(id) + payload.size());
    target.writer->commit(claim, meta);
}

Result<void> Outbound::write_and_ring(Target& target, Outgoing& message, Patience patience) {
    if (const Result<void> room = make_room(target, message.most_units(), patience); !room)
        return room;
    write(target, message);
    ring(target);
    return {};
}

void Outgoing::carry(const TraceContext& trace) noexcept {
    extensions.trace = {trace.trace_id, trace.parent_id, trace.flags, {}};
    extensions.flags |= wire::has_trace;
}

Result<void> Outbound::send(const TypeDescriptor& type, Outgoing& message,
                            const SendOptions& options) {
    if (options.trace) message.carry(*options.trace);
    if (is_durable(type, options)) [[unlikely]] return send_durably(type, message, options);
    const Result<Route*> found = route(type, options.destination);
    if (!found) return found.error();
    Target& target = *(*found)->target;
    const std::size_t bytes = message.payload.size() + (message.packed != 0 ? 16 : 0);
    if (bytes > (*found)->most_payload) return too_large(bytes, (*found)->most_payload);
    message.type = wire::Meta::of((*found)->meta).type;
    const Result<void> written =
        write_and_ring(target, message, patience_of(options.when_full, options.wait));
    if (!written) {
        if (written.error() == ErrorCode::full && options.when_full == WhenFull::drop_newest) {
            note_dropped(target, lane::Writer::Account::dropped_newest,
                         std::max(message.packed, 1U));
            return {};
        }
        return written;
    }
    sent.add(message.packed != 0 ? message.packed : 1);
    return {};
}

}  // namespace shmbus::detail
