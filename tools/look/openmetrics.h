// A snapshot as text for those who collect metrics: Prometheus' format 0.0.4, or OpenMetrics 1.0.
//
// Counters of a lane or of a process end with it, as such counters do; those of an endpoint go on
// as long as the endpoint is there. Nothing is said of what cannot be known.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

#include "look/snapshot.h"

namespace shmbus::look {

enum class MetricsFormat : std::uint8_t { prometheus, openmetrics };

// What goes into the header Content-Type.
[[nodiscard]] const char* content_type(MetricsFormat format) noexcept;
[[nodiscard]] std::string metrics_text(const Snapshot& snapshot, MetricsFormat format);
[[nodiscard]] inline std::string openmetrics(const Snapshot& snapshot) {
    return metrics_text(snapshot, MetricsFormat::openmetrics);
}

}  // namespace shmbus::look
