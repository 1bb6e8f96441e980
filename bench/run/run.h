// `shm-bench run`: many scenarios, every system in each, one folder of results.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <vector>

namespace shmbus::bench {

struct RunOptions {
    bool quick = false;
    std::string folder{};   // empty: shm-bench-TIME in the working directory
    std::string against{};  // an earlier results.json, to be shown beside
    double seconds = 0;     // for the whole run; 0: about three minutes, or twenty-five
    std::vector<std::string> scenarios{};  // empty: those of the quick or the full run
    std::string command{};                 // as it was typed, for the report
};

// Returns the exit status: 0, or 1 if a message was lost, damaged or disordered. Throws if the
// machine cannot be measured, or there is no such scenario.
int run_all(const RunOptions& options);

}  // namespace shmbus::bench
