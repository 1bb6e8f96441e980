// Names as people type them and read them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <shmbus/options.h>

#include "directory/layout.h"

namespace shmbus::cli {

[[nodiscard]] const char* name_of(directory::EndpointKind kind) noexcept;
[[nodiscard]] const char* name_of(WhenFull policy) noexcept;
[[nodiscard]] const char* name_of_kind(std::uint8_t kind) noexcept;  // of a type row
// "a command", "an event".
[[nodiscard]] const char* one_of_kind(std::uint8_t kind) noexcept;
[[nodiscard]] const char* name_of_durability(std::uint8_t value) noexcept;  // of a type row

// Throws Trouble when nothing on a bus can be called so.
void require_name(const std::string& name);

// The one of `names` that is most likely meant; "" when none is near.
[[nodiscard]] std::string nearest(std::string_view wanted, const std::vector<std::string>& names);

}  // namespace shmbus::cli
