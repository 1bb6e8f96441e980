// The folder that a run leaves: results.json, results.csv, a .hgrm per latency series, report.html.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "run/results.h"

#include <string>

namespace shmbus::bench {

// Makes `folder`, or one named after the time. Returns its path; throws std::runtime_error.
std::string make_folder(const std::string& folder, const std::string& began);

// `before` is an earlier result to be shown beside, or null. Throws std::runtime_error.
void write_all(const std::string& folder, const Results& results, const Results* before);

// One line per scenario, system and round.
std::string csv_of(const Results& results);

// The percentile table that HdrHistogram writes and its plotters read; values in nanoseconds.
std::string hgrm_of(const Distribution& distribution);

}  // namespace shmbus::bench
