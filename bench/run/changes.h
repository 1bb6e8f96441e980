// `shm-bench compare`: what became of shmbus between two runs.
//
// Where both runs have the same limit, the ratios to it are compared: a machine moves its cores,
// and a figure alone would tell of the machine.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "run/results.h"

#include <string>
#include <vector>

namespace shmbus::bench {

struct Change {
    const GroupResult* after;  // of the second run, which must outlive this
    Spread old_figure;
    Spread new_figure;
    bool by_ratio = false;
    double old_ratio = 0;
    double new_ratio = 0;
    double worse_percent = 0;  // negative: better
};

// One for each measurement that both have.
std::vector<Change> changes_between(const Results& before, const Results& after);

// "12.5 % worse".
std::string change_text(const Change& change);

// Prints the changes. Returns the exit status: 0; 1 if one is worse by more than the threshold, or
// void in the second run; 2 if the two have nothing in common. Throws std::runtime_error.
int compare_files(const std::string& before, const std::string& after, double threshold_percent);

}  // namespace shmbus::bench
