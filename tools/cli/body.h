// The bytes of a message for people and scripts: from the command line, and back to text.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/listing.h"
#include "cli/open_bus.h"
#include "look/message_text.h"

namespace shmbus::cli {

using Bytes = std::vector<std::byte>;

// Where the bytes of a message come from: one of the options, or standard input.
struct BodyLine {
    std::optional<std::string> data;
    std::optional<std::string> hex;
    std::string file;
    std::optional<std::string> fields;
};
void add_body_options(const Command& command, BodyLine& line);
// The bytes, right for this type; a JSON object stands for its fields where the bus knows them.
// Throws Trouble: a digit that is none, a length that is not the
// type's.
[[nodiscard]] Bytes body_of(const OpenBus& bus, const BodyLine& line, const directory::Type& type);
// Throws Trouble when the length is not the type's.
void require_length(std::size_t bytes, const directory::Type& type);

using tools::hex_of;
[[nodiscard]] Bytes bytes_of_hex(const std::string& text);
[[nodiscard]] Bytes bytes_of_text(const std::string& text);

// A message's fields by name, where the bus knows how they read.
[[nodiscard]] std::optional<Json> json_of_bytes(const OpenBus& bus, const directory::Type& type,
                                                std::span<const std::byte> bytes);
[[nodiscard]] Bytes bytes_of_json(const OpenBus& bus, const directory::Type& type,
                                  const std::string& json);

// How a payload is shown: its fields, else its text if it is one, else hexadecimal digits.
enum class BodyStyle : std::uint8_t { best, hex, raw };
[[nodiscard]] std::string body_text(const OpenBus& bus, std::uint16_t type,
                                    std::span<const std::byte> bytes);
// The same as members of a JSON object: "fields" or "text" or neither, and "hex" in any case.
void add_body(Json& object, const OpenBus& bus, std::uint16_t type,
              std::span<const std::byte> bytes);

}  // namespace shmbus::cli
