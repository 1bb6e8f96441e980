// Rounds: how samples become one line of ratios.
//
// SPDX-License-Identifier: BSL-1.0
#include "rounds.h"

#include "probe.h"
#include "ticks.h"

#include <algorithm>
#include <cmath>

namespace shmbus::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double probes_agree_within = 0.15;
constexpr double rounds_agree_within = 0.30;

struct Round {
    double probe_ns = 0;
    bool steady = false;  // the probes around it agree, and both samples hold the figure
    Sample ours;
    std::optional<Sample> limit;
};

double median_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::optional<double> value_of(const Sample& sample, Figure figure) {
    if (figure == Figure::rate) return sample.rate_per_s;
    if (figure == Figure::time_each) {
        if (!sample.rate_per_s || *sample.rate_per_s <= 0) return {};
        return 1e9 / *sample.rate_per_s;
    }
    if (!sample.latency || sample.latency->count() == 0) return std::nullopt;
    return tick_rate().ns(sample.latency->quantile(figure == Figure::p50 ? 0.5 : 0.99));
}

bool measured(const Round& round, Figure figure) {
    return value_of(round.ours, figure) && (!round.limit || value_of(*round.limit, figure));
}

bool off_by_more(double one, double other, double share) {
    return std::abs(one - other) > share * std::min(one, other);
}

// The rounds that were measured at the distance of most.
std::vector<const Round*> kept_of(const std::vector<Round>& rounds) {
    std::vector<double> probes;
    for (const Round& round : rounds) {
        if (round.steady) probes.push_back(round.probe_ns);
    }
    std::vector<const Round*> kept;
    if (probes.empty()) return kept;
    const double usual = median_of(probes);
    for (const Round& round : rounds) {
        if (!round.steady || off_by_more(round.probe_ns, usual, rounds_agree_within)) continue;
        kept.push_back(&round);
    }
    return kept;
}

// Asks both sides to suit themselves to the cores' distance, at first and when that has changed.
class Tuner {
public:
    explicit Tuner(const Comparison& comparison) : comparison_(comparison) {}

    void at(double probe_ns) {
        if (tuned_at_ns_ > 0 && !off_by_more(probe_ns, tuned_at_ns_, rounds_agree_within)) return;
        if (comparison_.ours.tune) comparison_.ours.tune();
        if (comparison_.limit && comparison_.limit->tune) comparison_.limit->tune();
        tuned_at_ns_ = probe_ns;
    }

private:
    const Comparison& comparison_;
    double tuned_at_ns_ = 0;
};

Round run_round(const Comparison& comparison, const Budget& budget, bool ours_first) {
    Round round;
    if (ours_first) round.ours = comparison.ours.run(budget.slice);
    if (comparison.limit) round.limit = comparison.limit->run(budget.slice);
    if (!ours_first) round.ours = comparison.ours.run(budget.slice);
    return round;
}

void tell_latency(Report& report, const std::vector<const Round*>& kept) {
    const auto merged = std::make_unique<Histogram>();
    for (const Round* round : kept) {
        if (round->ours.latency) merged->add(*round->ours.latency);
    }
    if (merged->count() == 0) return;
    const TickRate& rate = tick_rate();
    report.p50_ns = rate.ns(merged->quantile(0.5));
    report.p99_ns = rate.ns(merged->quantile(0.99));
    report.p999_ns = rate.ns(merged->quantile(0.999));
    report.max_ns = rate.ns(merged->max());
}

void tell_ratio(Report& report, const Comparison& comparison,
                const std::vector<const Round*>& kept) {
    std::vector<double> ours;
    std::vector<double> limits;
    for (const Round* round : kept) {
        ours.push_back(*value_of(round->ours, comparison.figure));
        if (round->limit) limits.push_back(*value_of(*round->limit, comparison.figure));
    }
    const bool own_limit = limits.empty();
    if (own_limit) limits.assign(ours.size(), median_of(ours));

    std::vector<double> ratios;
    for (std::size_t i = 0; i < ours.size(); ++i) {
        if (limits[i] > 0) ratios.push_back(ours[i] / limits[i]);
    }
    report.limit_name = own_limit ? "its own median" : comparison.limit->name;
    report.limit_value = median_of(limits);
    if (comparison.figure == Figure::rate) report.rate_per_s = median_of(ours);
    if (ratios.empty()) return;
    const auto [min, max] = std::minmax_element(ratios.begin(), ratios.end());
    report.ratio = Ratio{*min, median_of(ratios), *max};
}

// Every round counts here, the dropped ones too: a lost message is wrong at any distance.
std::string integrity_of(const std::vector<Round>& rounds) {
    for (const Round& round : rounds) {
        if (round.ours.integrity != "ok") return round.ours.integrity;
        if (round.limit && round.limit->integrity != "ok") {
            return "in the limit: " + round.limit->integrity;
        }
    }
    return "ok";
}

}  // namespace

Budget share_of(std::chrono::milliseconds total, std::size_t comparisons, bool until_total) {
    using std::chrono::milliseconds;
    const milliseconds share = total / static_cast<long>(std::max<std::size_t>(comparisons, 1));
    // Five rounds of two slices, and about as much again for probes, starts and dropped rounds.
    const milliseconds slice = std::clamp(share / 18, milliseconds(20), milliseconds(1000));
    return {slice, share, until_total ? std::size_t{0} : std::size_t{5}};
}

Report compare(const Comparison& comparison, const Budget& budget) {
    const Clock::time_point deadline = Clock::now() + budget.total;
    Tuner tuner(comparison);
    std::vector<Round> rounds;
    double before = probe_ns();
    do {
        tuner.at(before);
        const bool ours_first = rounds.size() % 2 == 0;
        Round round = run_round(comparison, budget, ours_first);
        const double after = probe_ns();
        round.probe_ns = (before + after) / 2;
        round.steady = !off_by_more(before, after, probes_agree_within) &&
                       measured(round, comparison.figure);
        before = after;
        rounds.push_back(std::move(round));
        if (integrity_of(rounds) != "ok") break;
        if (budget.wanted_rounds > 0 && kept_of(rounds).size() >= budget.wanted_rounds) break;
    } while (Clock::now() < deadline);

    const std::vector<const Round*> kept = kept_of(rounds);
    Report report;
    report.scenario = comparison.scenario;
    report.variant = comparison.variant;
    report.bytes = comparison.bytes;
    report.rounds_kept = kept.size();
    report.rounds_dropped = rounds.size() - kept.size();
    report.integrity = integrity_of(rounds);
    report.limit_name = comparison.limit ? comparison.limit->name : "its own median";
    if (kept.empty()) return report;

    std::vector<double> probes;
    for (const Round* round : kept) probes.push_back(round->probe_ns);
    report.placement = placement_of(median_of(probes));
    tell_latency(report, kept);
    tell_ratio(report, comparison, kept);
    return report;
}

}  // namespace shmbus::bench
