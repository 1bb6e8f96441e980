// A message that could not be handled goes to the error endpoint. See bus/delivery.h.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/delivery.h"

#include <string>
#include <string_view>

#include "bus/attempt.h"
#include "bus/bus_core.h"
#include "bus/refusal.h"

#include <unistd.h>

namespace shmbus::detail {

namespace {

// The ordinal of the record that tells a requester of a failure; no handler has so many outputs.
constexpr std::uint16_t failure_ordinal = 65'535;

}  // namespace

Result<EndpointHandle> Delivery::find_error_endpoint(std::string_view name) {
    if (const auto there = core_.directory().find_endpoint(name))
        return EndpointHandle{there->index, there->row.generation};
    EndpointSpec spec;
    spec.kind = directory::EndpointKind::error;
    return core_.session().create_endpoint(name, spec);
}

// A durable message fails durably: it goes there by way of the journal.
Result<Target*> Delivery::error_target(std::string_view error_endpoint, Outgoing& record) {
    const Result<EndpointHandle> there = find_error_endpoint(error_endpoint);
    if (!there) return there.error();
    if ((extensions_.flags & wire::has_durable) == 0)
        return outbound_->target(there->index, there->generation, record.payload.size());
    record.extensions.durable = {
        there->index, there->generation,
        wire::sent_on_from(extensions_.durable.lsn, endpoint_.index)};
    record.extensions.flags |= wire::has_durable;
    // Its sender's lane may have been longer than ours.
    return outbound_->journal_target_beside(record.payload.size());
}

bool Delivery::give_to_error_endpoint(std::string_view error_endpoint,
                                      wire::FailureRecord failure) {
    const Envelope& message = envelope();
    const wire::Meta meta = wire::Meta::of(in_hand_.batch->entry(in_hand_.place.record()).meta);
    const bool has_failed_before = (extensions_.flags & wire::has_failure) != 0;
    wire::set_failed_at(failure, endpoint_.index, endpoint_.generation);
    failure.pid = static_cast<std::int64_t>(::getpid());
    Outgoing record;
    record.type = meta.type;
    record.payload = {in_hand_.payload, in_hand_.bytes};
    record.extensions = extensions_;
    record.extensions.id = message.id;
    if (!has_failed_before) record.extensions.failure = failure;
    record.extensions.flags = static_cast<std::uint16_t>(
        (extensions_.flags & (wire::has_reply_to | wire::has_lineage | wire::has_trace)) |
        wire::has_explicit_id | wire::has_failure);
    record.flags = static_cast<std::uint16_t>(meta.flags & (wire::is_repeated | wire::is_mixed_id));
    if (message.redelivered) record.flags |= wire::is_repeated;
    // An error endpoint is its own one: back there it would go round and round.
    const bool goes_aside = error_endpoint == endpoint_name_ ||
                            endpoint_name_.ends_with(unhandled_suffix);
    const Result<Target*> to =
        goes_aside ? error_target(endpoint_name_ + std::string(unhandled_suffix), record)
                   : error_target(error_endpoint, record);
    const auto write = [&]() -> Result<void> {
        if (!to) return noted(to.error());
        // A longer one would be read by nobody, nor what comes behind it.
        if (record.payload.size() > (*to)->most_payload())
            return too_large(record.payload.size(), (*to)->most_payload());
        return outbound_->write_and_ring(**to, record, Patience{});
    };
    const Result<void> written = write();
    if (!written) {
        why_kept_ = written.error().text();
        return false;
    }
    if (!has_failed_before) tell_requester(failure);
    return true;
}

// Spares the requester the wait for its deadline. Not more than a courtesy: never waits.
void Delivery::tell_requester(const wire::FailureRecord& failure) {
    if (envelope().reply_to == 0 || is_gone(extensions_.reply_to)) return;
    Outgoing answer;
    derive(failure_ordinal, {}, answer);
    answer.extensions.failure = failure;
    answer.extensions.flags |= wire::has_failure;
    const Result<Target*> to =
        outbound_->target(extensions_.reply_to.endpoint, extensions_.reply_to.generation);
    if (to && !outbound_->write_and_ring(**to, answer, Patience{}))
        core_.log(LogLevel::info, "a requester's inbox is full: it waits for its deadline");
}

}  // namespace shmbus::detail
