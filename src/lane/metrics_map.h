// A consumer's own block of metrics, and its rows of times by type and by lane, mapped for writing;
// their memory is reserved by who maps them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/result.h>

#include <atomic>
#include <cerrno>

#include "base/fault_guard.h"
#include "base/file.h"
#include "base/mapping.h"
#include "lane/metrics.h"

namespace shmbus::lane {

// A part of an inbox's file that nobody else writes to.
template <class Block>
class OwnPart {
public:
    // Throws SetupError: no memory left, or the file ends before.
    OwnPart(const base::File& inbox, base::MappedPart part)
        : mapping_((reserve(inbox, part),
                    base::Mapping(inbox, part, base::Access::read_write))),
          guard_(mapping_.data(), part.bytes, &lost_) {}
    OwnPart(const OwnPart&) = delete;
    OwnPart& operator=(const OwnPart&) = delete;

    [[nodiscard]] Block& block() const noexcept { return mapping_.at<Block>(); }

private:
    static void reserve(const base::File& inbox, base::MappedPart part) {
        // Reserving would make it longer.
        if (const std::uint64_t bytes = inbox.facts().bytes; bytes < part.offset + part.bytes)
            throw SetupError("finding metrics in an inbox of " + std::to_string(bytes) + " bytes",
                             base::path_of(inbox.fd()), EPROTO,
                             "it was cut short");
        inbox.allocate(part.bytes, part.offset);
    }

    base::Mapping mapping_;
    std::atomic<bool> lost_{false};
    base::FaultGuard guard_;
};

// Of the consumer in this place of the inbox.
class MetricsMap : public OwnPart<StdMetrics> {
public:
    MetricsMap(const base::File& inbox, std::uint16_t slot)
        : OwnPart(inbox, {metrics_at(slot), metrics_bytes}) {}
};
// A row of times: see type_times_at and lane_times_at.
class TimesMap : public OwnPart<StdTimes> {
public:
    TimesMap(const base::File& inbox, std::size_t at) : OwnPart(inbox, {at, times_bytes}) {}
};

}  // namespace shmbus::lane
