// Percentile curves of the page.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/page.h"

#include "run/svg.h"
#include "run/table.h"
#include "run/units.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace shmbus::bench {
namespace {

// Which share of the samples lies below: 1/(1-share) grows by ten with every nine.
std::string share_text(double inverse) {
    if (inverse < 1.5) return "0 %";
    if (inverse < 5) return "50 %";
    const int nines = static_cast<int>(std::lround(std::log10(inverse)));
    return fmt::format("{:.{}f} %", 100 - 100 / inverse, std::max(0, nines - 2));
}

std::vector<std::pair<double, double>> percentiles(const Distribution& distribution) {
    std::vector<std::pair<double, double>> points;
    const auto total = static_cast<double>(distribution.count());
    double seen = 0;
    double at = 1;
    for (const auto& [value, count] : distribution.buckets) {
        seen += static_cast<double>(count);
        for (; at <= total && seen / total >= 1 - 1 / at; at *= std::pow(10, 0.05))
            points.emplace_back(at, value);
    }
    return points;
}

// By time: how long is the gap that a moment chosen blindly falls into?
Distribution hiccups_by_time(const Results& results) {
    Distribution all;
    for (const Hiccups& hiccups : results.hiccups)
        for (const auto& [value, count] : hiccups.gaps.buckets)
            all.buckets.emplace_back(
                value, static_cast<std::uint64_t>(value * static_cast<double>(count)));
    std::ranges::sort(all.buckets);
    return all;
}

}  // namespace

Figures latency_curves(const Results& results, const Results* before, const GroupResult& group,
                       const std::string& heading) {
    std::vector<Series> series;
    double most = 10;
    for (const Row& row : group.rows) {
        if (!row.figure || row.latency.count() == 0) continue;
        series.push_back({row.system, css_of(results, row.system), percentiles(row.latency)});
        most = std::max(most, series.back().points.back().first);
    }
    if (before)
        for (const GroupResult& old : before->groups)
            if (title_of(old) == title_of(group) && front_of(old).latency.count() > 0)
                series.push_back({"shmbus before", "old", percentiles(front_of(old).latency)});
    const std::string table = group_table(results, group);
    if (series.empty()) return {heading, place_of(group), "", table};
    Series hiccups{"the machine's hiccups", "hiccup", percentiles(hiccups_by_time(results))};
    std::erase_if(hiccups.points, [&](const auto& point) { return point.first > most; });
    series.push_back(std::move(hiccups));
    Axis x{"share of the messages that took no longer", share_text, {1, 2}};
    for (double tick = 10; tick <= most; tick *= 10) x.ticks.push_back(tick);
    return {heading, place_of(group),
            line_chart(heading, x, {"time, logarithmic", time_tick}, series),
            table};
}

}  // namespace shmbus::bench
