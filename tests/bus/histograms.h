// Looking at the histograms of an inbox, and making some.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/bus.h>

#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>

#include <sys/stat.h>

#include "base/file.h"
#include "lane/onlooker.h"

namespace bus_tests {

using Histogram = shmbus::lane::Metrics::Histogram;
using Times = shmbus::lane::Metrics::Times;

inline std::uint64_t samples(const Histogram& histogram) {
    return std::accumulate(histogram.begin(), histogram.end(), std::uint64_t{0});
}
inline const Histogram& of(const Times& times, shmbus::lane::Timed which) {
    return times[static_cast<std::size_t>(which)];
}
inline void add(Times& to, const Times& more) {
    for (std::size_t which = 0; which < to.size(); ++which)
        for (std::size_t i = 0; i < to[which].size(); ++i) to[which][i] += more[which][i];
}
inline std::size_t median_bucket(const Histogram& histogram) {
    const std::uint64_t half = (samples(histogram) + 1) / 2;
    std::size_t bucket = 0;
    for (std::uint64_t passed = histogram[0]; passed < half; passed += histogram[bucket]) ++bucket;
    return bucket;
}

// What it takes of its file system.
inline std::uint64_t memory_of(const shmbus::base::File& file) {
    struct stat found {};
    REQUIRE(::fstat(file.fd(), &found) == 0);
    return static_cast<std::uint64_t>(found.st_blocks) * 512;
}

inline shmbus::BusOptions telling_time() {
    shmbus::BusOptions options;
    options.time_sent_every = 1;
    return options;
}

}  // namespace bus_tests
