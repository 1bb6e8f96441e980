// What happened between two snapshots of one bus.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "look/snapshot.h"

namespace shmbus::look {

struct EndpointRates {
    double in_per_s = 0;
    double out_per_s = 0;
    double redelivered_per_s = 0;
    double threw_per_s = 0;
    double failed_per_s = 0;
    double dropped_per_s = 0;
    double wakeups_per_s = 0;
    // Of the values that came in between.
    Histogram processing_ns;
    Histogram critical_ns;
    Histogram wait_ns;
};

// Times are those of the values that came in between, where both looks had asked for them.
struct LaneRates {
    double in_per_s = 0;
    double waits_per_s = 0;    // of its writer, for room
    double refused_per_s = 0;  // sends for which there was none in time
    Times times;
    // Of what was sent or tried, what was refused; nothing where nothing was tried.
    [[nodiscard]] std::optional<double> refused_share() const noexcept {
        const double tried = in_per_s + refused_per_s;
        return tried > 0 ? std::optional(refused_per_s / tried) : std::nullopt;
    }
};
struct TypeRates {
    double handled_per_s = 0;
    Times times;
};

struct Rates {
    double seconds = 0;  // between the two; 0: nothing is known
    std::map<Reference, EndpointRates> endpoints;
    std::map<std::uint64_t, LaneRates> lanes;
    std::map<Reference, double> processes;  // sent per second
    std::map<std::uint32_t, TypeRates> types;
    // Of all endpoints but the journal.
    double in_per_s = 0;
    double out_per_s = 0;
    double redelivered_per_s = 0;
    double failed_per_s = 0;
    double journal_bytes_per_s = 0;
    double journal_records_per_s = 0;
    Histogram sync_ns;
    Histogram batch_records;
};

// Endpoints, lanes and processes that only one of the two knows have no rate.
[[nodiscard]] Rates rates_of(const Snapshot& before, const Snapshot& after);

}  // namespace shmbus::look
