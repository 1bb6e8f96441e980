// A handler's outputs leave, all of them or none, when it has returned. See bus/delivery.h.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/delivery.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "bus/bus_core.h"
#include "bus/refusal.h"

namespace shmbus::detail {

Outgoing Delivery::outgoing(const Held& held, bool any_extension) {
    Outgoing message;
    message.type = held.type;
    message.packed = held.packed;
    message.payload = std::span(bytes_).subspan(held.offset, held.bytes);
    derive(held.ordinal, held.id, message);
    if (held.trace) message.carry(*held.trace);
    if (held.is_durable) {
        message.extensions.durable = held.durable;
        if (extensions_.flags & wire::has_durable)
            message.extensions.durable.lsn =
                wire::output_of(extensions_.durable.lsn, endpoint_.index);
        message.extensions.flags |= wire::has_durable;
    }
    if (any_extension && held.verb == Verb::send && held.address.endpoint != 0) {
        message.extensions.reply_to = held.address;
        message.extensions.flags |= wire::has_reply_to;
    }
    return message;
}

void Delivery::flush_held_or_throw() {
    const Result<void> flushed = flush_held();
    if (!flushed)
        throw std::runtime_error("outputs not sent: " +
                                 std::string(name_of(flushed.error().code())));
}

bool Delivery::is_gone(const wire::ReplyTo& address) const noexcept {
    const auto row = core_.directory().endpoint(address.endpoint);
    if (!row || row->row.generation != address.generation ||
        row->row.kind != directory::EndpointKind::reply_inbox)
        return true;
    const auto owner = core_.directory().participant(wire::Reference{row->row.owner});
    return !owner || owner->row.state != directory::RowState::live;
}

Result<void> Delivery::plan_reply(const Held& held) {
    // Read before the tables: if they change meanwhile, the next reply looks again.
    const std::uint64_t version = outbound_->directory_version();
    if (is_gone(held.address)) {
        outbound_->replies_to_gone.add(1);
        return {};
    }
    const Result<Target*> to = outbound_->target(held.address.endpoint, held.address.generation);
    if (!to) {
        // Asked behind the refusal: the daemon says so of who is gone, and of who lives for want of
        // a quota, or of room.
        if (!is_gone(held.address)) return to.error();
        outbound_->replies_to_gone.add(1);
        return {};
    }
    if (held.bytes > (*to)->most_payload()) return too_large(held.bytes, (*to)->most_payload());
    legs_.push_back({&held, *to, WhenFull::wait, held.wait, 0});
    WayBack& way = outbound_->way_back(held.address);
    way.to = held.address;
    way.route.key = held.descriptor;
    way.route.writer = (*to)->writer;
    way.route.version = version;
    way.route.target = *to;
    way.route.meta = wire::Meta{0, held.type, 0, 0}.word();
    way.route.most_payload = (*to)->most_payload();
    return {};
}

Result<void> Delivery::plan() {
    legs_.clear();
    for (Held& held : held_) {
        if (held.verb == Verb::reply) {
            if (const Result<void> planned = plan_reply(held); !planned) return planned;
        } else if (held.verb == Verb::send) {
            if (held.target->writer == nullptr) return Error(ErrorCode::lane_lost);
            legs_.push_back({&held, held.target, held.when_full, held.wait, 0});
        } else {
            const Result<Audience*> audience = outbound_->audience(*held.descriptor);
            if (!audience) return audience.error();
            if (const Result<void> all = (*audience)->reaches_all(); !all) return all;
            held.type = wire::Meta::of((*audience)->meta).type;
            if ((*audience)->subscribers.empty()) outbound_->without_subscriber.add(1);
            for (const Subscription& to : (*audience)->subscribers) {
                // As Outbound::publish_one: who publishes may refuse to wait.
                const bool is_refused =
                    to.when_full == WhenFull::wait && held.when_full != WhenFull::wait;
                legs_.push_back({&held, to.target, is_refused ? WhenFull::refuse : to.when_full,
                                 std::min(to.wait, held.wait), 0});
            }
        }
    }
    // A requester may have gone while lanes were opened for what comes behind the reply: its target
    // is nobody's then, or another's already.
    std::erase_if(legs_, [&](const Leg& leg) {
        const wire::ReplyTo& to = leg.held->address;
        if (leg.held->verb != Verb::reply ||
            (leg.target->endpoint == to.endpoint && leg.target->generation == to.generation))
            return false;
        outbound_->replies_to_gone.add(1);
        return true;
    });
    return {};
}

// A requester that reads no answers is waited for once, not for each of them.
Result<void> Delivery::make_room(const Leg& leg) {
    Patience patience = Outbound::patience_of(leg.when_full, leg.wait);
    if (leg.held->verb == Verb::publish) patience.event = leg.held->type;
    if (leg.target->is_deaf) patience = {};
    const Result<void> room =
        outbound_->make_room(*leg.target, leg.target->held_units, patience);
    leg.target->is_deaf = leg.held->verb == Verb::reply && room.error() == ErrorCode::full;
    return room;
}

// Sees that everything that may not be left out has room, before anything is written.
Result<void> Delivery::reserve() {
    for (Leg& leg : legs_) {
        leg.target->held_units = 0;
        // The head, all extensions, and the payload: never less than what is written.
        leg.units = outgoing(*leg.held, true).most_units();
    }
    for (const Leg& leg : legs_)
        if (must_arrive(leg.when_full)) leg.target->held_units += leg.units;
    Result<void> answer;
    for (Leg& leg : legs_) {
        if (!must_arrive(leg.when_full) || leg.target->held_units == 0 || !answer) continue;
        const Result<void> room = make_room(leg);
        if (room) {
            leg.target->held_units = 0;  // for all that goes there
        } else if (room.error() == ErrorCode::no_endpoint || leg.target->is_deaf) {
            // The requester has died or does not listen, the subscriber has left: the rest goes
            // without this one.
            if (leg.held->verb == Verb::reply) outbound_->replies_to_gone.add(1);
            leg.target->held_units -= leg.units;
            leg.held = nullptr;
        } else {
            answer = room;
        }
    }
    for (const Leg& leg : legs_) leg.target->held_units = 0;
    std::erase_if(legs_, [](const Leg& leg) { return leg.held == nullptr; });
    if (!answer) return answer;
    // What is still to be written there: see write.
    for (const Leg& leg : legs_)
        if (must_arrive(leg.when_full)) leg.target->held_units += leg.units;
    return {};
}

void Delivery::write(const Leg& leg) {
    Target& target = *leg.target;
    Outgoing message = outgoing(*leg.held, true);
    if (must_arrive(leg.when_full)) {
        target.held_units -= leg.units;
    } else {
        // Not into the room that was seen for what must arrive behind it.
        const std::uint64_t units = leg.units + target.held_units;
        if (leg.when_full == WhenFull::drop_oldest)
            outbound_->note_dropped(target, lane::Writer::Account::dropped_oldest,
                                    outbound_->drop_oldest(target, units));
        if (!target.writer->claim(units) &&
            !target.writer->count_room(target.inbox->view, units)) {
            outbound_->note_dropped(target, lane::Writer::Account::dropped_newest,
                                    std::max(message.packed, 1U));
            return;
        }
    }
    const bool only_id = message.extensions.flags == wire::has_explicit_id &&
                         message.flags == 0 && message.packed == 0;
    if (only_id && target.writer->budget() > 0) {
        outbound_->write_with_id(target, wire::Meta{0, message.type, 0, 0}.word(),
                                 message.extensions.id, message.payload);
    } else {
        outbound_->write(target, message);
    }
    Outbound::ring(target);
}

Result<void> Delivery::flush_held() {
    if (held_.empty()) return {};
    Result<void> answer = plan();
    if (!answer) answer = noted(answer.error());
    else answer = reserve();
    if (answer) {
        for (const Leg& leg : legs_) write(leg);
        for (const Held& held : held_) {
            if (held.descriptor->kind == Kind::event) outbound_->published.add(1);
            else if (held.verb == Verb::send) outbound_->sent.add(held.packed ? held.packed : 1);
        }
        asked_.clear();
    }
    drop();
    return answer;
}

}  // namespace shmbus::detail
