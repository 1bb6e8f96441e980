// Publishing: who gets an event, and one record to each of them.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/clock.h"
#include "bus/bus_core.h"
#include "bus/outbound.h"
#include "bus/refusal.h"

#include <algorithm>
#include <limits>
#include <string>

namespace shmbus::detail {

namespace {

// A request to the daemon each.
constexpr std::uint64_t look_for_missed_every_ns = 100'000'000;

}  // namespace

Result<Audience*> Outbound::audience(const TypeDescriptor& type) {
    latest_audience_ = &no_audience_;  // a new row may move the others
    Audience& found = type.durability == Durability::durable ? audiences_otherwise.of(&type)
                                                             : audiences.of(&type);
    const std::uint64_t version = directory_version();
    const bool whole = std::all_of(found.subscribers.begin(), found.subscribers.end(),
                                   [](const Subscription& to) {
                                       return to.target->writer != nullptr;
                                   });
    const bool is_missed_still = found.missed != ErrorCode::ok &&
                                 found.looked_at_version == version &&
                                 base::now_ns() < found.look_again_ns;
    if ((found.version == version || is_missed_still) && found.is_known && whole) return &found;
    if (const Result<void> looked = look_up(found, type); !looked) return looked.error();
    return &found;
}

Result<void> Outbound::look_up(Audience& audience, const TypeDescriptor& type) {
    const Result<std::uint16_t> index = core_.type_index(type);
    if (!index) return index.error();
    if (!audience.is_known) {
        // From here on lanes to new subscribers stand ready before we can see them.
        if (const Result<std::uint32_t> known = core_.session().publisher(*index); !known)
            return known.error();
        audience.is_known = true;
    }
    std::vector<directory::Subscriber> rows;
    std::uint64_t version = 0;
    if (!core_.directory().subscribers(*index, rows, version))
        return refuse(ErrorCode::refused, "the directory kept changing; try again");
    audience.version = Audience::no_version;
    audience.subscribers.clear();
    audience.missed = ErrorCode::ok;
    audience.most_payload = std::numeric_limits<std::uint32_t>::max();
    for (const directory::Subscriber& row : rows) {
        const auto endpoint = core_.directory().endpoint(row.endpoint);
        if (!endpoint || endpoint->row.generation != row.endpoint_generation) continue;
        const Result<Target*> opened = target(row.endpoint, row.endpoint_generation);
        if (!opened) {  // the others are not to go without for that
            const Refusal* const details = opened.error().details();
            audience.missed = opened.error().code();
            audience.why_missed = "subscriber " + std::string(endpoint->name());
            if (details != nullptr) audience.why_missed += ": " + details->reason;
            continue;
        }
        audience.subscribers.push_back(
            {*opened, sleepers_of(**opened),
             static_cast<WhenFull>(std::min<std::uint8_t>(row.policy, 3)),
             std::chrono::nanoseconds(static_cast<std::int64_t>(
                 std::min<std::uint64_t>(endpoint->row.events_wait_ns, std::uint64_t{1} << 62)))});
        audience.most_payload = std::min(audience.most_payload, (*opened)->most_payload());
    }
    audience.meta = wire::Meta{0, *index, 0, 0}.word();
    audience.looked_at_version = version;
    audience.look_again_ns = base::now_ns() + look_for_missed_every_ns;
    if (audience.missed == ErrorCode::ok) audience.version = version;
    return {};
}

Result<Published> Outbound::publish(const TypeDescriptor& type, Outgoing& message,
                                    const SendOptions& options) {
    if (options.trace) message.carry(*options.trace);
    if (is_durable(type, options)) [[unlikely]] {
        if (const Result<void> written = send_durably(type, message, options); !written)
            return written.error();
        return Published{};
    }
    const Result<Audience*> found = audience(type);
    if (!found) return found.error();
    return publish_to(**found, message, options);
}

Result<void> Audience::reaches_all() const {
    if (missed == ErrorCode::ok) return {};
    return refuse(missed, why_missed);
}

Result<Published> Outbound::publish_to(Audience& audience, Outgoing& message,
                                       const SendOptions& options) {
    if (message.payload.size() > audience.most_payload)
        return too_large(message.payload.size(), audience.most_payload);
    published.add(1);
    if (audience.subscribers.empty() && audience.missed == ErrorCode::ok) {
        without_subscriber.add(1);
        return Published{};
    }
    message.type = wire::Meta::of(audience.meta).type;
    Published answer;
    Error refused;  // the others get the event all the same
    for (const Subscription& to : audience.subscribers) {
        const Result<void> written = publish_one(to, message, options, answer);
        if (!written) refused = written.error();
    }
    if (refused.code() != ErrorCode::ok) return refused;
    if (const Result<void> all = audience.reaches_all(); !all) return all.error();
    return answer;
}

Result<void> Outbound::publish_one(const Subscription& to, Outgoing& message,
                                   const SendOptions& options, Published& answer) {
    Target& target = *to.target;
    if (target.writer == nullptr) return Error(ErrorCode::lane_lost);  // given up just before
    std::uint64_t went = 0;
    if (to.when_full == WhenFull::drop_oldest && !target.has_loan) {
        went = drop_oldest(target, message.most_units());
        note_dropped(target, lane::Writer::Account::dropped_oldest, went);
    }
    const bool waits = to.when_full == WhenFull::wait && options.when_full == WhenFull::wait;
    Patience patience = patience_of(waits ? WhenFull::wait : WhenFull::refuse,
                                    std::min(to.wait, options.wait));
    patience.event = message.type;
    const Result<void> written = write_and_ring(target, message, patience);
    answer.dropped += went != 0 ? 1 : 0;
    if (written) {
        ++answer.subscribers;
        return {};
    }
    // Taken back while we waited: one subscriber less.
    if (written.error() == ErrorCode::no_endpoint) return {};
    const bool drops =
        to.when_full == WhenFull::drop_newest || to.when_full == WhenFull::drop_oldest;
    if (!(written.error() == ErrorCode::full) || !drops) return written;
    note_dropped(target, lane::Writer::Account::dropped_newest, 1);
    ++answer.subscribers;
    answer.dropped += went != 0 ? 0 : 1;
    return {};
}

}  // namespace shmbus::detail
