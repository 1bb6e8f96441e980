// What one run has found: how it becomes JSON and comes back, and simple questions to it.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/results.h"

#include "ticks.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace nlohmann {

// Absent is null.
template <typename T>
struct adl_serializer<std::optional<T>> {
    static void to_json(json& out, const std::optional<T>& value) {
        out = value ? json(*value) : json(nullptr);
    }
    static void from_json(const json& in, std::optional<T>& value) {
        value = in.is_null() ? std::optional<T>() : std::optional<T>(in.get<T>());
    }
};

}  // namespace nlohmann

namespace shmbus::bench {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Distribution, buckets, max_ns)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Spread, min, median, max)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Row, system, role, name, figure, ratio, rounds, rate_per_s,
                                   rounds_kept, integrity, mark, latency, uncorrected)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RoundNote, probe_ns, placement, steady, order)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GroupResult, scenario, variant, bytes, step, figure, placement,
                                   rounds, rows)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Guarantees, kill_safe, redelivery, durable, competing_consumers,
                                   zero_copy)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(System, name, role, package, version, configuration, guarantees,
                                   ranked_durable, absent)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Hiccups, when, over_1ms_per_s, gaps)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Environment, cpu, cores, kernel, compiler, flags, commit,
                                   clock_cost_ns)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Results, schema, version, command, began, seconds, seed,
                                   wanted_rounds, environment, systems, hiccups, groups)

std::uint64_t Distribution::count() const noexcept {
    std::uint64_t total = 0;
    for (const auto& [value, count] : buckets) total += count;
    return total;
}

double Distribution::quantile(double share) const {
    return quantile_of(buckets, share).value_or(0);
}

Distribution distribution_of(const Histogram& ticks) {
    Distribution distribution;
    ticks.each([&](std::uint64_t value, std::uint64_t count) {
        // A tenth of a nanosecond is less than any clock knows.
        distribution.buckets.emplace_back(std::round(tick_rate().ns(value) * 10) / 10, count);
    });
    distribution.max_ns = tick_rate().ns(ticks.max());
    return distribution;
}

const Row* limit_of(const GroupResult& group) {
    const bool has_one = group.rows.size() > 1 && group.rows[1].role == "limit";
    return has_one ? &group.rows[1] : nullptr;
}

double lead(const GroupResult& group, double first, double second) {
    return is_rate(group) ? first / second : second / first;
}

const Row* best_peer_of(const GroupResult& group) {
    const Row* best = nullptr;
    for (const Row& row : group.rows) {
        if (row.role != "peer" || !row.figure || !row.mark.empty()) continue;
        if (!best || lead(group, row.figure->median, best->figure->median) > 1) best = &row;
    }
    return best;
}

std::vector<std::string> violations_of(const Results& results) {
    std::vector<std::string> found;
    for (const GroupResult& group : results.groups)
        for (const Row& row : group.rows)
            if (row.integrity != "ok")
                found.push_back(group.scenario + ", " + group.variant + ", " + row.system + ": " +
                                row.integrity);
    return found;
}

std::string to_text(const Results& results) { return nlohmann::json(results).dump() + "\n"; }

Results read_results(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot read " + path + "; it is made by shm-bench run");
    try {
        const nlohmann::json json = nlohmann::json::parse(file);
        if (json.at("schema") != results_schema || json.at("version") != results_version)
            throw std::runtime_error("it is not of " + std::string(results_schema) + " " +
                                     std::to_string(results_version));
        return json.get<Results>();
    } catch (const std::exception& error) {
        throw std::runtime_error(path + " is no result of shm-bench run: " + error.what());
    }
}

}  // namespace shmbus::bench
