// How figures read: three figures of each, no more is known.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/units.h"

#include <array>
#include <fmt/format.h>
#include <utility>

namespace shmbus::bench {
namespace {

std::string three_figures(double value) {
    if (value >= 99.95) return fmt::format("{:.0f}", value);
    return value >= 9.995 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
}

// With the largest unit that is not larger than the value.
template <std::size_t count>
std::string in_units(double value,
                     const std::array<std::pair<double, const char*>, count>& units) {
    for (const auto& [size, name] : units)
        if (value >= size) return three_figures(value / size) + name;
    return three_figures(value / units.back().first) + units.back().second;
}

}  // namespace

std::string time_text(double ns) {
    // From 10 us on: below that, nanoseconds compare better with one another.
    static constexpr std::array<std::pair<double, const char*>, 3> units{
        {{1e9, " s"}, {1e6, " ms"}, {1e4, " us"}}};
    if (ns < 10) return fmt::format("{:.1f} ns", ns);
    if (ns < 1e4) return fmt::format("{:.0f} ns", ns);
    if (ns < 1e6) return three_figures(ns / 1e3) + " us";
    return in_units(ns, units);
}

std::string rate_text(double per_s) { return count_text(per_s) + "/s"; }

std::string count_text(double count) {
    static constexpr std::array<std::pair<double, const char*>, 3> units{
        {{1e6, " M"}, {1e3, " k"}, {1, " "}}};
    return in_units(count, units);
}

std::string time_tick(double ns) {
    if (ns >= 1e9) return fmt::format("{:g} s", ns / 1e9);
    if (ns >= 1e6) return fmt::format("{:g} ms", ns / 1e6);
    return ns >= 1e3 ? fmt::format("{:g} us", ns / 1e3) : fmt::format("{:g} ns", ns);
}

std::string count_tick(double count) {
    if (count >= 1e6) return fmt::format("{:g} M", count / 1e6);
    return count >= 1e3 ? fmt::format("{:g} k", count / 1e3) : fmt::format("{:g}", count);
}

std::string bytes_text(std::size_t bytes) {
    if (bytes >= std::size_t{1} << 30) return fmt::format("{} GiB", bytes >> 30);
    if (bytes >= std::size_t{1} << 20) return fmt::format("{} MiB", bytes >> 20);
    return bytes >= 1024 ? fmt::format("{} KiB", bytes >> 10) : fmt::format("{} B", bytes);
}

std::string factor_text(double factor) { return three_figures(factor); }

}  // namespace shmbus::bench
