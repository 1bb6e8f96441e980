// `shm-bench peers`: the list, or every scenario of one peer.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/show.h"

#include "peer.h"
#include "ticks.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace shmbus::bench {
namespace {

using Json = nlohmann::ordered_json;

std::string promises(const Guarantees& guarantees) {
    std::string text;
    const auto add = [&](bool holds, const char* word) {
        if (!holds) return;
        if (!text.empty()) text += ", ";
        text += word;
    };
    add(guarantees.kill_safe, "kill-safe");
    add(guarantees.redelivery, "redelivery");
    add(guarantees.durable, "durable");
    add(guarantees.competing_consumers, "competing consumers");
    add(guarantees.zero_copy, "zero copy");
    return text.empty() ? "order" : text;
}

Json as_json(const Peer& peer) {
    const Guarantees& guarantees = peer.guarantees;
    Json line;
    line["peer"] = peer.name;
    line["package"] = peer.package;
    line["version"] = peer.version;
    line["configuration"] = peer.configuration;
    line["guarantees"] = {{"kill_safe", guarantees.kill_safe},
                          {"redelivery", guarantees.redelivery},
                          {"durable", guarantees.durable},
                          {"competing_consumers", guarantees.competing_consumers},
                          {"zero_copy", guarantees.zero_copy}};
    line["ranked_durable"] = peer.ranked_durable;
    line["absent"] = peer.absent ? Json(*peer.absent) : Json(nullptr);
    return line;
}

std::string as_text(const Peer& peer) {
    const bool coloured = ::isatty(STDOUT_FILENO) != 0;
    if (peer.absent) {
        const std::string text = fmt::format("{:<22}{}", peer.name, *peer.absent);
        return coloured ? "\033[90m" + text + "\033[0m" : text;
    }
    const char* const marked =
        peer.ranked_durable ? "" : " (acknowledges before its sync: not ranked as durable)";
    return fmt::format("{:<22}{}\n{:<22}promises {}{}\n{:<22}{}", peer.name, peer.version, "",
                       promises(peer.guarantees), marked, "", peer.configuration);
}

struct Trial {
    std::string scenario;
    std::string variant;
    Contestant contestant;
};

std::vector<Trial> trials_of(const Peer& peer) {
    std::vector<Trial> all;
    if (peer.pingpong) all.push_back({"pingpong", "32 B", peer.pingpong(32)});
    for (const std::size_t bytes : {std::size_t{32}, std::size_t{65536}})
        if (peer.oneway)
            all.push_back({"oneway", std::to_string(bytes) + " B", peer.oneway(bytes)});
    if (peer.packed) all.push_back({"oneway", "32 B by 64", peer.packed(32)});
    if (peer.wakeup) all.push_back({"wakeup", "sleeping", peer.wakeup()});
    for (const std::size_t subscribers : {std::size_t{2}, std::size_t{4}})
        if (peer.fanout)
            all.push_back({"fanout", "to " + std::to_string(subscribers),
                           peer.fanout(subscribers)});
    for (const std::size_t in_flight : {std::size_t{1}, std::size_t{64}, std::size_t{1024}})
        if (peer.durable)
            all.push_back({"durable", std::to_string(in_flight) + " in flight",
                           peer.durable(in_flight)});
    return all;
}

std::optional<double> quantile_us(const Sample& sample, double share) {
    if (!sample.latency || sample.latency->count() == 0) return std::nullopt;
    return tick_rate().ns(sample.latency->quantile(share)) / 1e3;
}

std::string figure(const std::optional<double>& value, int decimals) {
    return value ? fmt::format("{:.{}f}", *value, decimals) : "-";
}

// False if a message was lost, damaged or out of order, or it did not run.
bool show_trial(const Peer& peer, const Trial& trial, const PeersRequest& request) {
    const double seconds = request.seconds > 0 ? request.seconds : 1;
    if (trial.contestant.tune) trial.contestant.tune();
    const Sample sample =
        trial.contestant.run(std::chrono::milliseconds(static_cast<long>(seconds * 1000)));
    const std::string outcome = sample.mark.empty() ? sample.integrity : sample.mark;
    const std::optional<double> p50 = quantile_us(sample, 0.5);
    const std::optional<double> p99 = quantile_us(sample, 0.99);
    if (request.json) {
        const auto number = [](const std::optional<double>& value) {
            return value ? Json(*value) : Json(nullptr);
        };
        const Json line = {{"peer", peer.name},         {"scenario", trial.scenario},
                           {"variant", trial.variant},  {"p50_us", number(p50)},
                           {"p99_us", number(p99)},     {"rate_per_s", number(sample.rate_per_s)},
                           {"integrity", outcome}};
        std::printf("%s\n", line.dump().c_str());
    } else {
        std::printf("%s\n", fmt::format("{:<10}{:<16}{:>12}{:>12}{:>14}  {}", trial.scenario,
                                        trial.variant, figure(p50, 2), figure(p99, 2),
                                        figure(sample.rate_per_s, 0), outcome)
                                .c_str());
    }
    std::fflush(stdout);
    return outcome == "ok";
}

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char letter) {
        return static_cast<char>(std::tolower(letter));
    });
    return text;
}

// The peer itself on a line, then its scenarios.
bool try_alone(const Peer& peer, const PeersRequest& request) {
    std::printf("%s\n", request.json ? as_json(peer).dump().c_str() : as_text(peer).c_str());
    std::fflush(stdout);
    if (peer.absent) return false;
    if (!request.json)
        std::printf("%-26s%12s%12s%14s  %s\n", "", "p50 us", "p99 us", "per second", "integrity");
    bool well = true;
    for (const Trial& trial : trials_of(peer)) well = show_trial(peer, trial, request) && well;
    return well;
}

}  // namespace

int show_peers(const PeersRequest& request) {
    tick_rate();  // measured here once, before the children inherit it
    bool known = request.name.empty();
    bool well = true;
    for (const Peer& peer : all_peers()) {
        if (request.name.empty()) {
            std::printf("%s\n",
                        request.json ? as_json(peer).dump().c_str() : as_text(peer).c_str());
        } else if (lower(peer.name).find(lower(request.name)) != std::string::npos) {
            known = true;
            well = try_alone(peer, request) && well;
        }
    }
    if (!known) std::fprintf(stderr, "shm-bench: no peer \"%s\"; see shm-bench peers\n",
                             request.name.c_str());
    return !known ? 2 : well ? 0 : 1;
}

}  // namespace shmbus::bench
