// Charts of the page: what is drawn of which scenario, and the sentence above it.
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

std::vector<const GroupResult*> groups_of(const Results& results, const std::string& scenario,
                                          const std::string& variant = "") {
    std::vector<const GroupResult*> found;
    for (const GroupResult& group : results.groups)
        if (group.scenario == scenario && (variant.empty() || group.variant == variant))
            found.push_back(&group);
    return found;
}

std::string count_of(double value) { return count_text(value); }

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
        for (const GroupResult* const old : groups_of(*before, group.scenario))
            if (title_of(*old) == title_of(group) && front_of(*old).latency.count() > 0)
                series.push_back({"shmbus before", "old", percentiles(front_of(*old).latency)});
    Series hiccups{"the machine's hiccups", "hiccup", percentiles(hiccups_by_time(results))};
    std::erase_if(hiccups.points, [&](const auto& point) { return point.first > most; });
    series.push_back(std::move(hiccups));
    Axis x{"share of the messages that took no longer", share_text, {1, 2}};
    for (double tick = 10; tick <= most; tick *= 10) x.ticks.push_back(tick);
    return {heading, place_of(group),
            line_chart(heading, x, {"time, logarithmic", time_text}, series),
            group_table(results, group)};
}

std::vector<Series> ladder_series(const Results& results,
                                  const std::vector<const GroupResult*>& steps,
                                  double (*x)(const GroupResult&),
                                  double (*y)(const GroupResult&, const Row&)) {
    std::vector<Series> all;
    for (const GroupResult* const group : steps)
        for (const Row& row : group->rows) {
            if (!row.figure || !row.mark.empty()) continue;
            auto series = std::ranges::find(all, row.system, &Series::name);
            if (series == all.end())
                series = all.insert(all.end(),
                                    {row.system, css_of(results, row.system), {}, true});
            series->points.emplace_back(x(*group), y(*group, row));
        }
    return all;
}

Figures throughput(const Results& results, const std::vector<const GroupResult*>& steps) {
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
            line_chart(heading, x, {"messages a second, logarithmic", count_of},
                       ladder_series(results, steps, bytes, rate)),
            ladder_table(results, ladder)};
}

Figures rate_ladder(const Results& results, const std::vector<const GroupResult*>& steps) {
    std::vector<Series> series{{"p50", "ours", {}, true},
                               {"p99", "second", {}, true},
                               {"p99.9", "third", {}, true},
                               {"p99, uncorrected", "fourth", {}, true},
                               {"bare ring, p99", "limit", {}, true}};
    Axis x{"messages a second, as scheduled", count_of};
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
    std::string table;
    for (const GroupResult* const group : steps)
        table += "<h3>" + escaped(title_of(*group)) + "</h3>" + group_table(results, *group);
    return {heading, reading,
            line_chart(heading, x, {"time from when it was due, logarithmic", time_text}, series),
            table};
}

Figures durable_ladder(const Results& results, const std::vector<const GroupResult*>& steps) {
    std::vector<BarGroup> groups;
    const auto rate = [](const GroupResult& group, const Row& row) {
        return is_rate(group) ? row.figure->median : row.rate_per_s.value_or(0);
    };
    for (const GroupResult* const group : steps) {
        BarGroup bars{fmt::format("{} in flight", group->step), {}};
        for (const Row& row : group->rows)
            if (row.figure)
                bars.bars.push_back({row.system,
                                     row.mark.empty() ? css_of(results, row.system) : "unranked",
                                     rate(*group, row),
                                     rate_text(rate(*group, row)) + (row.mark.empty() ? "" : " *")});
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
            fmt::format("With {} in flight, ", steps.back()->step) + place_of(*steps.back()) + remark,
            bar_chart(heading, {"messages of 256 B a second, on disk, logarithmic", count_of}, groups),
            ladder_table(results, ladder)};
}

Figures fan_out(const Results& results, const std::vector<const GroupResult*>& steps) {
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
            line_chart(heading, x, {"time per subscriber and event, logarithmic", time_text},
                       ladder_series(results, steps, subscribers, cost)),
            ladder_table(results, ladder)};
}

}  // namespace

std::string css_of(const Results& results, const std::string& system) {
    std::size_t peers = 0;
    for (const System& one : results.systems) {
        if (one.name == system && one.role != "peer") return one.role;
        if (one.name == system) return fmt::format("p{}", peers % 12);
        if (one.role == "peer") ++peers;
    }
    return "limit";
}

std::vector<Figures> figures_of(const Results& results, const Results* before) {
    std::vector<Figures> all;
    const auto curves = [&](const char* scenario, const std::string& heading) {
        for (const GroupResult* const group : groups_of(results, scenario))
            all.push_back(latency_curves(results, before, *group,
                                         heading + ", " + bytes_text(group->bytes)));
    };
    curves("pingpong", "Round trip");
    if (const auto steps = groups_of(results, "oneway", "single"); !steps.empty())
        all.push_back(throughput(results, steps));
    if (const auto steps = groups_of(results, "rate"); !steps.empty())
        all.push_back(rate_ladder(results, steps));
    curves("wakeup", "Waking a sleeping receiver");
    auto durable = groups_of(results, "durable");
    std::erase_if(durable, [](const GroupResult* group) { return group->step == 0; });
    if (!durable.empty()) all.push_back(durable_ladder(results, durable));
    if (const auto steps = groups_of(results, "fanout"); !steps.empty())
        all.push_back(fan_out(results, steps));
    return all;
}

}  // namespace shmbus::bench
