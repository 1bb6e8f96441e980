// How figures read: times, rates, sizes, in the unit that suits their size.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace shmbus::bench {

std::string time_text(double ns);         // 281 ns, 12.4 us, 3.10 ms, 1.20 s
std::string rate_text(double per_s);      // 75.0 M/s
std::string count_text(double count);     // 75 M, 1.5 k
std::string bytes_text(std::size_t bytes);  // 32 B, 64 KiB
std::string factor_text(double factor);   // 1.20, 12.3, 340

// At an axis, where figures are round: 1 us, 10 ms, 100 k.
std::string time_tick(double ns);
std::string count_tick(double count);

// "-" for what is absent.
template <typename Text>
std::string or_dash(const std::optional<double>& value, Text text) {
    return value ? text(*value) : "-";
}

}  // namespace shmbus::bench
