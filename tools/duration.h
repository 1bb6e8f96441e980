// Spans of time as people write them: 3s, 500ms, 2m, 1h; a bare number is seconds.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <charconv>
#include <chrono>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

namespace shmbus {

// Nothing when it is none; also when it is longer than a year.
[[nodiscard]] inline std::optional<std::chrono::nanoseconds> duration_of(std::string_view text) {
    constexpr std::pair<std::string_view, double> units[] = {
        {"", 1}, {"s", 1}, {"ms", 1e-3}, {"m", 60}, {"h", 3600}};
    constexpr double most_seconds = 365 * 24 * 3600;
    double number = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
    for (const auto& [unit, seconds] : units)
        if (text == unit && number * seconds <= most_seconds)
            return std::chrono::nanoseconds(std::llround(number * seconds * 1e9));
    return std::nullopt;
}

}  // namespace shmbus
