// What the harness knows of whatever it measures, and what it makes of it.
//
// A scenario describes comparisons; rounds.h runs them; `Report` is one line of the outcome. A bus
// scenario plugs in with one function that forks its processes, runs for a slice and returns a
// Sample; everything else (probes, alternation, dropped rounds, ratios, JSON) is the harness's.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "histogram.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shmbus::bench {

// Outcome of one slice.
struct Sample {
    std::shared_ptr<const Histogram> latency;  // in ticks; null if only a rate was measured
    std::optional<double> rate_per_s;          // absent if it was not measured
    std::string integrity = "ok";              // "ok", or what was wrong
    // Open loop only: from the real send, beside `latency`, which is from the intended one.
    std::shared_ptr<const Histogram> uncorrected{};
    std::string mark{};  // why it is no figure to be ranked: "target not achieved ..."
    std::optional<double> memory_bytes{};
};

struct Contestant {
    std::string name;
    // Runs about as long as it is told to and says what it saw. Throws only if the benchmark
    // itself cannot go on.
    std::function<Sample(std::chrono::milliseconds)> run;
    // Chooses the settings that suit the present distance of the cores; may be empty. A limit must
    // be the best that is to be had here, not what was best elsewhere; and a loop of ours around
    // Endpoint::poll tries what its limit's loop tries.
    std::function<void()> tune{};
    // No bus in it: a limit, also where it stands in the first place.
    bool is_bare = false;
};

// The figure of a sample that two contestants are compared by. time_each: of one message in a
// stream, which is the rate upside down. longest: the one worst wait of the slice. memory: in
// bytes, whatever the cores did meanwhile.
enum class Figure { p50, p99, rate, time_each, longest, memory };

struct Comparison {
    std::string scenario;
    std::string variant;
    std::size_t bytes = 0;
    Figure figure = Figure::p50;
    Contestant ours;
    // Without one the contestant is its own limit, and the ratio shows how steady it is.
    std::optional<Contestant> limit{};
    // Other systems at the same task: `shm-bench run` adds them.
    std::vector<Contestant> peers{};
    // Where it stands on its ladder: messages in flight, subscribers, messages a second.
    std::size_t step = 0;
};

enum class Placement { near, far };

// One end of a stream.
enum class Half { sending, handling };

// Over the rounds that were kept.
struct Spread {
    double min = 0;
    double median = 0;
    double max = 0;
};

// One line of the outcome. A figure that was not measured is absent.
struct Report {
    std::string scenario;
    std::string variant;
    std::size_t bytes = 0;
    std::optional<Placement> placement;
    std::optional<double> p50_ns;
    std::optional<double> p99_ns;
    std::optional<double> p999_ns;
    std::optional<double> max_ns;
    std::optional<double> rate_per_s;
    std::string limit_name;
    std::optional<double> limit_value;
    std::optional<Spread> ratio;
    std::size_t rounds_kept = 0;
    std::size_t rounds_dropped = 0;
    std::string integrity = "ok";
    std::optional<double> uncorrected_p99_ns;  // open loop: from the real send
    std::string mark;                          // why it is no figure to be ranked
    std::optional<double> memory_bytes;
};

enum class Extent { usual, quick, full };

// What a scenario is asked for on the command line.
struct Request {
    std::optional<std::size_t> bytes{};  // only this payload size
    Extent extent = Extent::usual;       // `run` asks for few variants or for all
};

struct Scenario {
    std::string name;
    std::string what;
    std::function<std::vector<Comparison>(const Request&)> comparisons;
};

}  // namespace shmbus::bench
