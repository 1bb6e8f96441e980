// Walking an endpoint's lanes and hands. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/seen.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/core.h>

#include "cli/body.h"
#include "lane/inbox_file.h"

namespace shmbus::cli {

FailureReason SeenMessage::reason() const noexcept {
    const bool is_known =
        (meta.flags & wire::has_failure) != 0 &&
        extensions.failure.reason <= static_cast<std::uint8_t>(FailureReason::not_decodable);
    return is_known ? static_cast<FailureReason>(extensions.failure.reason) : FailureReason::none;
}

std::string_view SeenMessage::what() const noexcept {
    const wire::FailureRecord& failure = extensions.failure;
    return {failure.what, std::min<std::size_t>(failure.what_bytes, sizeof(failure.what))};
}

std::vector<SeenMessage> messages_in(const lane::SeenRecord& record, std::uint64_t lane) {
    std::vector<SeenMessage> messages;
    SeenMessage first;
    first.lane = lane;
    first.position = record.position;
    first.meta = record.meta;
    if (!record.extensions(first.extensions)) return messages;
    std::span<const std::byte> bytes = record.payload();
    const std::uint64_t count = record.messages();
    if ((record.meta.flags & wire::is_packed) != 0) {
        if (bytes.size() < 16 || (bytes.size() - 16) % count != 0) return messages;
        bytes = bytes.subspan(16);
    }
    const std::size_t each = bytes.size() / count;
    const bool has_id = (record.meta.flags & wire::has_explicit_id) != 0;
    const bool is_mixed = (record.meta.flags & wire::is_mixed_id) != 0;
    for (std::uint32_t item = 0; item < count; ++item) {
        SeenMessage& message = messages.emplace_back(first);
        message.item = item;
        message.id = has_id ? wire::id_of_item(first.extensions.id, is_mixed, item)
                            : wire::id_at(lane, record.position, item);
        const auto part = bytes.subspan(item * each, each);
        message.payload.assign(part.begin(), part.end());
    }
    return messages;
}

std::string name_of_failed_at(const SeenMessage& message, const OpenBus& bus) {
    if ((message.meta.flags & wire::has_failure) == 0) return {};
    const wire::FailureRecord& failure = message.extensions.failure;
    // Its row may be another's by now.
    const auto there = bus.reader().endpoint(failure.endpoint);
    return there && !wire::is_failed_at(failure, there->index, there->row.generation)
               ? fmt::format("endpoint {}.{}", failure.endpoint, failure.generation)
               : bus.name_of_endpoint(failure.endpoint);
}

Json head_of(const SeenMessage& message, const OpenBus& bus) {
    const wire::Extensions& more = message.extensions;
    Json object;
    object["schema"] = "shmbus.message/1";
    object["id"] = message.id.text();
    object["type"] = bus.name_of_type(message.meta.type);
    object["durable"] = message.is_durable();
    object["state"] = message.state == SeenMessage::State::waiting   ? "waiting"
                      : message.state == SeenMessage::State::in_hand ? "in_hand"
                                                                     : "handled";
    object["from"] = bus.name_of_participant(message.sender);
    object["holder"] = message.holder == 0 ? Json() : Json(bus.name_of_participant(message.holder));
    object["lane"] = wire::lane_file(message.lane);
    object["position"] = message.position;
    const bool has_time = (message.meta.flags & wire::has_time_sent) != 0;
    object["sent_monotonic_ns"] = has_time ? Json(more.time_sent.monotonic_ns) : Json();
    object["expects_reply"] = (message.meta.flags & wire::has_reply_to) != 0;
    if ((message.meta.flags & wire::has_trace) != 0)
        object["traceparent"] =
            TraceContext{more.trace.trace_id, more.trace.parent_id, more.trace.flags}.text();
    if ((message.meta.flags & wire::has_lineage) != 0)
        object["lineage"] = {{"related_to", more.lineage.related_to.text()},
                             {"conversation", more.lineage.conversation.text()},
                             {"correlation", more.lineage.correlation.text()}};
    if ((message.meta.flags & wire::is_mixed_id) != 0) object["mixed_id"] = true;
    object["repeated"] = (message.meta.flags & (wire::is_repeated | wire::is_again)) != 0;
    if ((message.meta.flags & wire::has_failure) != 0)
        object["failure"] = {{"reason", name_of(message.reason())},
                             {"endpoint", name_of_failed_at(message, bus)},
                             {"attempts", more.failure.attempts},
                             {"signal", more.failure.signal},
                             {"pid", more.failure.pid},
                             {"what", message.what()}};
    return object;
}

Json json_of(const SeenMessage& message, const OpenBus& bus) {
    Json object = head_of(message, bus);
    add_body(object, bus, message.meta.type, message.payload);
    return object;
}

SeenEndpoint::SeenEndpoint(const OpenBus& bus, const directory::Endpoint& endpoint)
    : bus_(bus),
      inbox_(base::File::open_at(bus.folder().inboxes().fd(),
                                 lane::inbox_file_name(endpoint.index, endpoint.row.generation),
                                 base::Access::read_only)) {}

lane::LaneOnlooker* SeenEndpoint::lane(std::uint64_t id) {
    const auto known = lanes_.find(id);
    if (known != lanes_.end()) return known->second.get();
    try {
        auto made = std::make_unique<lane::LaneOnlooker>(
            base::File::open_at(bus_.folder().lanes().fd(), wire::lane_file(id),
                                base::Access::read_only));
        return lanes_.emplace(id, std::move(made)).first->second.get();
    } catch (const SetupError&) {
        return nullptr;  // it was drained and has gone, or is damaged: the doctor tells
    }
}

std::vector<lane::LaneOnlooker*> SeenEndpoint::lanes() {
    // What was read when it was opened will do for the first look: there may be thousands.
    if (!std::exchange(is_fresh_, false)) inbox_.refresh();
    std::vector<std::uint64_t> ids = inbox_.lanes();
    std::ranges::sort(ids);
    std::vector<lane::LaneOnlooker*> there;
    for (const std::uint64_t id : ids)
        if (lane::LaneOnlooker* const found = lane(id)) there.push_back(found);
    return there;
}

SeenEndpoint::Numbers SeenEndpoint::numbers() {
    Numbers numbers;
    for (const lane::LaneOnlooker* lane : lanes()) {
        const auto count = lane->count();
        numbers.waiting += count.waiting;
        ++numbers.lanes;
    }
    numbers.consumers = inbox_.consumers().size();
    for (const auto& hand : inbox_.hands())
        if (hand.state == lane::HandState::taken) numbers.in_hand += hand.count - hand.done;
    return numbers;
}

std::uint64_t SeenEndpoint::ever() {
    const Numbers now = numbers();
    return inbox_.settled() + now.in_hand + now.waiting;
}

bool SeenEndpoint::visit_hands(const std::function<bool(const SeenMessage&)>& visit) {
    std::map<std::uint16_t, std::uint64_t> owners;
    for (const auto& consumer : inbox_.consumers()) owners[consumer.slot] = consumer.participant;
    for (const auto& hand : inbox_.hands()) {
        lane::LaneOnlooker* const from = lane(hand.lane);
        if (from == nullptr) continue;
        const auto where = from->where();
        // Its take may not have happened: see src/lane/README.md.
        if (hand.state != lane::HandState::taken &&
            (where.head != hand.end || where.hand != hand.index))
            continue;
        std::uint64_t position = hand.from;
        lane::SeenRecord record;
        for (std::uint32_t at = 0; at < hand.count && from->look(position, record); ++at) {
            position += record.units;
            if ((hand.done_records >> at & 1U) != 0) continue;
            for (SeenMessage& message : messages_in(record, hand.lane)) {
                message.state = SeenMessage::State::in_hand;
                message.sender = from->identity().writer;
                message.holder = owners[hand.owner];
                if (!visit(message)) return false;
            }
        }
    }
    return true;
}

bool SeenEndpoint::visit_waiting(lane::LaneOnlooker& lane,
                                 const std::function<bool(const SeenMessage&)>& visit) {
    lane::SeenRecord record;
    std::uint64_t position = lane.where().head;
    // Ends: at the tail, which a writer can move on at most as fast as we walk. What it has
    // overwritten meanwhile was taken.
    while (lane.look(position, record)) {
        for (SeenMessage& message : messages_in(record, lane.identity().lane_id)) {
            message.sender = lane.identity().writer;
            if (!visit(message)) return false;
        }
        position += record.units;
    }
    return true;
}

void SeenEndpoint::for_each(const std::function<bool(const SeenMessage&)>& visit) {
    const auto there = lanes();
    if (!visit_hands(visit)) return;
    for (lane::LaneOnlooker* lane : there)
        if (!visit_waiting(*lane, visit)) return;
}

}  // namespace shmbus::cli
