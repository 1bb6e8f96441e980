// Rounds: every contestant once in each, and which of them can be believed.
//
// SPDX-License-Identifier: BSL-1.0
#include "rounds.h"

#include "probe.h"
#include "ticks.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

namespace shmbus::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double probes_agree_within = 0.15;
constexpr double rounds_agree_within = 0.30;

std::optional<double> value_of(const Sample& sample, Figure figure) {
    if (figure == Figure::rate) return sample.rate_per_s;
    if (figure == Figure::memory) return sample.memory_bytes;
    if (figure == Figure::time_each) {
        if (!sample.rate_per_s || *sample.rate_per_s <= 0) return {};
        return 1e9 / *sample.rate_per_s;
    }
    if (!sample.latency || sample.latency->count() == 0) return std::nullopt;
    if (figure == Figure::longest) return tick_rate().ns(sample.latency->max());
    return tick_rate().ns(sample.latency->quantile(figure == Figure::p50 ? 0.5 : 0.99));
}

bool off_by_more(double one, double other, double share) {
    return std::abs(one - other) > share * std::min(one, other);
}

// Asks all to suit themselves to the cores' distance, at first and when that has changed.
class Tuner {
public:
    // Those from `first_peer` on may fail: their run will say why.
    Tuner(const std::vector<const Contestant*>& contestants, std::size_t first_peer)
        : contestants_(contestants), first_peer_(first_peer) {}

    void at(double probe_ns) {
        if (tuned_at_ns_ > 0 && !off_by_more(probe_ns, tuned_at_ns_, rounds_agree_within)) return;
        for (std::size_t i = 0; i < contestants_.size(); ++i) {
            if (!contestants_[i]->tune) continue;
            try {
                contestants_[i]->tune();
            } catch (const std::exception&) {
                if (i < first_peer_) throw;
            }
        }
        tuned_at_ns_ = probe_ns;
    }

private:
    const std::vector<const Contestant*>& contestants_;
    std::size_t first_peer_;
    double tuned_at_ns_ = 0;
};

// Which contestants the figures of the comparison stand on.
std::size_t essential(const Comparison& comparison) { return comparison.limit ? 2 : 1; }

// Who goes when. Ours and its limit, whose ratio is looked for, one behind the other; each of the
// two first in every other round, and they and each peer first by turns.
class Order {
public:
    Order(std::size_t contestants, std::size_t essential, std::uint64_t seed)
        : essential_(essential), turns_(contestants - essential + 1) {
        std::iota(turns_.begin() + 1, turns_.end(), essential);
        std::mt19937_64 dice(seed);
        if (seed != 0) std::shuffle(turns_.begin(), turns_.end(), dice);
    }
    [[nodiscard]] std::vector<std::size_t> of(std::size_t round) const {
        std::vector<std::size_t> order;
        for (std::size_t i = 0; i < turns_.size(); ++i) {
            const std::size_t next = turns_[(i + round) % turns_.size()];
            if (next != 0) order.push_back(next);
            else if (essential_ == 1) order.push_back(0);
            else order.insert(order.end(), {round % 2, 1 - round % 2});
        }
        return order;
    }

private:
    std::size_t essential_;
    std::vector<std::size_t> turns_;  // peers by their numbers; 0: ours and its limit
};

Sample sample_of(const Contestant& contestant, std::chrono::milliseconds slice, bool is_peer) {
    if (!is_peer) return contestant.run(slice);
    try {
        return contestant.run(slice);
    } catch (const std::exception& error) {
        Sample sample;
        sample.mark = std::string("did not run: ") + error.what();
        return sample;
    }
}

// `probe` is the one before, and then the one after.
Round run_round(const std::vector<const Contestant*>& contestants, std::vector<std::size_t> order,
                const std::vector<bool>& out, std::size_t needed, std::chrono::milliseconds slice,
                double& probe, const std::function<void(const Contestant&)>& watch) {
    Round round;
    round.order = std::move(order);
    round.samples.resize(contestants.size());
    round.distances.resize(contestants.size());
    for (const std::size_t index : round.order) {
        if (out[index]) continue;
        watch(*contestants[index]);
        round.samples[index] = sample_of(*contestants[index], slice, index >= needed);
        const double before = std::exchange(probe, probe_ns());
        round.distances[index] = {(before + probe) / 2,
                                  !off_by_more(before, probe, probes_agree_within)};
    }
    return round;
}

bool is_measured(const Comparison& comparison, const Round& round, std::size_t contestant) {
    return value_of(round.samples[contestant], comparison.figure) &&
           (!comparison.limit || value_of(round.samples[1], comparison.figure));
}

std::vector<const Round*> steady_of(const Comparison& comparison, const std::vector<Round>& rounds,
                                    std::size_t contestant) {
    std::vector<const Round*> steady;
    for (const Round& round : rounds)
        if (is_measured(comparison, round, contestant) &&
            (comparison.figure == Figure::memory || is_steady(comparison, round, contestant)))
            steady.push_back(&round);
    return steady;
}

double usual_probe_ns(const std::vector<const Round*>& rounds, std::size_t contestant) {
    std::vector<double> probes;
    for (const Round* round : rounds) probes.push_back(round->distances[contestant].probe_ns);
    return median_of(probes);
}

// The rounds that were measured where ours mostly was; of memory, which knows no distance, all.
std::vector<const Round*> kept_of(const Comparison& comparison, const std::vector<Round>& rounds,
                                  std::size_t contestant) {
    std::vector<const Round*> kept = steady_of(comparison, rounds, contestant);
    if (kept.empty() || comparison.figure == Figure::memory) return kept;
    const std::vector<const Round*> ours = steady_of(comparison, rounds, 0);
    const double usual =
        ours.empty() ? usual_probe_ns(kept, contestant) : usual_probe_ns(ours, 0);
    std::erase_if(kept, [&](const Round* round) {
        return off_by_more(round->distances[contestant].probe_ns, usual, rounds_agree_within);
    });
    return kept;
}

std::string integrity_of(const std::vector<Round>& rounds, std::size_t contestant) {
    for (const Round& round : rounds)
        if (round.samples[contestant].integrity != "ok") return round.samples[contestant].integrity;
    return "ok";
}

}  // namespace

bool is_steady(const Comparison& comparison, const Round& round, std::size_t contestant) {
    const Distance& mine = round.distances[contestant];
    if (!mine.steady || !comparison.limit) return mine.steady;
    const Distance& limit = round.distances[1];
    return limit.steady && !off_by_more(mine.probe_ns, limit.probe_ns, probes_agree_within);
}

double median_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::optional<Spread> spread_of(const std::vector<double>& values) {
    if (values.empty()) return std::nullopt;
    const auto [min, max] = std::minmax_element(values.begin(), values.end());
    return Spread{*min, median_of(values), *max};
}

Budget share_of(std::chrono::milliseconds total, std::size_t comparisons, bool until_total) {
    using std::chrono::milliseconds;
    const milliseconds share = total / static_cast<long>(std::max<std::size_t>(comparisons, 1));
    // Five rounds of two slices, and about as much again for probes, starts and dropped rounds.
    const milliseconds slice = std::clamp(share / 18, milliseconds(20), milliseconds(250));
    return {slice, share, until_total ? std::size_t{0} : std::size_t{5}};
}

std::vector<const Contestant*> contestants_of(const Comparison& comparison) {
    std::vector<const Contestant*> all{&comparison.ours};
    if (comparison.limit) all.push_back(&*comparison.limit);
    for (const Contestant& peer : comparison.peers) all.push_back(&peer);
    return all;
}

std::vector<Round> run_rounds(const Comparison& comparison, const Budget& budget,
                              const Watch& watch) {
    const Clock::time_point deadline = Clock::now() + budget.total;
    const std::vector<const Contestant*> contestants = contestants_of(comparison);
    std::vector<bool> out(contestants.size());
    const std::size_t needed = essential(comparison);
    const Order order(contestants.size(), needed, budget.seed);
    Tuner tuner(contestants, needed);
    std::vector<Round> rounds;
    double probe = probe_ns();
    do {
        tuner.at(probe);
        const std::size_t number = rounds.size();
        rounds.push_back(run_round(contestants, order.of(number), out, needed, budget.slice, probe,
                                   [&](const Contestant& contestant) {
                                       if (watch) watch(number, contestant);
                                   }));
        for (std::size_t i = 0; i < out.size(); ++i)
            if (integrity_of(rounds, i) != "ok") out[i] = true;
        if (out[0] || out[needed - 1]) break;
        if (budget.wanted_rounds > 0 &&
            kept_of(comparison, rounds, 0).size() >= budget.wanted_rounds)
            break;
    } while (Clock::now() < deadline);
    return rounds;
}

Standing standing_of(const Comparison& comparison, const std::vector<Round>& rounds,
                     std::size_t contestant) {
    Standing standing;
    standing.kept = kept_of(comparison, rounds, contestant);
    standing.integrity = integrity_of(rounds, contestant);
    for (const Round* round : standing.kept) {
        standing.values.push_back(*value_of(round->samples[contestant], comparison.figure));
        if (comparison.limit)
            standing.limits.push_back(*value_of(round->samples[1], comparison.figure));
    }
    if (standing.kept.empty()) return standing;
    standing.placement = placement_of(usual_probe_ns(standing.kept, contestant));
    for (std::size_t i = 0; i < standing.values.size(); ++i) {
        const double limit =
            standing.limits.empty() ? median_of(standing.values) : standing.limits[i];
        if (limit > 0) standing.ratios.push_back(standing.values[i] / limit);
    }
    return standing;
}

}  // namespace shmbus::bench
