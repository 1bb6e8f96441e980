// Numbers for people.
//
// SPDX-License-Identifier: BSL-1.0
#include "figures.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

namespace story {

std::string thousands(std::uint64_t number) {
    std::string text = std::to_string(number);
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
    return text;
}

std::string span_text(std::uint64_t ns) {
    static constexpr std::array<const char*, 4> units{"ns", "us", "ms", "s"};
    double value = static_cast<double>(ns);
    std::size_t unit = 0;
    for (; value >= 1000 && unit + 1 < units.size(); ++unit) value /= 1000;
    const int digits = unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
    return fmt::format("{:.{}f} {}", value, digits, units[unit]);
}

std::uint64_t percentile(const std::vector<std::uint64_t>& sorted, double percent) {
    if (sorted.empty()) return 0;
    const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
    const auto place = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
    return sorted[std::min(place, sorted.size() - 1)];
}

}  // namespace story
