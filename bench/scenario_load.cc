// The scenarios of load: at a rate, shared, piled up, held up, for long.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"
#include "limit_contestants.h"
#include "probe.h"
#include "scenarios.h"

#include <utility>

namespace shmbus::bench {
namespace {

bool is_32(const Request& request) { return request.bytes.value_or(32) == 32; }

std::string rate_name(std::size_t per_second) {
    return per_second < 1'000'000 ? std::to_string(per_second / 1000) + " k a second"
                                  : std::to_string(per_second / 1'000'000) + " M a second";
}

std::vector<Comparison> rate(const Request& request) {
    std::vector<Comparison> all;
    if (!is_32(request)) return all;
    for (const std::size_t per_second :
         {10'000U, 100'000U, 1'000'000U, 3'000'000U, 10'000'000U, 20'000'000U})
        all.push_back({"rate", rate_name(per_second), 32, Figure::p99,
                       bus_at_rate(per_second), bare_at_rate(per_second), {}, per_second});
    return all;
}

std::vector<Comparison> consumers(const Request& request) {
    std::vector<Comparison> all;
    if (!is_32(request)) return all;
    for (const auto& [senders, receivers] : {std::pair{1U, 2U}, {2U, 2U}, {4U, 4U}})
        all.push_back({"consumers",
                       std::to_string(senders) + " x " + std::to_string(receivers), 32,
                       Figure::rate, bus_consumers(senders, receivers), bus_stream(32)});
    return all;
}

std::vector<Comparison> request_reply(const Request& request) {
    if (!is_32(request)) return {};
    return {{"request", "request and reply", 32, Figure::p50, bus_request(), raw_round_trip()}};
}

std::vector<Comparison> backlog(const Request& request) {
    if (!is_32(request)) return {};
    return {{"backlog", "build", 32, Figure::rate, bus_backlog(Backlog::build)},
            {"backlog", "drain", 32, Figure::rate, bus_backlog(Backlog::drain)}};
}

std::vector<Comparison> slow(const Request& request) {
    if (!is_32(request)) return {};
    return {{"slow", "three fast subscribers", 32, Figure::p99, bus_beside_slow(true),
             bus_beside_slow(false)}};
}

std::vector<Comparison> restart(const Request& request) {
    std::vector<Comparison> all;
    if (is_32(request))
        all.push_back({"restart", "transient", 32, Figure::longest, bus_restart(false)});
    if (request.bytes.value_or(256) == 256)
        all.push_back({"restart", "durable", 256, Figure::longest, bus_restart(true)});
    return all;
}

std::vector<Comparison> soak(const Request& request) {
    if (!is_32(request)) return {};
    return {{"soak", "200 k a second", 32, Figure::p99, bus_soak()}};
}

}  // namespace

std::vector<Scenario> load_scenarios() {
    return {
        {"rate", "latency at fixed rates, from when each was due; beside a bare ring", rate},
        {"consumers", "N senders, M competing consumers; beside our own stream", consumers},
        {"request", "a request and its reply, beside the raw cache-line round trip", request_reply},
        {"backlog", "a lane filled while nobody reads, then emptied", backlog},
        {"slow", "three fast subscribers beside a slow one, and without it", slow},
        {"restart", "the daemon killed and started again under load: the longest gap", restart},
        {"soak", "200,000 commands a second for long; memory may not grow", soak},
    };
}

}  // namespace shmbus::bench
