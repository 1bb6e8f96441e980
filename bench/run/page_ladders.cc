// Ladders of the page: over size, over rate, over messages in flight, over subscribers.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/page.h"

#include "run/svg.h"
#include "run/table.h"
#include "run/units.h"

#include <algorithm>
#include <fmt/format.h>

namespace shmbus::bench {
namespace {

std::vector<Series> ladder_series(const Results& results,
                                  const Steps& steps,
                                  double (*x)(const GroupResult&),
                                  double (*y)(const GroupResult&, const Row&)) {
    std::vector<Series> all;
    for (const GroupResult* const group : steps)
        for (const Row& row : group->rows) {
            if (!row.figure || !row.mark.empty()) continue;
            auto series = std::ranges::find(all, ladder_name(row), &Series::name);
            if (series == all.end())
                series = all.insert(all.end(),
                                    {ladder_name(row), css_of(results, row.system), {}, true});
            series->points.emplace_back(x(*group), y(*group, row));
        }
    return all;
}

}  // namespace

Figures throughput(const Results& results, const Steps& steps) {
    const auto bytes = [](const GroupResult& group) { return static_cast<double>(group.bytes); };
    const auto rate = [](const GroupResult&, const Row& row) { return row.figure->median; };
    Axis x{"bytes in a message",
           [](double size) { return bytes_text(static_cast<std::size_t>(size)); }};
    for (const GroupResult* const group : steps) x.ticks.push_back(bytes(*group));
    const char* const heading = "Throughput over size";
    const Ladder ladder{steps, [](const GroupResult& group) { return bytes_text(group.bytes); },
                        [](const GroupResult&, const Row& row) {
                            return rate_text(row.figure->median);
                        }};
    return {heading, "At " + bytes_text(steps.front()->bytes) + ", " + place_of(*steps.front()),
            line_chart(heading, x, {"messages a second, logarithmic", count_tick},
                       ladder_series(results, steps, bytes, rate)),
            ladder_table(results, ladder)};
}

Figures rate_ladder(const Steps& steps) {
    std::vector<Series> series{{"p50", "ours", {}, true},
                               {"p99", "second", {}, true},
                               {"p99.9", "third", {}, true},
                               {"p99, uncorrected", "fourth", {}, true},
                               {"bare ring, p99", "limit", {}, true}};
    Axis x{"messages a second, as scheduled", count_tick};
    std::string reading = "No rate was reached.";
    for (const GroupResult* const group : steps) {
        const auto rate = static_cast<double>(group->step);
        x.ticks.push_back(rate);
        const Row& ours = front_of(*group);
        const Row* const limit = limit_of(*group);
        if (limit && limit->figure && limit->mark.empty())
            series[4].points.emplace_back(rate, limit->latency.quantile(0.99));
        if (!ours.figure || !ours.mark.empty()) continue;
        series[0].points.emplace_back(rate, ours.latency.quantile(0.5));
        series[1].points.emplace_back(rate, ours.latency.quantile(0.99));
        series[2].points.emplace_back(rate, ours.latency.quantile(0.999));
        series[3].points.emplace_back(rate, ours.uncorrected.quantile(0.99));
        reading = fmt::format("At {} messages a second, the highest rate that was reached, half of "
                              "them took {} from the moment they were due, 99 of 100 {}; counted "
                              "from the moment they were really sent it would be {}.",
                              count_text(rate), time_text(ours.latency.quantile(0.5)),
                              time_text(ours.latency.quantile(0.99)),
                              time_text(ours.uncorrected.quantile(0.99)));
    }
    std::erase_if(series, [](const Series& one) { return one.points.empty(); });
    const char* const heading = "Latency at a given rate";
    const Axis y{"time from when it was due, logarithmic", time_tick};
    return {heading, reading, line_chart(heading, x, y, series),
            series_table(x, "from when it was due", time_text, series)};
}

Figures durable_ladder(const Results& results, const Steps& steps) {
    std::vector<BarGroup> groups;
    const auto rate = [](const GroupResult& group, const Row& row) {
        return is_rate(group) ? row.figure->median : row.rate_per_s.value_or(0);
    };
    for (const GroupResult* const group : steps) {
        BarGroup bars{fmt::format("{} in flight", group->step), {}};
        for (const Row& row : group->rows) {
            if (!row.figure) continue;
            const bool ranked = row.mark.empty();
            const double per_s = rate(*group, row);
            const std::string css = ranked ? css_of(results, row.system) : "unranked";
            bars.bars.push_back({ladder_name(row), css, per_s,
                                 rate_text(per_s) + (ranked ? "" : " *")});
        }
        std::ranges::stable_sort(bars.bars, std::greater<>(), &Bar::value);
        groups.push_back(std::move(bars));
    }
    const char* const heading = "Durable messages";
    const Ladder ladder{steps,
                        [](const GroupResult& group) {
                            return fmt::format("{} in flight", group.step) +
                                   (is_rate(group) ? ", rate" : ", p50");
                        },
                        [](const GroupResult& group, const Row& row) {
                            return figure_text(group, row.figure->median);
                        }};
    std::string remark;
    for (const Row& row : steps.back()->rows)
        if (!row.mark.empty()) remark += " * " + row.system + ": " + row.mark + ".";
    return {heading,
            fmt::format("With {} in flight, {}{}", steps.back()->step, place_of(*steps.back()),
                        remark),
            bar_chart(heading, {"messages of 256 B a second, logarithmic", count_tick}, groups),
            ladder_table(results, ladder)};
}

Figures fan_out(const Results& results, const Steps& steps) {
    const auto subscribers = [](const GroupResult& group) {
        return static_cast<double>(group.step);
    };
    const auto cost = [](const GroupResult& group, const Row& row) {
        return 1e9 / row.figure->median / static_cast<double>(group.step);
    };
    Axis x{"subscribers", [](double count) { return fmt::format("{:.0f}", count); }};
    for (const GroupResult* const group : steps) x.ticks.push_back(subscribers(*group));
    const char* const heading = "Fan-out";
    const Ladder ladder{steps, [](const GroupResult& group) { return std::to_string(group.step); },
                        [](const GroupResult& group, const Row& row) {
                            return time_text(1e9 / row.figure->median /
                                             static_cast<double>(group.step));
                        }};
    const GroupResult& last = *steps.back();
    const std::string own =
        front_of(last).figure
            ? fmt::format("An event to {} subscribers costs {} for each of them on cores that are "
                          "{}. ",
                          last.step, time_text(cost(last, front_of(last))), last.placement)
            : "";
    return {heading, own + place_of(last),
            line_chart(heading, x, {"time per subscriber and event, logarithmic", time_tick},
                       ladder_series(results, steps, subscribers, cost)),
            ladder_table(results, ladder)};
}

}  // namespace shmbus::bench
