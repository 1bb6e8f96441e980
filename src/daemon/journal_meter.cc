// Counting what the journal writes. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/journal_meter.h"

#include <string>

#include <shmbus/result.h>

#include "base/figure.h"

namespace shmbus::daemon {

JournalMeter::JournalMeter(State& state, std::uint32_t endpoint, std::uint32_t generation) {
    try {
        map_ = std::make_unique<lane::MetricsMap>(state.inboxes().open(endpoint, generation), 0);
    } catch (const SetupError& error) {
        state.log(LogLevel::warning,
                  std::string("the journal is not measured: ") + error.what());
    }
}

void JournalMeter::count(const journal::Committed& batch) noexcept {
    if (!map_) return;
    lane::StdMetrics& block = map_->block();
    const auto record = [&](lane::Timed which, std::uint64_t value) {
        base::add_alone(
            block.times[static_cast<std::size_t>(which)][lane::bucket_of(value)], 1);
    };
    record(lane::journal_sync_ns, batch.sync_ns);
    record(lane::journal_records, batch.last_lsn + 1 - batch.first_lsn);
    record(lane::journal_bytes, batch.bytes);
    base::add_alone(block.counts[static_cast<std::size_t>(lane::Counter::bytes)], batch.bytes);
}

}  // namespace shmbus::daemon
