// The scenarios of the bus: which contestant stands beside which limit.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"
#include "limit_contestants.h"
#include "probe.h"
#include "scenarios.h"

namespace shmbus::bench {
namespace {

bool asked_for(const Request& request, std::size_t bytes, std::size_t by_default = 0) {
    if (request.bytes) return *request.bytes == bytes;
    return by_default == 0 || by_default == bytes;
}

std::vector<Comparison> pingpong(const Request& request) {
    std::vector<Comparison> all;
    if (asked_for(request, 32, 32)) {
        all.push_back({"pingpong", "command and answer", 32, Figure::p50, bus_round_trip(32),
                       raw_round_trip()});
    }
    if (asked_for(request, 1024, request.extent == Extent::full ? 0 : 32)) {
        all.push_back({"pingpong", "command and answer", 1024, Figure::p50, bus_round_trip(1024),
                       bare_round_trip(1024)});
    }
    return all;
}

std::vector<std::size_t> sizes_of(const Request& request) {
    if (request.bytes) return {*request.bytes};
    if (request.extent == Extent::full)
        return {32, 256, 1024, 4096, 16384, 65536, 262144, 1048576};
    return {32, 1024, 65536};
}

std::vector<Comparison> oneway(const Request& request) {
    std::vector<Comparison> all;
    for (const std::size_t bytes : sizes_of(request))
        all.push_back({"oneway", "single", bytes, Figure::rate, bus_stream(bytes),
                       bare_stream(bytes, bytes > 65536 ? 8 * bytes : mebibyte)});
    if (asked_for(request, 32)) {
        all.push_back({"oneway", "packed", 32, Figure::rate, bus_packed_stream(),
                       bare_stream(32, mebibyte)});
    }
    return all;
}

std::vector<Comparison> manytoone(const Request& request) {
    if (!asked_for(request, 32)) return {};
    return {{"manytoone", "three senders", 32, Figure::rate, bus_three_to_one(),
             bare_three_to_one(32)}};
}

std::vector<Comparison> fanout(const Request& request) {
    std::vector<Comparison> all;
    if (!asked_for(request, 32)) return all;
    for (const std::size_t count : {1U, 2U, 4U, 8U, 16U, 32U, 64U})
        all.push_back({"fanout",
                       count == 1   ? "one subscriber"
                       : count == 2 ? "two subscribers"
                                    : std::to_string(count) + " subscribers",
                       32, Figure::rate, bus_fanout(count), bus_stream(32), {}, count});
    return all;
}

std::vector<Comparison> wakeup(const Request& request) {
    if (!asked_for(request, 32)) return {};
    return {{"wakeup", "sleeping handler", 32, Figure::p50, bus_wakeup(), futex_wake()}};
}

std::vector<Comparison> redelivery(const Request& request) {
    if (!asked_for(request, 32)) return {};
    return {{"redelivery", "killed in its handler", 32, Figure::p99, bus_redelivery(),
             death_notice()}};
}

std::vector<Comparison> idlelanes(const Request& request) {
    if (!asked_for(request, 32)) return {};
    return {{"idlelanes", "1000 idle lanes", 32, Figure::p50, bus_round_trip(32, 1000),
             bus_round_trip(32)}};
}

std::vector<Comparison> metrics_cost(const Request& request) {
    if (!asked_for(request, 32)) return {};
    return {{"metrics-cost", "stream", 32, Figure::time_each, bus_stream(32),
             without_metrics(bus_stream(32))},
            {"metrics-cost", "command and answer", 32, Figure::p50, bus_round_trip(32),
             without_metrics(bus_round_trip(32))}};
}

// What the bars of pingpong and oneway leave for work, on this machine.
std::vector<Comparison> headroom(const Request& request) {
    if (!asked_for(request, 32)) return {};
    std::vector<Comparison> all;
    for (const unsigned lines : {2U, 8U, 64U}) {
        Contestant raw = raw_round_trip(lines);
        raw.is_bare = true;
        all.push_back({"headroom", std::to_string(lines) + " lines each way in turn", 32,
                       Figure::p50, std::move(raw), raw_round_trip()});
    }
    for (const int work : {0, 15, 30, 60}) {
        Contestant rings = bare_round_trip(32, std::chrono::nanoseconds(work));
        rings.is_bare = true;
        all.push_back({"headroom", "rings, " + std::to_string(work) + " ns of work", 32,
                       Figure::p50, std::move(rings), raw_round_trip()});
    }
    for (const unsigned lines : {1U, 2U, 4U}) {
        Contestant ring = bare_stream_beside(lines);
        ring.is_bare = true;
        all.push_back({"headroom", "ring, " + std::to_string(lines) + " other lines stored", 32,
                       Figure::rate, std::move(ring), bare_stream(32, mebibyte)});
    }
    all.push_back({"headroom", "sending, one core", 32, Figure::time_each,
                   bus_on_one_core(Half::sending), bare_on_one_core(Half::sending)});
    all.push_back({"headroom", "handling, one core", 32, Figure::time_each,
                   bus_on_one_core(Half::handling), bare_on_one_core(Half::handling)});
    return all;
}

}  // namespace

std::vector<Scenario> bus_scenarios() {
    return {
        {"pingpong", "a command and its answer, beside the raw cache-line round trip", pingpong},
        {"oneway", "a stream of commands, beside a bare ring; singly and packed", oneway},
        {"headroom", "what a round trip and a stream leave for work", headroom},
        {"manytoone", "three senders to one handler, beside three bare rings", manytoone},
        {"fanout", "events to 1 to 64 subscribers, beside our own stream to one handler", fanout},
        {"wakeup", "a command to a sleeping handler, beside a bare futex wake", wakeup},
        {"redelivery", "SIGKILL to the handler's start elsewhere, beside a pidfd", redelivery},
        {"metrics-cost", "time per message with metrics, beside the same without", metrics_cost},
        {"idlelanes", "a round trip among 1,000 idle lanes, beside one without", idlelanes},
    };
}

}  // namespace shmbus::bench
