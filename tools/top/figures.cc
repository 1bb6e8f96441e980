// Numbers as people read them.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/figures.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

namespace shmbus::top {
namespace {

// Three digits of `value`, which is below a thousand after rounding: "1.23", "12.3", "123".
[[nodiscard]] std::string three_digits(double value) {
    if (value < 9.995) return fmt::format("{:.2f}", value);
    if (value < 99.95) return fmt::format("{:.1f}", value);
    return fmt::format("{:.0f}", value);
}

[[nodiscard]] std::string scaled(double value, double step, const char* units) {
    // Ends at the last unit.
    while (value >= step * 0.9995 && units[1] != '\0') {
        value /= step;
        ++units;
    }
    // A value of no unit is a whole number.
    if (*units == ' ') return fmt::format("{:.0f}", value);
    return three_digits(value) + *units;
}

// At most five characters.
[[nodiscard]] std::string short_span_text(std::uint64_t ns) {
    std::string text = span_text(ns);
    if (text.size() <= 5) return text;
    // "41.0ms" without its fraction, "12h05m" and "10m00s" without their smaller parts.
    const std::size_t point = text.find('.');
    if (point != std::string::npos)
        text.erase(point, 2);
    else
        text.resize(text.find_first_of("hm") + 1);
    return text;
}

constexpr std::array eighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
constexpr std::array heights{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::array ascii_heights{"_", ".", ":", "-", "=", "+", "*", "#"};

}  // namespace

std::string count_text(double value) {
    // Between one and nothing a rate is still something.
    if (value > 0 && value < 9.95 && value != std::floor(value))
        return fmt::format("{:.1f}", value);
    return scaled(value, 1000, " kMGT");
}

std::string bytes_text(std::uint64_t bytes) {
    return scaled(static_cast<double>(bytes), 1024, " KMGT");
}

std::string span_text(std::uint64_t ns) {
    const auto value = static_cast<double>(ns);
    if (ns < 1000) return fmt::format("{}ns", ns);
    if (value < 999.5e3) return fmt::format("{:.{}f}us", value / 1e3, value < 99.95e3 ? 1 : 0);
    if (value < 999.5e6) return fmt::format("{:.{}f}ms", value / 1e6, value < 99.95e6 ? 1 : 0);
    const std::uint64_t seconds = ns / 1'000'000'000;
    if (seconds < 60) return fmt::format("{:.1f}s", value / 1e9);
    if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
    if (seconds < 100 * 3600) return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
    return fmt::format("{}d", seconds / 86400);
}

std::string span_text(const std::optional<std::uint64_t>& ns) { return ns ? span_text(*ns) : "-"; }

std::string ever_text(const std::optional<std::uint64_t>& ns) {
    return ns ? short_span_text(*ns) + '*' : "-";
}

std::string least_text(const std::optional<std::uint64_t>& ns) {
    return ns ? '>' + short_span_text(*ns) : "-";
}

std::string share_text(const std::optional<double>& share) {
    return share ? fmt::format("{:.0f} %", *share * 100) : "-";
}

std::string clock_text(std::uint64_t realtime_ns) {
    const auto seconds = static_cast<std::time_t>(realtime_ns / 1'000'000'000);
    std::tm parts{};
    ::localtime_r(&seconds, &parts);
    return fmt::format("{:02}:{:02}:{:02}", parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string bar(double share, std::size_t columns, Alphabet alphabet) {
    const double filled = std::clamp(share, 0.0, 1.0) * static_cast<double>(columns);
    std::string out;
    if (alphabet == Alphabet::ascii) {
        // What is there at all shows.
        const auto whole = static_cast<std::size_t>(share > 0 ? std::ceil(filled) : 0);
        return out.append(whole, '|').append(columns - whole, '.');
    }
    const auto parts = static_cast<std::size_t>(std::ceil(filled * 8));
    for (std::size_t at = 0; at < columns; ++at) {
        const std::size_t here = std::min<std::size_t>(8, parts - std::min(parts, at * 8));
        out += here == 0 ? "·" : eighths[here];
    }
    return out;
}

std::string trend(const std::vector<double>& values, std::size_t columns, Alphabet alphabet) {
    const std::size_t shown = std::min(columns, values.size());
    std::string out(columns - shown, ' ');
    const auto begin = values.end() - static_cast<std::ptrdiff_t>(shown);
    const double most = shown == 0 ? 0 : *std::max_element(begin, values.end());
    for (auto value = begin; value != values.end(); ++value) {
        const double share = most > 0 ? *value / most : 0;
        const auto height = std::min<std::size_t>(7, static_cast<std::size_t>(share * 7 + 0.5));
        out += alphabet == Alphabet::ascii ? ascii_heights[height] : heights[height];
    }
    return out;
}

}  // namespace shmbus::top
