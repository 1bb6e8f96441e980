// How outcomes are shown: JSON lines and a table.
//
// SPDX-License-Identifier: BSL-1.0
#include "report.h"

#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace shmbus::bench {
namespace {

using Json = nlohmann::ordered_json;

std::string placement_name(const Report& report) {
    if (!report.placement) return "";
    return *report.placement == Placement::near ? "near" : "far";
}

// Three decimals say all that a measurement knows.
Json number(const std::optional<double>& value) {
    return value ? Json(std::round(*value * 1000) / 1000) : Json(nullptr);
}

std::string short_rate(double per_s) {
    if (per_s >= 1e6) return fmt::format("{:.1f} M/s", per_s / 1e6);
    if (per_s >= 1e3) return fmt::format("{:.1f} k/s", per_s / 1e3);
    return fmt::format("{:.1f} /s", per_s);
}

std::string short_bytes(double bytes) { return fmt::format("{:.1f} MiB", bytes / (1 << 20)); }

std::string short_time(double ns) {
    if (ns >= 1e6) return fmt::format("{:.2f} ms", ns / 1e6);
    if (ns >= 1e4) return fmt::format("{:.1f} us", ns / 1e3);
    return fmt::format("{:.0f} ns", ns);
}

template <typename Show>
std::string shown(const std::optional<double>& value, Show show) {
    return value ? show(*value) : "-";
}

}  // namespace

std::string json_line(const Report& report) {
    Json line;
    line["scenario"] = report.scenario;
    line["variant"] = report.variant;
    line["bytes"] = report.bytes;
    line["placement"] = report.placement ? Json(placement_name(report)) : Json(nullptr);
    line["p50_ns"] = number(report.p50_ns);
    line["p99_ns"] = number(report.p99_ns);
    line["p999_ns"] = number(report.p999_ns);
    line["max_ns"] = number(report.max_ns);
    line["rate_per_s"] = number(report.rate_per_s);
    line["limit_name"] = report.limit_name;
    line["limit_value"] = number(report.limit_value);
    if (report.ratio) {
        line["ratio"] = {{"min", number(report.ratio->min)},
                         {"median", number(report.ratio->median)},
                         {"max", number(report.ratio->max)}};
    } else {
        line["ratio"] = nullptr;
    }
    line["rounds_kept"] = report.rounds_kept;
    line["rounds_dropped"] = report.rounds_dropped;
    line["integrity"] = report.integrity;
    line["uncorrected_p99_ns"] = number(report.uncorrected_p99_ns);
    line["mark"] = report.mark;
    line["memory_bytes"] = number(report.memory_bytes);
    return line.dump();
}

std::string table_head() {
    return fmt::format("{:<34}{:>6} {:>5}{:>10}{:>10}{:>10}{:>10}{:>12}{:>12}  {:<22}{:>8}  {}",
                       "scenario, variant", "bytes", "cores", "p50", "p99", "p99.9", "max", "rate",
                       "limit", "ratio min/median/max", "rounds", "integrity");
}

std::string table_row(const Report& report) {
    const std::string ratio =
        report.ratio ? fmt::format("{:.3f} / {:.3f} / {:.3f}", report.ratio->min,
                                   report.ratio->median, report.ratio->max)
                     : "-";
    const auto show_limit = report.memory_bytes ? short_bytes
                            : report.rate_per_s ? short_rate
                                                : short_time;
    // A line has the one or the other.
    const std::string figure = report.memory_bytes ? short_bytes(*report.memory_bytes)
                                                   : shown(report.rate_per_s, short_rate);
    return fmt::format("{:<34}{:>6} {:>5}{:>10}{:>10}{:>10}{:>10}{:>12}{:>12}  {:<22}{:>8}  {}",
                       report.scenario + ", " + report.variant, report.bytes,
                       placement_name(report), shown(report.p50_ns, short_time),
                       shown(report.p99_ns, short_time), shown(report.p999_ns, short_time),
                       shown(report.max_ns, short_time), figure,
                       shown(report.limit_value, show_limit), ratio,
                       fmt::format("{}-{}", report.rounds_kept, report.rounds_dropped),
                       report.mark.empty() ? report.integrity
                                           : report.integrity + "; " + report.mark);
}

}  // namespace shmbus::bench
