// Which names may stand in a table and become part of a file's name.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace shmbus::base {

inline constexpr std::size_t max_name_bytes = 200;

[[nodiscard]] constexpr bool is_name_character(char c) noexcept {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           c == '.' || c == '_' || c == '-';
}

// 1 to 200 characters of A-Z a-z 0-9 . _ -. "." and ".." are refused as well: they are
// directories wherever a name stands for a file.
[[nodiscard]] constexpr bool is_valid_name(std::string_view name) noexcept {
    return !name.empty() && name.size() <= max_name_bytes && name != "." && name != ".." &&
           std::all_of(name.begin(), name.end(), is_name_character);
}

}  // namespace shmbus::base
