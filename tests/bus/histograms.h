// Looking at the histograms of an inbox, and making some.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/testing.h>

#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "bus/inside.h"
#include "bus/messages.h"
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

// Six orders, of which a consumer handles five and dies in the last.
inline void die_in_the_sixth(shmbus::testing::TemporaryBus& temporary) {
    temporary.bus().declare_endpoint<Order>("orders");
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        shmbus::Bus mine = shmbus::Bus::open(temporary.directory());
        shmbus::Endpoint endpoint = mine.endpoint("orders");
        endpoint.on<Order>([](const Order& order) {
            if (order.number == 6) ::raise(SIGKILL);
        });
        for (;;) endpoint.poll();
    }
    for (std::uint64_t number = 1; number <= 6; ++number)
        REQUIRE(temporary.bus().send(Order{number, {}}));
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
}
// Who has its place next handles that one.
inline void inherit_the_sixth(shmbus::testing::TemporaryBus& temporary) {
    shmbus::Endpoint heir = temporary.bus().endpoint("orders");
    int handled = 0;
    heir.on<Order>([&](const Order&) { ++handled; });
    CHECK(comes([&] { return heir.poll(), handled == 1; }));
}

}  // namespace bus_tests
