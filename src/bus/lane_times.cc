// Giving rows of times to lanes. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/lane_times.h"

#include <algorithm>
#include <exception>
#include <string>
#include <vector>

#include "lane/inbox_file.h"

namespace shmbus::detail {

LaneTimes::LaneTimes(const base::File& inbox, std::uint16_t slot,
                     const base::StdWord<std::uint64_t>& tables_version, lane::StdMetrics& block,
                     const std::function<void(std::string_view)>& log)
    : inbox_(inbox), slot_(slot), tables_version_(tables_version), block_(block), log_(log) {
    // relaxed: only the owner of the place writes there.
    for (std::size_t i = 0; i < rows_.size(); ++i)
        rows_[i].lane_id = block_.timed_lanes[i].load(std::memory_order_relaxed);
}

void LaneTimes::forget_gone_lanes() {
    // TABLES: the lanes are at least as new. Other end: InboxAdmin::changed.
    const std::uint64_t version = tables_version_.load(std::memory_order_acquire);
    if (version == looked_at_) return;
    looked_at_ = version;
    const std::vector<std::uint64_t> there = lane::lanes_in(inbox_);
    for (Row& row : rows_)
        if (std::find(there.begin(), there.end(), row.lane_id) == there.end()) row.lane_id = 0;
}

// One that has memory before one that has none yet.
LaneTimes::Row* LaneTimes::find(std::uint64_t lane_id) noexcept {
    Row* free = nullptr;
    for (Row& row : rows_) {
        if (row.lane_id == lane_id) return &row;
        if (row.lane_id == 0 && (free == nullptr || (row.map && !free->map))) free = &row;
    }
    return free;
}

lane::StdTimes* LaneTimes::give_row(std::uint64_t lane_id) noexcept {
    if (!has_memory_) return nullptr;
    try {
        Row* row = find(lane_id);
        if (row == nullptr) {
            forget_gone_lanes();
            row = find(lane_id);
        }
        if (row == nullptr) return nullptr;
        const auto index = static_cast<std::size_t>(row - rows_.data());
        if (!row->map)
            row->map = std::make_unique<lane::TimesMap>(inbox_, lane::lane_times_at(slot_, index));
        if (row->lane_id != lane_id)
            lane::name_row<base::StdAtomics>(block_.timed_lanes[index], row->map->block(), lane_id);
        row->lane_id = lane_id;
        return &row->map->block();
    } catch (const std::exception& error) {
        has_memory_ = false;
        log_(std::string("lanes are timed with all the others only: ") + error.what());
        return nullptr;
    }
}

}  // namespace shmbus::detail
