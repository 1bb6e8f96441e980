// Charts of the page: which scenario is drawn how, and in which colours.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/page.h"

#include "run/units.h"

#include <algorithm>
#include <fmt/format.h>

namespace shmbus::bench {
namespace {

Steps groups_of(const Results& results, const std::string& scenario,
                                          const std::string& variant = "") {
    Steps found;
    for (const GroupResult& group : results.groups)
        if (group.scenario == scenario && (variant.empty() || group.variant == variant))
            found.push_back(&group);
    return found;
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
        all.push_back(rate_ladder(steps));
    curves("wakeup", "Waking a sleeping receiver");
    auto durable = groups_of(results, "durable");
    std::erase_if(durable, [](const GroupResult* group) { return group->step == 0; });
    if (!durable.empty()) all.push_back(durable_ladder(results, durable));
    if (const auto steps = groups_of(results, "fanout"); !steps.empty())
        all.push_back(fan_out(results, steps));
    return all;
}

}  // namespace shmbus::bench
