// A consumer's own block of metrics, mapped for writing; its memory is reserved by who maps it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <memory>

#include "base/fault_guard.h"
#include "base/file.h"
#include "base/mapping.h"
#include "lane/metrics.h"

namespace shmbus::lane {

class MetricsMap {
public:
    // Of the consumer in this place of the inbox. Throws SetupError: no memory left.
    MetricsMap(const base::File& inbox, std::uint16_t slot)
        : mapping_((inbox.allocate(metrics_bytes, metrics_at(slot)),
                    base::Mapping(inbox, {metrics_at(slot), metrics_bytes},
                                  base::Access::read_write))),
          guard_(mapping_.data(), metrics_bytes, &lost_) {}
    MetricsMap(const MetricsMap&) = delete;
    MetricsMap& operator=(const MetricsMap&) = delete;

    [[nodiscard]] StdMetrics& block() const noexcept { return mapping_.at<StdMetrics>(); }

private:
    base::Mapping mapping_;
    std::atomic<bool> lost_{false};
    base::FaultGuard guard_;
};

}  // namespace shmbus::lane
