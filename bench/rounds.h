// Rounds: all contestants by turns, a probe between any two, and what is kept of them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace shmbus::bench {

struct Budget {
    std::chrono::milliseconds slice;  // how long one contestant runs in one round
    std::chrono::milliseconds total;  // no round begins after this
    // Enough rounds; 0 goes on until `total`.
    std::size_t wanted_rounds = 5;
    // Shuffles who goes first; 0 leaves the order as it is written. It rotates in either case.
    std::uint64_t seed = 0;
};

// The budget of one comparison when `comparisons` of them share `total`.
Budget share_of(std::chrono::milliseconds total, std::size_t comparisons, bool until_total);

// The contestants of a comparison in one row: ours, its limit if it has one, the peers.
std::vector<const Contestant*> contestants_of(const Comparison& comparison);

// How far apart the cores were while one contestant ran.
struct Distance {
    double probe_ns = 0;  // of the probes before and after it
    bool steady = false;  // they agree
};

struct Round {
    std::vector<std::size_t> order;
    // By contestant, whatever the order was.
    std::vector<Sample> samples;
    std::vector<Distance> distances;
};

// Told before each slice: round number from 0, contestant.
using Watch = std::function<void(std::size_t round, const Contestant&)>;

// Runs rounds until enough are kept or the time is over. Whoever lost or damaged a message is not
// asked again; without ours or its limit it ends. A peer that throws gets a mark.
std::vector<Round> run_rounds(const Comparison& comparison, const Budget& budget,
                              const Watch& watch = {});

// Whether contestant and limit were measured at one distance: the probes around the one, those
// around the other, and the two distances each differ by no more than 15 %.
bool is_steady(const Comparison& comparison, const Round& round, std::size_t contestant);

// What the rounds say of one contestant. A round is dropped when it is not steady, when its probe
// is more than 30 % off the median of those of ours (the cores were moved), or when the contestant
// or its limit could not be measured in it.
struct Standing {
    std::vector<const Round*> kept;
    std::vector<double> values;  // of the figure, one a round kept
    std::vector<double> limits;  // of the limit in the same rounds; empty without one
    std::vector<double> ratios;  // over the limit, or over the own median
    std::optional<Placement> placement;
    std::string integrity = "ok";  // of all rounds: a lost message is wrong at any distance
};

Standing standing_of(const Comparison& comparison, const std::vector<Round>& rounds,
                     std::size_t contestant);

double median_of(std::vector<double> values);
// Absent without values.
std::optional<Spread> spread_of(const std::vector<double>& values);

// Runs one comparison and says how ours stands beside its limit.
Report compare(const Comparison& comparison, const Budget& budget);

}  // namespace shmbus::bench
