// The results as lines for a terminal.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/table.h"

#include "run/units.h"

#include <algorithm>
#include <fmt/format.h>

namespace shmbus::bench {
namespace {

std::string quantile_text(const Row& row, double share) {
    const bool known = row.figure && row.latency.count() > 0;
    return known ? time_text(row.latency.quantile(share)) : "-";
}

std::string ratio_text(const Row& row) {
    if (!row.ratio || row.role == "limit") return "";
    return fmt::format("{} / {} / {}", factor_text(row.ratio->min), factor_text(row.ratio->median),
                       factor_text(row.ratio->max));
}

std::string rate_of(const GroupResult& group, const Row& row) {
    if (is_rate(group) && row.figure) return rate_text(row.figure->median);
    return or_dash(row.figure ? row.rate_per_s : std::nullopt, rate_text);
}

std::string line_of(const GroupResult& group, const Row& row) {
    std::string line =
        fmt::format("  {:<27.27}{:>9}{:>9}{:>9}{:>10}{:>12}  {}",
                    row.role == "limit" ? fmt::format("({})", row.system) : row.system,
                    quantile_text(row, 0.5), quantile_text(row, 0.99), quantile_text(row, 0.999),
                    row.latency.count() > 0 ? time_text(row.latency.max_ns) : "-",
                    rate_of(group, row), ratio_text(row));
    line.erase(line.find_last_not_of(' ') + 1);
    if (row.uncorrected.count() > 0)
        line += fmt::format("\n      from the real send it would be p99 {}",
                            time_text(row.uncorrected.quantile(0.99)));
    if (group.scenario == "fanout" && row.figure)
        line += fmt::format("\n      {} for each subscriber",
                            time_text(1e9 / row.figure->median / static_cast<double>(group.step)));
    if (row.integrity != "ok") line += fmt::format("\n      VOID: {}", row.integrity);
    if (!row.mark.empty()) line += fmt::format("\n      {}", row.mark);
    return line;
}

}  // namespace

std::string title_of(const GroupResult& group) {
    std::string title = group.scenario + ", " + group.variant;
    if (group.bytes > 0) title += ", " + bytes_text(group.bytes);
    return title;
}

std::string table_of(const GroupResult& group) {
    const auto steady = std::ranges::count_if(
        group.rounds, [](const RoundNote& round) { return round.steady; });
    std::string text = fmt::format(
        "{}: cores {}, {} rounds, {} of them steady\n  {:<27}{:>9}{:>9}{:>9}{:>10}{:>12}  {}",
        title_of(group), group.placement.empty() ? "at no steady distance" : group.placement,
        group.rounds.size(), steady, "", "p50", "p99", "p99.9", "max", "rate",
        limit_of(group) ? "x limit: min/med/max" : "x own: min/med/max");
    text += '\n';
    for (const Row& row : group.rows) text += line_of(group, row) + '\n';
    return text;
}

std::string absent_of(const Results& results) {
    std::string text;
    for (const System& system : results.systems)
        if (system.absent) text += fmt::format("  {}: {}\n", system.name, *system.absent);
    return text.empty() ? text : fmt::format("Not measured:\n{}", text);
}

}  // namespace shmbus::bench
