// What rounds of contestants become: rows of figures, and the systems that took part.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/gather.h"

#include "bench_build.h"
#include "probe.h"

#include <algorithm>

namespace shmbus::bench {
namespace {

std::string name_of(Placement placement) { return placement == Placement::near ? "near" : "far"; }

std::string name_of(Figure figure) {
    switch (figure) {
        case Figure::p50: return "p50";
        case Figure::p99: return "p99";
        case Figure::rate: return "rate";
        case Figure::time_each: return "time_each";
        case Figure::longest: return "longest";
        case Figure::memory: return "memory";  // no scenario of a run has it
    }
    return "";
}

// The word of most rounds that were kept; of any if none was.
std::string mark_of(const Standing& standing, const std::vector<Round>& rounds,
                    std::size_t index) {
    std::string mark;
    std::size_t marked = 0;
    for (const Round& round : rounds) {
        const bool counts = standing.kept.empty() || std::ranges::find(standing.kept, &round) !=
                                                         standing.kept.end();
        if (!counts || round.samples[index].mark.empty()) continue;
        mark = round.samples[index].mark;
        ++marked;
    }
    return 2 * marked > standing.kept.size() ? mark : "";
}

// The figure by round, in their order; absent where the round was dropped.
std::vector<std::optional<double>> by_round(const Standing& standing,
                                            const std::vector<Round>& rounds) {
    std::vector<std::optional<double>> values;
    std::size_t next = 0;
    for (const Round& round : rounds) {
        const bool kept = std::ranges::find(standing.kept, &round) != standing.kept.end();
        values.push_back(kept ? std::optional(standing.values[next++]) : std::nullopt);
    }
    return values;
}

// Of all rounds kept together: a quantile of the whole is not a median of quantiles.
void tell_samples(Row& row, const Standing& standing, std::size_t index) {
    const auto latency = std::make_unique<Histogram>();
    const auto uncorrected = std::make_unique<Histogram>();
    std::vector<double> rates;
    for (const Round* round : standing.kept) {
        const Sample& sample = round->samples[index];
        if (sample.latency) latency->add(*sample.latency);
        if (sample.uncorrected) uncorrected->add(*sample.uncorrected);
        if (sample.rate_per_s) rates.push_back(*sample.rate_per_s);
    }
    row.latency = distribution_of(*latency);
    row.uncorrected = distribution_of(*uncorrected);
    if (!rates.empty()) row.rate_per_s = median_of(rates);
}

Row row_of(const Comparison& comparison, const std::vector<Round>& rounds, std::size_t index) {
    const Contestant& contestant = *contestants_of(comparison)[index];
    const bool is_limit = contestant.is_bare || (comparison.limit && index == 1);
    const Standing standing = standing_of(comparison, rounds, index);
    Row row;
    row.role = is_limit ? "limit" : index == 0 ? "ours" : "peer";
    row.system = row.role == "ours" ? "shmbus" : contestant.name;
    row.name = contestant.name;
    row.rounds = by_round(standing, rounds);
    row.rounds_kept = standing.kept.size();
    row.integrity = standing.integrity;
    row.mark = mark_of(standing, rounds, index);
    if (row.integrity != "ok") return row;  // void
    tell_samples(row, standing, index);
    row.figure = spread_of(standing.values);
    row.ratio = spread_of(standing.ratios);
    if (!row.figure && row.mark.empty()) row.mark = "no steady round";
    return row;
}

}  // namespace

GroupResult group_of(const Comparison& comparison, const std::vector<Round>& rounds) {
    GroupResult group{comparison.scenario, comparison.variant, comparison.bytes, comparison.step,
                      name_of(comparison.figure), {}, {}, {}};
    const std::vector<const Contestant*> contestants = contestants_of(comparison);
    for (const Round& round : rounds) {
        const double probe_ns = round.distances[0].probe_ns;
        RoundNote note{probe_ns, name_of(placement_of(probe_ns)), is_steady(comparison, round, 0),
                       {}};
        for (const std::size_t index : round.order) note.order.push_back(contestants[index]->name);
        group.rounds.push_back(std::move(note));
    }
    const std::optional<Placement> placement = standing_of(comparison, rounds, 0).placement;
    if (placement) group.placement = name_of(*placement);
    for (std::size_t i = 0; i < contestants.size(); ++i)
        group.rows.push_back(row_of(comparison, rounds, i));
    return group;
}

std::vector<System> systems_of(const Plan& plan, const std::vector<Peer>& peers) {
    const System ours{"shmbus", "ours", "", build_version,
                      "a bus of its own for each measurement, all defaults",
                      {true, true, true, true, true}, true, {}};
    std::vector<System> systems{ours};
    for (const Peer& peer : peers)
        systems.push_back({peer.name, "peer", peer.package, peer.version, peer.configuration,
                           peer.guarantees, peer.ranked_durable, peer.absent});
    for (const Step& step : plan.steps) {
        if (!step.comparison.limit) continue;
        const std::string& name = step.comparison.limit->name;
        if (std::ranges::none_of(systems, [&](const System& one) { return one.name == name; }))
            systems.push_back({name, "limit", "", "", "", {}, true, {}});
    }
    return systems;
}

void mark_unranked(GroupResult& group, const std::vector<System>& systems) {
    if (group.scenario != "durable") return;
    for (Row& row : group.rows)
        for (const System& system : systems)
            if (system.name == row.system && !system.ranked_durable && row.mark.empty())
                row.mark = "acknowledges before its sync: not ranked";
}

}  // namespace shmbus::bench
