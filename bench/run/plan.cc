// Which comparisons a run makes: the scenarios' own, each with the peers that can do the task.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/plan.h"

#include "scenarios.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

// Any number does: it is printed, so that a run can be repeated.
constexpr std::uint64_t seed = 20261126;
constexpr std::array quick_scenarios{"pingpong", "oneway", "wakeup", "durable"};
constexpr milliseconds quick_span{180'000};
constexpr milliseconds full_span{1'500'000};
// Of a comparison's share of the time its wanted rounds run so much; the rest goes into probes, the
// starting of buses and servers, and rounds that come again because the cores were moved. The
// shorter a round, the less often they are.
constexpr double running_share = 0.25;
// A last round may go on so long over it.
constexpr double overtime = 1.25;

std::vector<std::string> wanted_scenarios(const RunOptions& options) {
    if (!options.scenarios.empty()) return options.scenarios;
    if (options.quick) return {quick_scenarios.begin(), quick_scenarios.end()};
    std::vector<std::string> all;
    for (const Scenario& scenario : all_scenarios()) all.push_back(scenario.name);
    return all;
}

std::vector<Comparison> comparisons_of(const std::string& name, const Request& request) {
    for (const Scenario& scenario : all_scenarios())
        if (scenario.name == name) return scenario.comparisons(request);
    throw std::invalid_argument("no scenario \"" + name + "\"; see shm-bench --list");
}

template <typename Make, typename... What>
void enter(Comparison& comparison, const Peer& peer, const Make& make, What... what) {
    if (!make || peer.absent) return;
    Contestant contestant = make(what...);
    contestant.name = peer.name;
    comparison.peers.push_back(std::move(contestant));
}

void add_peers(Comparison& comparison, const std::vector<Peer>& peers) {
    for (const Peer& peer : peers) {
        const std::string& scenario = comparison.scenario;
        if (scenario == "pingpong") enter(comparison, peer, peer.pingpong, comparison.bytes);
        if (scenario == "oneway" && comparison.variant == "single")
            enter(comparison, peer, peer.oneway, comparison.bytes);
        if (scenario == "oneway" && comparison.variant == "packed")
            enter(comparison, peer, peer.packed, comparison.bytes);
        if (scenario == "wakeup") enter(comparison, peer, peer.wakeup);
        if (scenario == "fanout") enter(comparison, peer, peer.fanout, comparison.step);
        if (scenario == "durable" && comparison.step > 0 && comparison.bytes == 256)
            enter(comparison, peer, peer.durable, comparison.step);
    }
}

// A soak wants slices that are this many times longer.
double weight_of(const Comparison& comparison) { return comparison.scenario == "soak" ? 15 : 1; }

double slices_of(const Step& step) {
    return weight_of(step.comparison) *
           static_cast<double>(contestants_of(step.comparison).size() * step.budget.wanted_rounds);
}

milliseconds rounded(double span_ms) { return milliseconds(std::lround(span_ms)); }

}  // namespace

Plan plan_of(const RunOptions& options, const std::vector<Peer>& peers) {
    Plan plan;
    plan.seed = seed;
    plan.wanted_rounds = options.quick ? 3 : 5;
    const Request request{{}, options.quick ? Extent::quick : Extent::full};
    double slices = 0;
    for (const std::string& name : wanted_scenarios(options)) {
        for (Comparison& comparison : comparisons_of(name, request)) {
            add_peers(comparison, peers);
            Step step{std::move(comparison), {{}, {}, plan.wanted_rounds, seed}};
            slices += slices_of(step);
            plan.steps.push_back(std::move(step));
        }
    }
    const milliseconds total =
        options.seconds > 0 ? milliseconds(static_cast<long>(options.seconds * 1000))
                            : options.quick ? quick_span : full_span;
    const double each_ms = static_cast<double>(total.count()) / std::max(slices, 1.0);
    double planned_ms = 0;
    for (Step& step : plan.steps) {
        const double weight = weight_of(step.comparison);
        const double slice_ms = std::clamp(each_ms * running_share * weight, 20.0, 250 * weight);
        step.budget.slice = rounded(slice_ms);
        step.budget.total = rounded(each_ms * slices_of(step) * overtime);
        planned_ms += slice_ms / weight * slices_of(step) / running_share;
    }
    plan.about = std::chrono::seconds(std::lround(planned_ms / 1000));
    return plan;
}

}  // namespace shmbus::bench
