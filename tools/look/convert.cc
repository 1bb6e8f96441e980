// What a lane or an inbox shows, as a snapshot has it.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/convert.h"

#include <array>
#include <utility>

namespace shmbus::look {
namespace {

[[nodiscard]] Histogram histogram_of(const std::array<std::uint64_t, lane::buckets>& seen) {
    std::vector<Histogram::Bucket> buckets;
    for (std::size_t at = 0; at < seen.size(); ++at)
        if (seen[at] != 0)
            buckets.push_back({lane::bucket_begin(at), lane::bucket_begin(at + 1) - 1, seen[at]});
    return Histogram(std::move(buckets));
}

void add(Metrics& to, const Metrics& more) {
    to.counters += more.counters;
    to.counters.exhausted += more.counters.exhausted;
    to.counters.wakeups += more.counters.wakeups;
    for (const auto& [type, count] : more.handled) to.handled[type] += count;
    for (const auto& [type, counts] : more.troubles) to.troubles[type] += counts;
    for (const auto& [type, times] : more.times) to.times[type].add(times);
    to.Times::add(more);
}

[[nodiscard]] Times times_of(const lane::Metrics::Times& seen) {
    const auto histogram = [&](lane::Timed which) {
        return histogram_of(seen[static_cast<std::size_t>(which)]);
    };
    return {histogram(lane::Timed::processing), histogram(lane::Timed::critical),
            histogram(lane::Timed::queue_wait)};
}

// A place that nobody ever had has no block to be read.
[[nodiscard]] std::vector<std::uint16_t> places_used(const lane::InboxOnlooker& inbox) {
    std::array<bool, lane::most_consumers> is_wanted{};
    for (const auto& consumer : inbox.consumers()) is_wanted[consumer.slot] = true;
    std::vector<std::uint16_t> places;
    for (std::uint16_t slot = 0; slot < lane::most_consumers; ++slot)
        if (is_wanted[slot] || inbox.settled_by(slot) > 0) places.push_back(slot);
    return places;
}

}  // namespace

Metrics metrics_of(const lane::Metrics& seen) {
    using lane::Counter;
    Metrics metrics;
    metrics.counters = {
        {.threw = seen.counter(Counter::threw),
         .redelivered = seen.counter(Counter::redelivered),
         .failed = seen.counter(Counter::failed),
         .dropped = seen.counter(Counter::dropped)},
        seen.counter(Counter::exhausted),
        seen.counter(Counter::wakeups)};
    for (const auto& row : seen.troubled()) {
        const Troubles counts{row.counts[0], row.counts[1], row.counts[2], row.counts[3]};
        if (counts.any()) metrics.troubles[row.type] += counts;
    }
    for (const auto& row : seen.types()) metrics.handled[row.type] += row.handled;
    // Types for which no row was left have no number of their own; index 0 is no type.
    if (seen.other_types() > 0) metrics.handled[0] += seen.other_types();
    static_cast<Times&>(metrics) = times_of(seen.times());
    return metrics;
}

Metrics all_metrics_of(const lane::InboxOnlooker& inbox) {
    Metrics all;
    for (const std::uint16_t slot : places_used(inbox)) add(all, metrics_of(inbox.metrics(slot)));
    return all;
}

void add_times_apart(const lane::InboxOnlooker& inbox, Endpoint& into) {
    for (const std::uint16_t slot : places_used(inbox)) {
        const lane::Metrics seen = inbox.metrics(slot);
        for (const auto& row : seen.types())
            if (row.row < lane::most_timed_types && row.handled > 0)
                into.metrics.times[row.type].add(times_of(inbox.times_of_row(slot, row.row)));
        for (const auto& row : seen.timed_lanes())
            for (Lane& lane : into.lanes)
                if (lane.id == row.lane) lane.times.add(times_of(inbox.times_of_lane(slot, row)));
    }
}

void add_journal(const lane::InboxOnlooker& inbox, Journal& into) {
    const lane::Metrics seen = inbox.metrics(0);
    into.sync_ns = histogram_of(seen.histogram(lane::journal_sync_ns));
    into.batch_records = histogram_of(seen.histogram(lane::journal_records));
    into.written_bytes = seen.counter(lane::Counter::bytes);
}

}  // namespace shmbus::look
