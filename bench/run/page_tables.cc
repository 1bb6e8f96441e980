// Tables of the page.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/page.h"

#include "run/changes.h"
#include "run/svg.h"
#include "run/table.h"
#include "run/units.h"

#include <algorithm>
#include <fmt/format.h>

namespace shmbus::bench {
namespace {

std::string cell(const std::string& text, const char* css = "") {
    if (*css == '\0') return "<td>" + escaped(text) + "</td>";
    return fmt::format("<td class=\"{}\">{}</td>", css, escaped(text));
}

// `css`: "r" if remarks stand in the last column.
std::string head(const std::vector<std::string>& names, const char* css = "") {
    std::string text = fmt::format("<div class=\"wide\"><table class=\"{}\"><thead><tr>", css);
    for (const std::string& name : names) text += "<th>" + escaped(name) + "</th>";
    return text + "</tr></thead><tbody>\n";
}

constexpr const char* foot = "</tbody></table></div>\n";

std::string spread_text(const GroupResult& group, const std::optional<Spread>& spread) {
    if (!spread) return "-";
    return fmt::format("{} ({} … {})", figure_text(group, spread->median),
                       figure_text(group, spread->min), figure_text(group, spread->max));
}

std::string ratio_text(const std::optional<Spread>& ratio) {
    if (!ratio) return "-";
    return fmt::format("{} ({} … {})", factor_text(ratio->median), factor_text(ratio->min),
                       factor_text(ratio->max));
}

// A grey row for each system that would have its place here, were it there.
std::string absent_rows(const Results& results, bool durable, std::size_t columns) {
    std::string text;
    for (const System& system : results.systems) {
        const bool stores = system.guarantees.durable || !system.ranked_durable;
        if (system.absent && stores == durable)
            text += fmt::format("<tr class=\"absent\">{}<td class=\"w\" colspan=\"{}\">{}</td>"
                                "</tr>\n",
                                cell(system.name), columns - 1, escaped(*system.absent));
    }
    return text;
}

bool has_peers(const GroupResult& group) {
    return std::ranges::any_of(group.rows, [](const Row& row) { return row.role == "peer"; });
}

std::string yes(bool holds) { return holds ? "yes" : "–"; }

std::string lead_cell(const GroupResult& group, const Row& ours) {
    const Row* const best = best_peer_of(group);
    if (!best || !ours.figure) return cell("-");
    const double factor = lead(group, ours.figure->median, best->figure->median);
    if (factor >= 1) return cell("▲ " + factor_text(factor) + " × ahead", "good");
    return cell("▼ " + factor_text(1 / factor) + " × behind", "bad");
}

}  // namespace

std::string glance_table(const Results& results) {
    std::string text = head({"measured", "cores", "shmbus: median (min … max)", "× limit",
                             "best other system", "its figure", "shmbus is"});
    for (const GroupResult& group : results.groups) {
        if (!is_ours(group)) continue;
        const Row& ours = front_of(group);
        const Row* const limit = limit_of(group);
        const Row* const best = best_peer_of(group);
        text += "<tr class=\"ours\">" + cell(title_of(group)) + cell(group.placement) +
                (ours.integrity == "ok" ? cell(spread_text(group, ours.figure))
                                        : cell("void: " + ours.integrity, "bad")) +
                cell(limit && ours.ratio ? factor_text(ours.ratio->median) : "-") +
                cell(best ? best->system : "-") +
                cell(best ? figure_text(group, best->figure->median) : "-") +
                lead_cell(group, ours) + "</tr>\n";
    }
    return text + foot;
}

std::string group_table(const Results& results, const GroupResult& group) {
    const bool open_loop = front_of(group).uncorrected.count() > 0;
    std::vector<std::string> names{"system", "p50", "p99", "p99.9", "p99.99", "max",
                                   is_rate(group) ? "rate (min … max)" : "rate",
                                   limit_of(group) ? "× limit (min … max)" : "× its median",
                                   "rounds", "remarks"};
    if (open_loop) names.insert(names.begin() + 6, "p99 uncorrected");
    std::string text = head(names, "r");
    for (const Row& row : group.rows) {
        text += fmt::format("<tr class=\"{}\">{}", row.role, cell(row.system));
        for (const double share : {0.5, 0.99, 0.999, 0.9999})
            text += cell(row.figure && row.latency.count() > 0
                             ? time_text(row.latency.quantile(share)) : "-");
        text += cell(row.latency.count() > 0 ? time_text(row.latency.max_ns) : "-");
        if (open_loop) text += cell(time_text(row.uncorrected.quantile(0.99)));
        text += cell(is_rate(group) ? spread_text(group, row.figure)
                                    : or_dash(row.rate_per_s, rate_text));
        text += cell(row.role == "limit" ? "" : ratio_text(row.ratio));
        text += cell(fmt::format("{} of {}", row.rounds_kept, group.rounds.size()));
        text += row.integrity == "ok" ? cell(row.mark, "w")
                                      : cell("VOID: " + row.integrity, "w bad");
        text += "</tr>\n";
    }
    if (has_peers(group))
        text += absent_rows(results, group.scenario == "durable", names.size());
    return text + foot;
}

std::string ladder_name(const Row& row) { return row.role == "limit" ? "the limit" : row.system; }

std::string ladder_table(const Results& results, const Ladder& ladder) {
    std::vector<std::string> names{"system"};
    std::vector<std::string> systems;
    for (const GroupResult* const group : ladder.steps) {
        names.push_back(ladder.step_text(*group));
        for (const Row& row : group->rows)
            if (std::ranges::find(systems, ladder_name(row)) == systems.end())
                systems.push_back(ladder_name(row));
    }
    std::string text = head(names);
    for (const std::string& system : systems) {
        std::string cells;
        std::string role;
        for (const GroupResult* const group : ladder.steps) {
            const auto found = std::ranges::find(group->rows, system, ladder_name);
            const Row* const row = found == group->rows.end() ? nullptr : &*found;
            if (row) role = row->role;
            cells += cell(!row             ? ""
                          : !row->figure   ? "-"
                          : row->mark.empty() ? ladder.cell_text(*group, *row)
                                              : ladder.cell_text(*group, *row) + " *");
        }
        text += fmt::format("<tr class=\"{}\">{}{}</tr>\n", role, cell(system), cells);
    }
    if (has_peers(*ladder.steps.front()))
        text += absent_rows(results, ladder.steps.front()->scenario == "durable", names.size());
    text += foot;
    return text;
}

std::string series_table(const Axis& x, const std::string& corner, std::string (*text_of)(double),
                         const std::vector<Series>& series) {
    std::vector<std::string> names{corner};
    for (const double tick : x.ticks) names.push_back(x.text(tick));
    std::string text = head(names);
    for (const Series& one : series) {
        text += fmt::format("<tr class=\"{}\">{}", one.css, cell(one.name));
        for (const double tick : x.ticks) {
            const auto found = std::ranges::find(one.points, tick,
                                                 &std::pair<double, double>::first);
            text += cell(found == one.points.end() ? "-" : text_of(found->second));
        }
        text += "</tr>\n";
    }
    return text + foot;
}

std::string systems_table(const Results& results) {
    std::string text = head({"system", "kill-safe", "redelivery", "durable", "competing",
                             "zero copy", "version", "how it is set up"},
                            "r");
    for (const System& system : results.systems) {
        if (system.role == "limit") continue;
        const Guarantees& has = system.guarantees;
        text += fmt::format("<tr class=\"{}\">{}", system.absent ? "absent" : system.role,
                            cell(system.name));
        for (const bool one : {has.kill_safe, has.redelivery, has.durable, has.competing_consumers,
                               has.zero_copy})
            text += cell(yes(one));
        text += cell(system.absent ? "" : system.version, "v");
        text += cell(system.absent ? *system.absent
                     : system.ranked_durable
                         ? system.configuration
                         : system.configuration + "; acknowledges before its sync: not ranked",
                     "w");
        text += "</tr>\n";
    }
    return text + foot;
}

std::string change_table(const Results& before, const Results& after) {
    std::string text = head({"measured", "before", "after", "× limit before", "× limit after",
                             "change"});
    for (const Change& change : changes_between(before, after)) {
        const bool worse = change.worse_percent > 0;
        text += "<tr class=\"ours\">" + cell(title_of(*change.after)) +
                cell(figure_text(*change.after, change.old_figure.median)) +
                cell(figure_text(*change.after, change.new_figure.median)) +
                cell(change.by_ratio ? factor_text(change.old_ratio) : "-") +
                cell(change.by_ratio ? factor_text(change.new_ratio) : "-") +
                cell(change_text(change), worse ? "bad" : "good") +
                "</tr>\n";
    }
    return text + foot;
}

}  // namespace shmbus::bench
