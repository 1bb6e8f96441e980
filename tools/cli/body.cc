// Bytes from and to text. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/body.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

[[nodiscard]] bool is_text(std::span<const std::byte> bytes) {
    for (std::size_t at = 0, length = 0; at < bytes.size(); at += length) {
        length = tools::character_at(bytes.subspan(at));
        if (length == 0) return false;
    }
    return !bytes.empty();
}

[[nodiscard]] std::string text_of_bytes(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// How messages of the type read; nothing when nobody said.
[[nodiscard]] std::optional<std::vector<wire::Field>> fields_of(const OpenBus& bus,
                                                                const directory::Type& type) {
    const std::string text =
        detail::read_description(bus.folder(), type.reference());
    if (text.empty()) return std::nullopt;
    return wire::parse_fields(text, type.row.bytes);
}

// An object, and not by chance the bytes of a message of this type.
[[nodiscard]] bool is_meant_as_json(const OpenBus& bus, const std::string& text,
                                    const directory::Type& type) {
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    return first != std::string::npos && text[first] == '{' && type.row.bytes != 0 &&
           text.size() != type.row.bytes && fields_of(bus, type).has_value();
}

// Refuses a field that stands there twice, of which the last one would count in silence.
[[nodiscard]] nlohmann::json parsed(const std::string& text) {
    using Parser = nlohmann::json;
    std::set<std::string> names;
    std::string twice;
    const auto look = [&](int depth, Parser::parse_event_t event, const Parser& value) {
        if (event == Parser::parse_event_t::key && depth == 1 &&
            !names.insert(value.get<std::string>()).second)
            twice = value.get<std::string>();
        return true;
    };
    const std::string begin = text.substr(0, 80);
    try {
        Parser object = Parser::parse(text, look);
        if (twice.empty()) return object;
    } catch (const Parser::exception& error) {
        const std::string why = error.what();
        throw Trouble(Exit::damaged, "this is no JSON: " + begin, why.substr(why.find("] ") + 2));
    }
    throw Trouble(Exit::damaged, "the field \"" + twice + "\" stands there twice: " + begin,
                  "one of them is meant for another field",
                  "shmbus type show tells how the message reads");
}

}  // namespace

void add_body_options(const Command& command, BodyLine& line) {
    const Option data = command.option("--data", line.data, "The bytes of this text");
    const Option hex = command.option("--hex", line.hex, "Bytes as hexadecimal digits");
    const Option file = command.option("--file", line.file,
                                       "The bytes of this file; default: of standard input");
    const Option fields = command.option(
        "--fields", line.fields, "The fields of the message, as JSON; - : from standard input");
    data.excludes(hex).excludes(file).excludes(fields);
    hex.excludes(file).excludes(fields);
    file.excludes(fields);
}

Bytes body_of(const OpenBus& bus, const BodyLine& line, const directory::Type& type) {
    Bytes bytes;
    if (line.fields) {
        return bytes_of_json(bus, type, *line.fields == "-" ? all_of_file("-") : *line.fields);
    }
    if (line.hex) {
        bytes = bytes_of_hex(*line.hex);
    } else {
        const std::string text =
            line.data ? *line.data : all_of_file(line.file.empty() ? "-" : line.file);
        if (is_meant_as_json(bus, text, type)) return bytes_of_json(bus, type, text);
        bytes = bytes_of_text(text);
    }
    require_length(bytes.size(), type);
    return bytes;
}

void require_length(std::size_t bytes, const directory::Type& type) {
    if (type.row.bytes == 0 || type.row.bytes == bytes) return;
    throw Trouble(Exit::damaged,
                  "a " + std::string(type.name()) + " has " + std::to_string(type.row.bytes) +
                      " bytes, these are " + std::to_string(bytes),
                  "the type has a fixed length, and text often ends with a newline",
                  "shmbus type show " + std::string(type.name()) + "; --hex gives exact bytes");
}

Bytes bytes_of_hex(const std::string& text) {
    Bytes bytes;
    int high = -1;
    for (const char c : text) {
        if (c == ' ' || c == '\n' || c == '\t' || c == ':') continue;
        const int digit = tools::hex_digit(c);
        if (digit < 0)
            throw Trouble(Exit::damaged, std::string("'") + c + "' is no hexadecimal digit");
        if (high < 0) {
            high = digit;
        } else {
            bytes.push_back(static_cast<std::byte>(high << 4 | digit));
            high = -1;
        }
    }
    if (high >= 0)
        throw Trouble(Exit::damaged, "the hexadecimal digits do not come in pairs");
    return bytes;
}

Bytes bytes_of_text(const std::string& text) {
    const auto* const begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
}

std::optional<Json> json_of_bytes(const OpenBus& bus, const directory::Type& type,
                                  std::span<const std::byte> bytes) {
    const auto fields = fields_of(bus, type);
    if (!fields || bytes.size() != type.row.bytes) return std::nullopt;
    return tools::json_of(*fields, bytes);
}

Bytes bytes_of_json(const OpenBus& bus, const directory::Type& type, const std::string& json) {
    const auto fields = fields_of(bus, type);
    if (!fields)
        throw Trouble(Exit::damaged,
                      "the bus does not know the fields of " + std::string(type.name()),
                      "its declaration does not tell them, or no program told the bus yet",
                      "give its bytes with --data, --hex or --file");
    const nlohmann::json object = parsed(json);
    try {
        return tools::bytes_of_json(*fields, object, type.row.bytes);
    } catch (const SetupError& error) {
        throw Trouble(Exit::damaged, error.tried() + ": " + error.on_what(), "", error.helps());
    }
}

std::string body_text(const OpenBus& bus, std::uint16_t type, std::span<const std::byte> bytes) {
    if (const auto row = bus.reader().type(type))
        if (const auto fields = json_of_bytes(bus, *row, bytes)) return fields->dump();
    std::string text = is_text(bytes) ? text_of_bytes(bytes) : hex_of(bytes);
    // One message, one line.
    if (!text.empty() && text.back() == '\n') text.pop_back();
    std::ranges::replace(text, '\n', ' ');
    return text;
}

void add_body(Json& object, const OpenBus& bus, std::uint16_t type,
              std::span<const std::byte> bytes) {
    object["bytes"] = bytes.size();
    if (const auto row = bus.reader().type(type))
        if (auto fields = json_of_bytes(bus, *row, bytes)) object["fields"] = std::move(*fields);
    if (is_text(bytes)) object["text"] = text_of_bytes(bytes);
    object["hex"] = hex_of(bytes);
}

}  // namespace shmbus::cli
