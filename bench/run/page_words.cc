// Sentences of the page, made from the figures.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/page.h"

#include "run/table.h"
#include "run/units.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>

namespace shmbus::bench {
namespace {

std::string times(double factor) { return factor_text(factor) + " times"; }

std::string beside_limit(const GroupResult& group, const Row& ours) {
    const Row* const limit = limit_of(group);
    if (!limit || !limit->figure || !ours.ratio) return "";
    return fmt::format(", {} the limit ({}, {})", times(ours.ratio->median), limit->system,
                       figure_text(group, limit->figure->median));
}

std::string beside_peers(const GroupResult& group, const Row& ours) {
    const Row* const best = best_peer_of(group);
    if (!best) return "";
    const double factor = lead(group, ours.figure->median, best->figure->median);
    const std::string theirs = figure_text(group, best->figure->median);
    if (factor < 1)
        return fmt::format("; {} is ahead with {}, {} better", best->system, theirs,
                           times(1 / factor));
    return fmt::format("; the best of the others is {} with {}, so shmbus is {} ahead",
                       best->system, theirs, times(factor));
}

}  // namespace

std::string figure_text(const GroupResult& group, double value) {
    return is_rate(group) ? rate_text(value) : time_text(value);
}

std::string place_of(const GroupResult& group) {
    const Row& ours = front_of(group);
    if (!ours.figure)
        return fmt::format("{} has no figure here: {}.", ours.system,
                           ours.integrity == "ok" ? ours.mark : ours.integrity);
    static const std::map<std::string, std::string> figures{{"p50", "half of them within"},
                                                            {"p99", "99 of 100 within"},
                                                            {"longest", "the longest took"},
                                                            {"time_each", "one each"},
                                                            {"rate", ""}};
    const std::string& what = figures.at(group.figure);
    return fmt::format("{}: {}{}{}{}{}.", ours.system, what, what.empty() ? "" : " ",
                       figure_text(group, ours.figure->median), beside_limit(group, ours),
                       beside_peers(group, ours));
}

std::string verdict_of(const Results& results) {
    const std::vector<std::string> violations = violations_of(results);
    if (!violations.empty())
        return fmt::format("{} measurements are VOID: messages were lost, damaged or disordered. "
                           "The first: {}.",
                           violations.size(), violations.front());
    std::size_t ahead = 0;
    std::string behind;
    std::size_t contested = 0;
    for (const GroupResult& group : results.groups) {
        const Row* const best = best_peer_of(group);
        const Row& ours = front_of(group);
        if (!best || !ours.figure) continue;
        ++contested;
        if (lead(group, ours.figure->median, best->figure->median) >= 1) ++ahead;
        else behind += fmt::format("{}{} ({})", behind.empty() ? "" : "; ", title_of(group),
                                   best->system);
    }
    std::string text = "Every message of every measurement came once, whole, and in the order of "
                       "its sender.";
    if (contested > 0)
        text += fmt::format(" shmbus is ahead of every other system in {} of {} measurements{}.",
                            ahead, contested, behind.empty() ? "" : "; it is behind in " + behind);
    return text;
}

std::string hiccups_reading(const Results& results) {
    std::string text = "A thread that did nothing but look at the clock was kept from it for more "
                       "than a millisecond";
    std::string_view joint = " ";
    double longest = 0;
    for (const Hiccups& hiccups : results.hiccups) {
        text += fmt::format("{}{:.1f} times a second {}", joint, hiccups.over_1ms_per_s,
                            hiccups.when == "during" ? "between the measurements"
                                                     : hiccups.when + " them");
        joint = hiccups.when == "before" ? ", " : " and ";
        longest = std::max(longest, hiccups.gaps.max_ns);
    }
    return text + ", for " + time_text(longest) +
           " at the longest: no software here can be blamed for waits of that kind.";
}

}  // namespace shmbus::bench
