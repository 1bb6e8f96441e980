// Which rows of its consumer's times by lane the lanes have: lane/README.md, "Times by lane".
//
// Belongs to the endpoint's Meter, which locks where several threads take times.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "base/file.h"
#include "lane/metrics_map.h"

namespace shmbus::detail {

class LaneTimes {
public:
    // Goes on with the rows that an earlier owner of the place has left. All of them outlive this;
    // `log` is told, once, when there is no memory for a row. `tables_version` moves when lanes
    // come or go.
    LaneTimes(const base::File& inbox, std::uint16_t slot,
              const base::StdWord<std::uint64_t>& tables_version, lane::StdMetrics& block,
              const std::function<void(std::string_view)>& log);

    // The row of this lane, which it is given now if it has none and one is free. Null: it goes
    // without. Stays the lane's until it is gone from the inbox's table. Enters the kernel for a
    // lane that has not been met before, and for one that goes without when the table has moved.
    [[nodiscard]] lane::StdTimes* of(std::uint64_t lane_id) noexcept {
        for (Row& row : rows_)
            if (row.lane_id == lane_id && row.map) return &row.map->block();
        return give_row(lane_id);
    }

private:
    struct Row {
        std::uint64_t lane_id = 0;
        std::unique_ptr<lane::TimesMap> map;
    };
    lane::StdTimes* give_row(std::uint64_t lane_id) noexcept;
    [[nodiscard]] Row* find(std::uint64_t lane_id) noexcept;
    void forget_gone_lanes();

    const base::File& inbox_;
    std::uint16_t slot_;
    const base::StdWord<std::uint64_t>& tables_version_;
    lane::StdMetrics& block_;
    const std::function<void(std::string_view)>& log_;
    bool has_memory_ = true;
    std::uint64_t looked_at_ = ~std::uint64_t{0};  // the table as of this version
    std::array<Row, lane::most_timed_lanes> rows_;
};

}  // namespace shmbus::detail
