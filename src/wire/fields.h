// How the fields of a message type read, as text in a file of the bus.
//
//   order_id u8 0 1        name, kind and bytes of an element, offset, elements; a line each
//   price f8 8 1
//   customer c1 16 16
//
// Written by the daemon, which has checked it, and read by tools, which check it again.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <shmbus/fields.h>

namespace shmbus::wire {

inline constexpr std::size_t most_fields = 64;
inline constexpr std::size_t most_field_text = 3840;

struct Field {
    std::string name;
    FieldKind kind = FieldKind::bytes;
    std::uint32_t bytes = 0;   // of one element
    std::uint32_t offset = 0;  // in the message
    std::uint32_t count = 1;   // elements
    friend bool operator==(const Field&, const Field&) = default;
};

// The text of a type's list; empty when it has none, or when it is too long to be told.
[[nodiscard]] std::string text_of_fields(std::span<const FieldDescriptor> fields);

// Reads it; nothing unless every line is one that the above writes and every field lies inside a
// message of `message_bytes`.
[[nodiscard]] std::optional<std::vector<Field>> parse_fields(std::string_view text,
                                                             std::uint32_t message_bytes);

}  // namespace shmbus::wire
