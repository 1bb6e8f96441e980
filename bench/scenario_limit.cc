// Scenario `limit`: what this machine charges at least, without any bus.
//
// SPDX-License-Identifier: BSL-1.0
#include "limit_contestants.h"
#include "probe.h"
#include "scenarios.h"

namespace shmbus::bench {
namespace {

Comparison alone(std::string variant, std::size_t bytes, Figure figure, Contestant contestant) {
    contestant.is_bare = true;
    return {"limit", std::move(variant), bytes, figure, std::move(contestant), std::nullopt};
}

std::vector<Comparison> comparisons(const Request& request) {
    std::vector<Comparison> all;
    all.push_back(alone("cache-line round trip", 0, Figure::p50, raw_round_trip()));
    all.push_back(alone("ring round trip", 32, Figure::p50, bare_round_trip(32)));
    all.push_back(alone("ring round trip", 1024, Figure::p50, bare_round_trip(1024)));
    all.push_back(alone("ring 1 MiB", 32, Figure::rate, bare_stream(32, mebibyte)));
    all.push_back(alone("ring 1 MiB", 1024, Figure::rate, bare_stream(1024, mebibyte)));
    all.push_back(alone("ring 1 MiB", 65536, Figure::rate, bare_stream(65536, mebibyte)));
    all.push_back(alone("ring 4 MiB", 65536, Figure::rate, bare_stream(65536, 4 * mebibyte)));
    all.push_back(alone("three rings to one", 32, Figure::rate, bare_three_to_one(32)));
    all.push_back(alone("futex wake one way", 0, Figure::p50, futex_wake()));
    all.push_back(alone("futex round trip", 0, Figure::p50, futex_round_trip()));
    all.push_back(alone("memcpy in cache", 65536, Figure::rate, copy_in_cache()));
    all.push_back(alone("pauses over 1 ms", 0, Figure::rate, machine_pauses()));
    if (request.bytes) {
        std::erase_if(all, [&](const Comparison& one) { return one.bytes != *request.bytes; });
    }
    return all;
}

}  // namespace

Scenario limit_scenario() {
    return {"limit", "what this machine charges at least, without any bus", comparisons};
}

}  // namespace shmbus::bench
