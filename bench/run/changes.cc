// What became of shmbus between two runs.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/changes.h"

#include "run/page.h"
#include "run/table.h"
#include "run/units.h"

#include <cmath>
#include <cstdio>
#include <fmt/format.h>

namespace shmbus::bench {
namespace {

const GroupResult* same_in(const Results& results, const GroupResult& wanted) {
    for (const GroupResult& group : results.groups)
        if (title_of(group) == title_of(wanted) && group.figure == wanted.figure) return &group;
    return nullptr;
}

bool have_same_limit(const GroupResult& one, const GroupResult& other) {
    const Row* const first = limit_of(one);
    const Row* const second = limit_of(other);
    return first && second && first->system == second->system && front_of(one).ratio &&
           front_of(other).ratio;
}

std::string text_of(const Change& change, double threshold_percent) {
    const GroupResult& group = *change.after;
    std::string text = fmt::format("{:<40.40}{:>11}{:>11}", title_of(group),
                                   figure_text(group, change.old_figure.median),
                                   figure_text(group, change.new_figure.median));
    text += change.by_ratio ? fmt::format("{:>8}{:>8}", factor_text(change.old_ratio),
                                          factor_text(change.new_ratio))
                            : fmt::format("{:>8}{:>8}", "-", "-");
    text += "  " + change_text(change);
    if (change.worse_percent > threshold_percent) text += "  PAST THE THRESHOLD";
    return text;
}

}  // namespace

std::string change_text(const Change& change) {
    if (std::abs(change.worse_percent) < 0.05) return "the same";
    return fmt::format("{:.1f} % {}", std::abs(change.worse_percent),
                       change.worse_percent > 0 ? "worse" : "better");
}

std::vector<Change> changes_between(const Results& before, const Results& after) {
    std::vector<Change> changes;
    for (const GroupResult& group : after.groups) {
        const GroupResult* const old = same_in(before, group);
        if (!old || !is_ours(group) || !front_of(*old).figure || !front_of(group).figure) continue;
        const Row& was = front_of(*old);
        const Row& is = front_of(group);
        Change change{&group, *was.figure, *is.figure};
        change.by_ratio = have_same_limit(*old, group);
        if (change.by_ratio) {
            change.old_ratio = was.ratio->median;
            change.new_ratio = is.ratio->median;
        }
        const double factor = change.by_ratio
                                  ? lead(group, change.old_ratio, change.new_ratio)
                                  : lead(group, was.figure->median, is.figure->median);
        change.worse_percent = (factor - 1) * 100;
        changes.push_back(change);
    }
    return changes;
}

int compare_files(const std::string& before_path, const std::string& after_path,
                  double threshold_percent) {
    const Results before = read_results(before_path);
    const Results after = read_results(after_path);
    const std::vector<Change> changes = changes_between(before, after);
    const std::vector<std::string> violations = violations_of(after);
    for (const std::string& violation : violations) std::printf("void: %s\n", violation.c_str());
    if (changes.empty()) {
        std::fprintf(stderr, "shm-bench: %s and %s have no figure of shmbus in common\n",
                     before_path.c_str(), after_path.c_str());
        return 2;
    }
    std::printf("%-40s%11s%11s%16s\n", "", "before", "after", "x limit, both");
    bool well = violations.empty();
    for (const Change& change : changes) {
        std::printf("%s\n", text_of(change, threshold_percent).c_str());
        well = well && change.worse_percent <= threshold_percent;
    }
    return well ? 0 : 1;
}

}  // namespace shmbus::bench
