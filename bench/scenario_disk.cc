// The scenarios of the disk: durable messages beside a raw append loop.
//
// SPDX-License-Identifier: BSL-1.0
#include "append_ways.h"
#include "bus_contestants.h"
#include "disk_limits.h"
#include "scenarios.h"

namespace shmbus::bench {
namespace {

std::vector<Comparison> durable(const Request& request) {
    const auto asked_for = [&](std::size_t bytes) {
        return !request.bytes || *request.bytes == bytes;
    };
    std::vector<Comparison> all;
    if (asked_for(256)) {
        all.push_back({"durable", "inflight-1", 256, Figure::p50, bus_durable(256, 1),
                       append_and_sync(256, 1), {}, 1});
        all.push_back({"durable", "inflight-64", 256, Figure::rate, bus_durable(256, 64),
                       pipelined_commit(256, 64), {}, 64});
        all.push_back({"durable", "inflight-1024", 256, Figure::rate, bus_durable(256, 1024),
                       pipelined_commit(256, 1024), {}, 1024});
        if (request.extent != Extent::quick)
            all.push_back({"durable", "growing file", 256, Figure::p50, append_and_grow(256),
                           append_and_sync(256, 1)});
    }
    if (asked_for(65536) && request.extent != Extent::quick)
        all.push_back({"durable", "bulk", 65536, Figure::rate, bus_durable(65536, 128),
                       append_and_sync(65536, 64)});
    return all;
}

// Not for `run`: gigabytes and minutes, for a figure that no other system has beside it.
std::vector<Comparison> backlog_memory(const Request& request) {
    if (request.extent != Extent::usual || request.bytes.value_or(256) != 256) return {};
    constexpr std::uint64_t allowed_bytes = std::uint64_t{16} << 20;
    return {{"backlog-memory", "10 M beside 100 k", 256, Figure::memory,
             bus_daemon_memory(10'000'000, 0), bus_daemon_memory(100'000, allowed_bytes)}};
}

std::vector<Comparison> beside_journal(const Request& request) {
    if (request.bytes.value_or(32) != 32) return {};
    return {{"beside-journal", "command and answer", 32, Figure::p50, bus_beside_journal(true),
             bus_beside_journal(false)}};
}

// Not for `run`: they are ways, not systems.
std::vector<Comparison> append(const Request& request) {
    std::vector<Comparison> all;
    if (request.extent != Extent::usual) return all;
    for (const std::size_t bytes : {std::size_t{4096}, std::size_t{4} << 20}) {
        if (request.bytes.value_or(bytes) != bytes) continue;
        for (const AppendWay way : append_ways) {
            Contestant ours = append_by(way, bytes);
            ours.is_bare = true;
            all.push_back({"append", ours.name, bytes, bytes == 4096 ? Figure::p50 : Figure::rate,
                           ours, append_by(AppendWay::cached, bytes)});
        }
    }
    return all;
}

std::vector<Comparison> recovery(const Request& request) {
    return recovery_comparisons(request.bytes.value_or(std::size_t{1} << 30));
}

}  // namespace

std::vector<Scenario> disk_scenarios() {
    return {{"durable", "durable commands and their receipts, beside a raw append and sync",
             durable},
            {"beside-journal", "a round trip while a third process saturates the journal",
             beside_journal},
            {"append", "ways to write 4 KiB, or 4 MiB, and have it on disk", append},
            {"backlog-memory",
             "the daemon's memory with 10 M durable messages waiting, beside 100 k and 16 MiB",
             backlog_memory},
            {"recovery", "a start on a journal of 1 GiB (--bytes), beside reading it", recovery}};
}

}  // namespace shmbus::bench
