// A message's payload as text, and JSON as a payload, by the fields that its type has told.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "wire/fields.h"

namespace shmbus::tools {

// Numbers as numbers, text as a string, other bytes as hexadecimal digits, arrays as arrays. A
// number that JSON has no word for (infinity, none) is null.
[[nodiscard]] nlohmann::ordered_json json_of(const std::vector<wire::Field>& fields,
                                             std::span<const std::byte> payload);

// The same for people: order_id=7 price=9.99 customer="Ann".
[[nodiscard]] std::string text_of(const std::vector<wire::Field>& fields,
                                  std::span<const std::byte> payload);

// A payload of `message_bytes` from an object; what it does not name is zero. Throws SetupError
// naming the field: unknown, of another kind, out of range, too long.
[[nodiscard]] std::vector<std::byte> bytes_of_json(const std::vector<wire::Field>& fields,
                                                   const nlohmann::json& object,
                                                   std::uint32_t message_bytes);

// The length of the character of UTF-8 that begins there; 0: it is none, it is written longer than
// it need be, or it steers a terminal, as U+009B does like ESC. `bytes` is not empty.
[[nodiscard]] std::size_t character_at(std::span<const std::byte> bytes) noexcept;

// The value of a hexadecimal digit; -1: it is none.
[[nodiscard]] int hex_digit(char c) noexcept;
// "0a1b": two digits a byte. Reading throws SetupError.
[[nodiscard]] std::string hex_of(std::span<const std::byte> bytes);
[[nodiscard]] std::vector<std::byte> bytes_of_hex(const std::string& digits);

}  // namespace shmbus::tools
