// Numbers for people: thousands, spans of time, percentiles.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace story {

// 1234567 as "1,234,567".
[[nodiscard]] std::string thousands(std::uint64_t number);
// 1234567 ns as "1.23 ms".
[[nodiscard]] std::string span_text(std::uint64_t ns);
// The smallest value that `percent` of the sorted values do not exceed; 0 when there are none.
[[nodiscard]] std::uint64_t percentile(const std::vector<std::uint64_t>& sorted, double percent);

}  // namespace story
