// What one run has found, as it lies in results.json: everything that is shown is made from this.
//
// Any change of a name here is a change of the format: its version, and results.schema.json.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"
#include "peer.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace shmbus::bench {

inline constexpr const char* results_schema = "shmbus.bench-results";
inline constexpr int results_version = 1;

// A histogram in nanoseconds: the middle of each slot that holds something, and how much.
struct Distribution {
    std::vector<std::pair<double, std::uint64_t>> buckets{};
    double max_ns = 0;

    std::uint64_t count() const noexcept;
    // 0 if there is nothing.
    double quantile(double share) const;
};

Distribution distribution_of(const Histogram& ticks);

// A contestant in a comparison.
struct Row {
    std::string system{};  // "shmbus", the name of a limit, the name of a peer
    std::string role{};    // "ours", "limit", "peer"
    std::string name{};    // what it does here
    std::optional<Spread> figure{};  // ns, or a rate; absent if it was not measured or is void
    std::optional<Spread> ratio{};   // over the limit in the same rounds
    std::vector<std::optional<double>> rounds{};  // the figure by round; null: dropped
    std::optional<double> rate_per_s{};           // median, where a rate was measured as well
    std::size_t rounds_kept = 0;
    std::string integrity = "ok";
    std::string mark{};  // why it is not to be ranked, or why there is no figure
    Distribution latency{};
    Distribution uncorrected{};  // open loop only
};

// What lay around one round.
struct RoundNote {
    double probe_ns = 0;
    std::string placement{};  // "near", "far"
    bool steady = false;
    std::vector<std::string> order{};  // systems, as they were asked
};

struct GroupResult {
    std::string scenario{};
    std::string variant{};
    std::size_t bytes = 0;
    std::size_t step = 0;
    std::string figure{};     // "p50", "p99", "rate", "time_each", "longest"
    std::string placement{};  // of most rounds that were kept; empty if there are none
    std::vector<RoundNote> rounds{};
    std::vector<Row> rows{};  // ours, the limit if there is one, peers
};

struct System {
    std::string name{};
    std::string role{};
    std::string package{};
    std::string version{};
    std::string configuration{};
    Guarantees guarantees{};
    bool ranked_durable = true;
    std::optional<std::string> absent{};
};

// Gaps that a thread saw which only looks at the clock, while nothing was measured.
struct Hiccups {
    std::string when{};  // "before", "during", "after"
    double over_1ms_per_s = 0;
    Distribution gaps{};
};

struct Environment {
    std::string cpu{};
    std::size_t cores = 0;
    std::string kernel{};
    std::string compiler{};
    std::string flags{};
    std::string commit{};
    double clock_cost_ns = 0;
};

struct Results {
    std::string schema = results_schema;
    int version = results_version;
    std::string command{};
    std::string began{};  // UTC
    double seconds = 0;
    std::uint64_t seed = 0;
    std::size_t wanted_rounds = 0;
    Environment environment{};
    std::vector<System> systems{};
    std::vector<Hiccups> hiccups{};
    std::vector<GroupResult> groups{};
};

// More is better only of rates.
inline bool is_rate(const GroupResult& group) { return group.figure == "rate"; }
// Ours stands first; where a limit is looked at alone it is that limit.
inline const Row& front_of(const GroupResult& group) { return group.rows.front(); }
inline bool is_ours(const GroupResult& group) { return front_of(group).role == "ours"; }
// What the front row is compared with; null if with itself.
const Row* limit_of(const GroupResult& group);
// The best peer of those whose figure may be ranked; null if there is none.
const Row* best_peer_of(const GroupResult& group);
// How many times better the first is than the second, whichever way the figure goes.
double lead(const GroupResult& group, double first, double second);
// Every message that was lost, damaged or disordered, one sentence each.
std::vector<std::string> violations_of(const Results& results);

std::string to_text(const Results& results);
// Throws std::runtime_error: not readable, not of this schema and version.
Results read_results(const std::string& path);

}  // namespace shmbus::bench
