// One comparison as one line: how ours stands beside its limit.
//
// SPDX-License-Identifier: BSL-1.0
#include "rounds.h"

#include "ticks.h"

namespace shmbus::bench {
namespace {

void tell_latency(Report& report, const Standing& standing) {
    const auto merged = std::make_unique<Histogram>();
    const auto uncorrected = std::make_unique<Histogram>();
    for (const Round* round : standing.kept) {
        const Sample& sample = round->samples[0];
        if (sample.latency) merged->add(*sample.latency);
        if (sample.uncorrected) uncorrected->add(*sample.uncorrected);
        if (!sample.mark.empty()) report.mark = sample.mark;
    }
    if (merged->count() == 0) return;
    const TickRate& rate = tick_rate();
    if (uncorrected->count() > 0)
        report.uncorrected_p99_ns = rate.ns(uncorrected->quantile(0.99));
    report.p50_ns = rate.ns(merged->quantile(0.5));
    report.p99_ns = rate.ns(merged->quantile(0.99));
    report.p999_ns = rate.ns(merged->quantile(0.999));
    report.max_ns = rate.ns(merged->max());
}

}  // namespace

Report compare(const Comparison& comparison, const Budget& budget) {
    const std::vector<Round> rounds = run_rounds(comparison, budget);
    const Standing standing = standing_of(comparison, rounds, 0);
    Report report;
    report.scenario = comparison.scenario;
    report.variant = comparison.variant;
    report.bytes = comparison.bytes;
    report.rounds_kept = standing.kept.size();
    report.rounds_dropped = rounds.size() - standing.kept.size();
    report.limit_name = comparison.limit ? comparison.limit->name : "its own median";
    report.integrity = standing.integrity;
    if (report.integrity == "ok" && comparison.limit) {
        report.integrity = standing_of(comparison, rounds, 1).integrity;
        if (report.integrity != "ok") report.integrity = "in the limit: " + report.integrity;
    }
    if (standing.kept.empty()) {
        for (const Round& round : rounds)
            if (!round.samples[0].mark.empty()) report.mark = round.samples[0].mark;
        return report;
    }

    report.placement = standing.placement;
    tell_latency(report, standing);
    report.limit_value =
        median_of(standing.limits.empty() ? standing.values : standing.limits);
    if (comparison.figure == Figure::rate) report.rate_per_s = median_of(standing.values);
    if (comparison.figure == Figure::memory) report.memory_bytes = median_of(standing.values);
    report.ratio = spread_of(standing.ratios);
    return report;
}

}  // namespace shmbus::bench
