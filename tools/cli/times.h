// What is shown of a type's times, in nanoseconds.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "cli/listing.h"
#include "look/snapshot.h"

namespace shmbus::cli {

// Name and value of each; null where nothing was timed.
[[nodiscard]] inline Json quantiles_of(const look::Times& times) {
    Json named = Json::object();
    const auto add = [&](const std::string& what, const look::Histogram& histogram) {
        for (const auto& [name, q] : {std::pair("_p50_ns", 0.5), std::pair("_p99_ns", 0.99)}) {
            const auto value = histogram.quantile(q);
            named[what + name] = value ? Json(*value) : Json();
        }
    };
    add("processing", times.processing_ns);
    add("critical", times.critical_ns);
    add("wait", times.wait_ns);
    return named;
}

}  // namespace shmbus::cli
