// What happened between two snapshots of one bus.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/rates.h"

namespace shmbus::look {
namespace {

// Counters are read one after the other while they move: a sum of several may seem to go back.
[[nodiscard]] double per_second(std::uint64_t before, std::uint64_t after, double seconds) {
    return after > before && seconds > 0 ? static_cast<double>(after - before) / seconds : 0;
}

[[nodiscard]] EndpointRates rates_of(const Endpoint& before, const Endpoint& after,
                                     double seconds) {
    const Counters& old = before.metrics.counters;
    const Counters& now = after.metrics.counters;
    const auto rate = [&](std::uint64_t a, std::uint64_t b) { return per_second(a, b, seconds); };
    return {.in_per_s = rate(before.received(), after.received()),
            .out_per_s = rate(before.settled, after.settled),
            .redelivered_per_s = rate(old.redelivered, now.redelivered),
            .threw_per_s = rate(old.threw, now.threw),
            .failed_per_s = rate(old.failed, now.failed),
            .dropped_per_s = rate(old.dropped, now.dropped),
            .wakeups_per_s = rate(old.wakeups, now.wakeups),
            .processing_ns = after.metrics.processing_ns.since(before.metrics.processing_ns),
            .critical_ns = after.metrics.critical_ns.since(before.metrics.critical_ns),
            .wait_ns = after.metrics.wait_ns.since(before.metrics.wait_ns)};
}

void add_lanes(const Endpoint& before, const Endpoint& after, bool has_times, Rates& into) {
    std::map<std::uint64_t, const Lane*> old;
    for (const Lane& lane : before.lanes) old[lane.id] = &lane;
    for (const Lane& lane : after.lanes) {
        const auto known = old.find(lane.id);
        if (known == old.end()) continue;
        const Lane& was = *known->second;
        LaneRates& own = into.lanes[lane.id];
        own.in_per_s = per_second(was.messages, lane.messages, into.seconds);
        own.waits_per_s = per_second(was.waits, lane.waits, into.seconds);
        own.refused_per_s = per_second(was.refused, lane.refused, into.seconds);
        if (has_times) own.times = lane.times.since(was.times);
        into.processes[lane.writer] += own.in_per_s;
    }
}

void add_types(const Snapshot& before, const Snapshot& after, Rates& into) {
    for (const Type& type : after.types) {
        const Type* const old = before.type(type.index);
        if (!old) continue;
        TypeRates& own = into.types[type.index];
        own.handled_per_s = per_second(old->handled, type.handled, into.seconds);
        // Else what was not read would count as nothing, and all of it as new.
        if (before.apart.everywhere && after.apart.everywhere)
            own.times = type.times.since(old->times);
    }
}

void add_journal(const Snapshot& before, const Snapshot& after, Rates& into) {
    into.sync_ns = after.journal.sync_ns.since(before.journal.sync_ns);
    into.batch_records = after.journal.batch_records.since(before.journal.batch_records);
    into.journal_bytes_per_s =
        per_second(before.journal.written_bytes, after.journal.written_bytes, into.seconds);
    if (into.seconds > 0) into.journal_records_per_s = into.batch_records.sum() / into.seconds;
}

}  // namespace

Rates rates_of(const Snapshot& before, const Snapshot& after) {
    Rates rates;
    if (before.uuid != after.uuid || after.monotonic_ns <= before.monotonic_ns) return rates;
    rates.seconds = static_cast<double>(after.monotonic_ns - before.monotonic_ns) / 1e9;
    for (const Endpoint& endpoint : after.endpoints) {
        const Endpoint* const old = before.endpoint(endpoint.reference);
        if (!old) continue;
        EndpointRates& own = rates.endpoints[endpoint.reference] =
            rates_of(*old, endpoint, rates.seconds);
        const bool has_times =
            before.apart.at(endpoint.reference) && after.apart.at(endpoint.reference);
        add_lanes(*old, endpoint, has_times, rates);
        if (endpoint.kind == directory::EndpointKind::journal) continue;
        rates.in_per_s += own.in_per_s;
        rates.out_per_s += own.out_per_s;
        rates.redelivered_per_s += own.redelivered_per_s;
        rates.failed_per_s += own.failed_per_s;
    }
    add_types(before, after, rates);
    add_journal(before, after, rates);
    return rates;
}

}  // namespace shmbus::look
