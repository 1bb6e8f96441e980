// The message in hand, and holding what its handler sends. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/delivery.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/clock.h"
#include "bus/bus_core.h"
#include "bus/refusal.h"
#include "bus/trace.h"

namespace shmbus::detail {

using namespace std::chrono_literals;

namespace {

constexpr std::chrono::nanoseconds reply_wait = 1s;

// Units of a lane for a held output, counted with the longest extensions: what is accepted here can
// always be written at once.
[[nodiscard]] std::uint64_t units_held(std::size_t bytes) noexcept {
    return (bytes + 256 + wire::unit_bytes - 1) / wire::unit_bytes;
}

}  // namespace

Delivery::Delivery(BusCore& core, EndpointHandle endpoint, std::string_view endpoint_name)
    : core_(core),
      endpoint_(endpoint),
      endpoint_name_(endpoint_name),
      endpoint_hash_(base::hash_of(std::as_bytes(std::span(endpoint_name_)))),
      context_(*this) {}

// ---- the message in hand

const wire::Extensions& Delivery::extensions() {
    static_cast<void>(envelope());
    return extensions_;
}

const Envelope& Delivery::envelope() {
    if (described_ == in_hand_.place) return envelope_;
    described_ = in_hand_.place;
    const lane::Entry entry = in_hand_.batch->entry(in_hand_.place.record());
    const wire::Meta meta = wire::Meta::of(entry.meta);
    extensions_.flags = 0;
    // Cannot be refused: the dispatcher has compared the block's length with the flags.
    if (meta.flags != 0)
        static_cast<void>(
            wire::read_extensions(meta, entry.record + wire::head_bytes, extensions_));
    const std::uint16_t flags = meta.flags;
    const bool has_id = (flags & wire::has_explicit_id) != 0;
    Envelope& told = envelope_;
    const bool is_mixed = (flags & wire::is_mixed_id) != 0;
    told.id = has_id ? wire::id_of_item(extensions_.id, is_mixed, in_hand_.place.item())
                     : wire::id_at(in_hand_.lane_id, entry.position, in_hand_.place.item());
    if (flags & wire::has_lineage) {
        told.related_to = extensions_.lineage.related_to;
        told.conversation = extensions_.lineage.conversation;
        told.correlation = extensions_.lineage.correlation;
    } else {
        const bool is_output = !is_mixed && !wire::is_place(told.id);
        const MessageId root = is_output ? wire::root_of(told.id) : told.id;
        told.related_to = is_output ? root : MessageId{};
        told.conversation = told.correlation = root;
    }
    if (type_named_ != meta.type || type_named_at_ != core_.directory().version()) {
        type_named_at_ = core_.directory().version();
        const auto row = core_.directory().type(meta.type);
        type_name_ = row ? std::string(row->name()) : std::string();
        type_named_ = meta.type;
    }
    told.type = type_name_;
    told.reply_to = (flags & wire::has_reply_to) ? extensions_.reply_to.endpoint : 0;
    told.attempt = in_hand_.attempt;
    told.redelivered = in_hand_.redelivered || (flags & wire::is_again) != 0;
    told.repeated = (flags & wire::is_repeated) != 0;
    told.time_sent_ns = (flags & wire::has_time_sent) ? extensions_.time_sent.monotonic_ns : 0;
    told.trace.reset();
    if (flags & wire::has_trace)
        told.trace = TraceContext{extensions_.trace.trace_id, extensions_.trace.parent_id,
                                  extensions_.trace.flags};
    told.failure = {};
    if (flags & wire::has_failure) {
        const wire::FailureRecord& record = extensions_.failure;
        const auto from = core_.directory().endpoint(record.endpoint);
        const bool is_it =
            from && wire::is_failed_at(record, from->index, from->row.generation);
        failed_endpoint_ = is_it ? std::string(from->name()) : std::string();
        told.failure.reason = record.reason <= static_cast<int>(FailureReason::not_decodable)
                                  ? static_cast<FailureReason>(record.reason)
                                  : FailureReason::none;
        told.failure.attempts = record.attempts;
        told.failure.signal = record.signal;
        told.failure.pid = record.pid;
        told.failure.endpoint = failed_endpoint_;
        told.failure.what = {record.what,
                             std::min<std::size_t>(record.what_bytes, sizeof(record.what))};
    }
    return envelope_;
}

bool Delivery::mixes_id(std::uint32_t packed) {
    const wire::Extensions& more = extensions();
    return packed != 0 || (more.flags & wire::has_lineage) != 0 ||
           ((more.flags & wire::has_explicit_id) != 0 && !wire::is_back(more));
}

MessageId Delivery::id_of_output(std::uint16_t ordinal, bool is_mixed) {
    const MessageId& parent = envelope().id;
    return is_mixed ? wire::id_mixed(parent, endpoint_hash_, ordinal)
                    : wire::id_of_output(parent, ordinal);
}

void Delivery::derive(std::uint16_t ordinal, MessageId chosen, Outgoing& into) {
    const Envelope& parent = envelope();
    wire::Extensions& extensions = into.extensions;
    const bool is_chosen = chosen != MessageId{};
    const bool is_mixed = mixes_id(into.packed);
    extensions.id = is_chosen ? chosen : id_of_output(ordinal, is_mixed);
    extensions.flags |= wire::has_explicit_id;
    if (parent.trace)
        into.carry({parent.trace->trace_id, span_of(parent.id, parent.attempt),
                    parent.trace->flags});
    // Of a second one of its message this is a second one as well.
    if (parent.redelivered || parent.repeated) into.flags |= wire::is_repeated;
    if (!is_chosen && !is_mixed) return;
    extensions.lineage = {parent.id, parent.conversation, parent.correlation};
    extensions.flags |= wire::has_lineage;
    into.flags |= wire::is_mixed_id;
}

void Delivery::tell_span(std::uint64_t begin_ns, std::uint64_t end_ns,
                         std::string_view complaint) noexcept {
    if (!core_.spans()) return;
    try {
        const Envelope& message = envelope();
        if (!message.trace || !message.trace->is_sampled()) return;
        core_.spans()(span_line(message, {begin_ns, end_ns, endpoint_name_,
                                          core_.session().process_name(), complaint}));
    } catch (const std::exception& error) {
        core_.log(LogLevel::warning, std::string("a span was not told: ") + error.what());
    }
}

// ---- staging

// The message in hand was sent outside a handler, and for the first time as far as we know: the id
// of an output is then its place and the output's number.
bool Delivery::is_plain_root(std::uint64_t meta) const noexcept {
    constexpr std::uint64_t tells_of_origin =
        wire::has_explicit_id | wire::has_lineage | wire::has_failure | wire::is_mixed_id |
        wire::is_repeated | wire::has_trace;
    return (meta >> 52 & tells_of_origin) == 0 && !in_hand_.redelivered;
}

// False: the output takes the usual way.
template <class Copy>
[[gnu::always_inline]] inline bool Delivery::stage_through(const Route& route,
                                                           const TypeDescriptor& type,
                                                           std::span<const std::byte> bytes,
                                                           const SendOptions& options,
                                                           Copy copy) noexcept {
    const lane::Batch& batch = *in_hand_.batch;
    const Place place = in_hand_.place;
    // Those that are listed are no stream of the same.
    if (outputs_ != 0 || batch.units_each == 0 || !is_plain_root(batch.first.meta)) return false;
    constexpr std::uint64_t with_id = wire::Meta{0, 0, 1, wire::has_explicit_id}.word();
    const std::uint64_t meta = route.meta | bytes.size() | with_id;
    const std::size_t record_bytes = wire::head_bytes + sizeof(MessageId) + bytes.size();
    const std::uint64_t units = (record_bytes + wire::unit_bytes - 1) / wire::unit_bytes;
    Target& target = *route.target;
    const lane::QuickClaim claim = target.writer->claim_quickly(units);
    if (!claim) return false;
    const std::uint64_t position =
        batch.first.position + std::uint64_t{batch.units_each} * place.record();
    const MessageId id =
        wire::id_of_output(wire::id_at(in_hand_.lane_id, position, place.item()), 1);
    std::memcpy(claim.record + wire::head_bytes, &id, sizeof(id));
    copy(claim.record + wire::head_bytes + sizeof(id), bytes.data(), bytes.size());
    close_end(claim.record, record_bytes);
    staged_ = {&target, &type, claim, meta, options.when_full, options.wait, nullptr};
    target.held_units = units;
    outputs_ = 1;
    run_until_ = 0;
    return true;
}

bool Delivery::stage(const TypeDescriptor& type, std::span<const std::byte> bytes,
                     const SendOptions& options) noexcept {
    const Target* const target = outbound_->quick_target(type, options, bytes.size());
    return target != nullptr && stage_through(outbound_->routes.guess(&type), type, bytes, options,
                                              [](auto... parts) { copy_bytes(parts...); });
}

// To a requester that this thread has answered before, as stage.
bool Delivery::stage_reply(const TypeDescriptor& type,
                           std::span<const std::byte> bytes) noexcept {
    const lane::Batch& batch = *in_hand_.batch;
    const std::uint64_t flags = batch.first.meta >> 52;
    if (batch.units_each == 0 ||
        (flags & (wire::has_explicit_id | wire::has_reply_to)) != wire::has_reply_to)
        return false;
    wire::ReplyTo to;
    std::memcpy(&to, batch.entry(in_hand_.place.record()).record + wire::head_bytes, sizeof(to));
    const WayBack& way = outbound_->way_back(to);
    if (way.route.key != &type || way.route.version != outbound_->directory_version() ||
        way.to.endpoint != to.endpoint || way.to.generation != to.generation ||
        bytes.size() > way.route.most_payload ||
        !stage_through(way.route, type, bytes, default_send_options,
                       [](auto... parts) { copy_bytes(parts...); }))
        return false;
    staged_.way_back = &way;
    return true;
}

// The usual way, short, and with no call in it that would need a stack: the type that was sent
// last, of a middle size.
Result<void> Delivery::send(const TypeDescriptor& type, std::span<const std::byte> bytes,
                            const SendOptions& options) {
    const Route& route = outbound_->latest();
    if (route.key == &type && route.quick_version == outbound_->directory_version() &&
        (&options == &default_send_options || options.is_usual()) &&
        is_middle_size(bytes.size()) &&
        stage_through(route, type, bytes, options, [](auto... parts) { copy_middle(parts...); }))
        [[likely]]
        return {};
    return hold_send(type, bytes, 0, options);
}

void Delivery::forget_staged() noexcept {
    wire::abandon_record(staged_.claim.record, wire::units_of(staged_.meta));
    staged_.target->held_units = 0;
    staged_.target = nullptr;
    outputs_ = 0;
}

void Delivery::hold_staged() {
    const Staged staged = staged_;
    const wire::Meta meta = wire::Meta::of(staged.meta);
    const std::byte* payload = staged.claim.record + meta.payload_offset();
    const std::vector<std::byte> copy(payload, payload + meta.payload_bytes);
    forget_staged();
    // Cannot be refused: it was accepted before, and is the first.
    if (staged.way_back != nullptr) {
        static_cast<void>(hold_reply(*staged.type, copy));
        return;
    }
    SendOptions options;
    options.when_full = staged.when_full;
    options.wait = staged.wait;
    static_cast<void>(hold_to(*staged.target, staged.meta, *staged.type, copy, 0, options));
}

void Delivery::publish_staged() noexcept {
    Target& target = *staged_.target;
    target.writer->commit_quickly(staged_.claim, staged_.meta, target.held_units);
    if (staged_.way_back != nullptr) {
        outbound_->note_latest(staged_.way_back->route);
        target.spent_otherwise.add(1);  // not a command
    } else if (outbound_->latest().key != staged_.type) {
        outbound_->note_latest(outbound_->routes.guess(staged_.type));
    }
    target.held_units = 0;
    staged_.target = nullptr;
    outputs_ = 0;
    Outbound::ring(target);
}

// ---- holding

Error Delivery::noted(Error error) {
    if (error == ErrorCode::no_daemon || error == ErrorCode::timeout ||
        error == ErrorCode::no_journal) {
        missed_at_ = in_hand_.place;
        why_kept_ = error.text();
    }
    return error;
}

Result<Delivery::Held*> Delivery::hold(Verb verb, const TypeDescriptor& type,
                                       std::span<const std::byte> bytes) {
    if (held_.size() >= most_outputs) return Error(ErrorCode::too_many);
    Held held;
    held.verb = verb;
    held.descriptor = &type;
    held.ordinal = static_cast<std::uint16_t>(held_.size() + 1);
    held.offset = bytes_.size();
    held.bytes = bytes.size();
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    held_.push_back(held);
    ++outputs_;
    run_until_ = 0;
    return &held_.back();
}

bool Delivery::can_hold(const Target& target, std::uint64_t units) noexcept {
    return target.held_units + units <= 2 * target.writer->most_units();
}

void Delivery::count_held(Target& target, std::uint64_t units) {
    if (target.held_units == 0) counted_.push_back(&target);
    target.held_units += units;
}

Result<void> Delivery::hold_to(Target& target, std::uint64_t type_meta, const TypeDescriptor& type,
                               std::span<const std::byte> bytes, std::uint32_t packed,
                               const SendOptions& options) {
    const std::size_t whole = bytes.size() + (packed != 0 ? 16 : 0);
    if (whole > target.most_payload()) return too_large(whole, target.most_payload());
    const std::uint64_t units = units_held(whole);
    if (!can_hold(target, units)) return Error(ErrorCode::too_many);
    const Result<Held*> held = hold(Verb::send, type, bytes);
    if (!held) return held.error();
    count_held(target, units);
    (*held)->type = wire::Meta::of(type_meta).type;
    (*held)->packed = packed;
    (*held)->target = &target;
    (*held)->trace = options.trace;
    // The oldest are others' commands: as outside a handler.
    (*held)->when_full = options.when_full == WhenFull::drop_oldest ? WhenFull::refuse
                                                                    : options.when_full;
    (*held)->wait = options.wait;
    return {};
}

Result<void> Delivery::hold_durably(const TypeDescriptor& type, std::span<const std::byte> bytes,
                                    std::uint32_t packed, const DurableRoute& route,
                                    const SendOptions& options) {
    const Result<Target*> journal = outbound_->journal_target();
    if (!journal) return noted(journal.error());
    const Result<void> held =
        hold_to(**journal, wire::Meta{0, route.type, 0, 0}.word(), type, bytes, packed, options);
    if (!held) return held;
    held_.back().is_durable = true;
    held_.back().durable = route.to;
    held_.back().id = options.id;
    // Nobody may let it go.
    if (options.when_full == WhenFull::drop_newest) held_.back().when_full = WhenFull::refuse;
    return {};
}

Result<void> Delivery::hold_send(const TypeDescriptor& type, std::span<const std::byte> bytes,
                                 std::uint32_t packed, const SendOptions& options) {
    if (packed == 0 && stage(type, bytes, options)) return {};
    if (staged_.target != nullptr) hold_staged();
    if (Outbound::is_durable(type, options)) {
        const Result<DurableRoute> route = outbound_->durable_route(type, options.destination);
        if (!route) return noted(route.error());
        return hold_durably(type, bytes, packed, *route, options);
    }
    const Result<Route*> route = outbound_->route(type, options.destination);
    if (!route) return noted(route.error());
    return hold_to(*(*route)->target, (*route)->meta, type, bytes, packed, options);
}

Result<void> Delivery::send_local(const TypeDescriptor& type, std::span<const std::byte> bytes) {
    if (staged_.target != nullptr) hold_staged();
    const Result<std::uint16_t> index = core_.type_index(type);
    if (!index) return noted(index.error());
    if (Outbound::is_durable(type, default_send_options))
        return hold_durably(type, bytes, 0,
                            {&type, 0, *index, {endpoint_.index, endpoint_.generation, 0}},
                            default_send_options);
    const Result<Target*> self = outbound_->target(endpoint_.index, endpoint_.generation);
    if (!self) return noted(self.error());
    return hold_to(**self, wire::Meta{0, *index, 0, 0}.word(), type, bytes, 0,
                   default_send_options);
}

Result<void> Delivery::publish(const TypeDescriptor& type, std::span<const std::byte> bytes,
                               const SendOptions& options) {
    if (staged_.target != nullptr) hold_staged();
    if (Outbound::is_durable(type, options)) {
        const Result<DurableRoute> route = outbound_->durable_route(type, {});
        if (!route) return noted(route.error());
        return hold_durably(type, bytes, 0, *route, options);
    }
    const Result<Audience*> audience = outbound_->audience(type);
    if (!audience) return noted(audience.error());
    // All of it or none.
    if (const Result<void> all = (*audience)->reaches_all(); !all) return noted(all.error());
    if (bytes.size() > (*audience)->most_payload)
        return too_large(bytes.size(), (*audience)->most_payload);
    const std::uint64_t units = units_held(bytes.size());
    const auto waits_for = [](const Subscription& to) {
        return must_arrive(to.when_full) && to.target->writer != nullptr;
    };
    for (const Subscription& to : (*audience)->subscribers)
        if (waits_for(to) && !can_hold(*to.target, units)) return Error(ErrorCode::too_many);
    const Result<Held*> held = hold(Verb::publish, type, bytes);
    if (!held) return held.error();
    for (const Subscription& to : (*audience)->subscribers)
        if (waits_for(to)) count_held(*to.target, units);
    (*held)->trace = options.trace;
    (*held)->when_full = options.when_full;
    (*held)->wait = options.wait;
    return {};
}

Result<void> Delivery::reply(const TypeDescriptor& type, std::span<const std::byte> bytes) {
    if (stage_reply(type, bytes)) return {};
    if (envelope().reply_to == 0) return Error(ErrorCode::no_reply_address);
    if (staged_.target != nullptr) hold_staged();
    return hold_reply(type, bytes);
}

Result<void> Delivery::hold_reply(const TypeDescriptor& type, std::span<const std::byte> bytes) {
    static_cast<void>(envelope());  // describes the extensions
    const Result<std::uint16_t> index = outbound_->type_index(type);
    if (!index) return noted(index.error());
    const Result<Held*> held = hold(Verb::reply, type, bytes);
    if (!held) return held.error();
    (*held)->type = *index;
    (*held)->address = extensions_.reply_to;
    (*held)->wait = reply_wait;
    return {};
}

Result<void> Delivery::hold_request(const TypeDescriptor& type, std::span<const std::byte> bytes,
                                    const RequestOptions& request,
                                    const std::shared_ptr<PendingCore>& pending) {
    const Result<wire::ReplyTo> address = core_.requests().address();
    if (!address) return noted(address.error());
    SendOptions options;
    options.destination = request.destination;
    options.trace = request.trace;
    if (const Result<void> held = hold_send(type, bytes, 0, options); !held) return held;
    if (staged_.target != nullptr) hold_staged();
    Held& held = held_.back();
    held.address = *address;
    pending->id = id_of_output(held.ordinal, mixes_id(0));
    core_.requests().expect(pending);
    asked_.push_back(pending);
    return {};
}

void Delivery::drop() noexcept {
    // Before the handler is called again, whose requests have the same ids.
    for (const auto& pending : asked_) core_.requests().end_unsent(*pending);
    asked_.clear();
    if (staged_.target != nullptr) forget_staged();
    outputs_ = 0;
    for (Target* const target : counted_) target->held_units = 0;
    counted_.clear();
    held_.clear();
    bytes_.clear();
    legs_.clear();
}

}  // namespace shmbus::detail
