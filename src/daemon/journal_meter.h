// What the journal writes and how long its disk takes, for others to see: the metrics of the
// journal's inbox (lane/metrics.h), of its only reader.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <memory>

#include "daemon/state.h"
#include "journal/journal.h"
#include "lane/metrics_map.h"

namespace shmbus::daemon {

class JournalMeter {
public:
    // Of the journal's endpoint. Without memory for it nothing is counted, which is logged.
    JournalMeter(State& state, std::uint32_t endpoint, std::uint32_t generation);
    // A batch that is on disk.
    void count(const journal::Committed& batch) noexcept;

private:
    std::unique_ptr<lane::MetricsMap> map_;
};

}  // namespace shmbus::daemon
