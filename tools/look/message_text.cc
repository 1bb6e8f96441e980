// Payloads as text and back. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/message_text.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>

#include <fmt/core.h>

#include <shmbus/result.h>

namespace shmbus::tools {
namespace {

using nlohmann::json;
using wire::Field;

[[noreturn]] void refuse(const std::string& field, const std::string& helps) {
    throw SetupError{"reading a message from JSON", "its field '" + field + "'", EINVAL, helps};
}

template <class T>
[[nodiscard]] T number_at(const std::byte* at) {
    T number{};
    std::memcpy(&number, at, sizeof(number));
    return number;
}
template <class T>
void put(T number, std::byte* at) {
    std::memcpy(at, &number, sizeof(number));
}

// Of 1, 2, 4 or 8 bytes.
[[nodiscard]] std::uint64_t unsigned_at(const std::byte* at, std::uint32_t bytes) {
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t number = 0;
    std::memcpy(&number, at, bytes);
    return number;
}
[[nodiscard]] std::int64_t signed_at(const std::byte* at, std::uint32_t bytes) {
    const unsigned unused = 64 - 8 * bytes;
    return static_cast<std::int64_t>(unsigned_at(at, bytes) << unused) >> unused;
}

[[nodiscard]] json element(const Field& field, const std::byte* at) {
    switch (field.kind) {
        case FieldKind::boolean: return number_at<std::uint8_t>(at) != 0;
        case FieldKind::unsigned_number: return unsigned_at(at, field.bytes);
        case FieldKind::signed_number: return signed_at(at, field.bytes);
        case FieldKind::floating: {
            const double number = field.bytes == 4 ? number_at<float>(at) : number_at<double>(at);
            return std::isfinite(number) ? json(number) : json(nullptr);
        }
        default: return hex_of({at, field.bytes});
    }
}

// What is no UTF-8 makes no JSON, and U+0080 to U+009F steer a terminal: a mark stands for each of
// their bytes.
[[nodiscard]] std::string readable(std::string_view text) {
    std::string out;
    for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
        const std::string_view rest = text.substr(at);
        length = static_cast<unsigned char>(rest[0]) < 0x80
                     ? 1
                     : character_at(std::as_bytes(std::span(rest)));
        if (length == 0) out += "\xEF\xBF\xBD";
        else out += rest.substr(0, length);
        length = std::max<std::size_t>(length, 1);
    }
    return out;
}

[[nodiscard]] json value_of(const Field& field, std::span<const std::byte> payload) {
    const std::byte* const at = payload.data() + field.offset;
    if (field.kind == FieldKind::text) {
        const auto* text = reinterpret_cast<const char*>(at);
        return readable({text, ::strnlen(text, field.count)});
    }
    if (field.count == 1) return element(field, at);
    json list = json::array();
    for (std::uint32_t i = 0; i < field.count; ++i)
        list.push_back(element(field, at + std::size_t{i} * field.bytes));
    return list;
}

[[nodiscard]] bool fits(const Field& field, std::span<const std::byte> payload) {
    return std::size_t{field.offset} + std::size_t{field.bytes} * field.count <= payload.size();
}

void put_unsigned(const Field& field, const json& value, std::byte* at) {
    const bool is_number = value.is_number_unsigned() ||
                           (value.is_number_integer() && value.get<std::int64_t>() >= 0);
    const std::uint64_t number = is_number ? value.get<std::uint64_t>() : 0;
    if (!is_number || (field.bytes < 8 && number >> (8 * field.bytes) != 0))
        refuse(field.name, fmt::format("give a whole number from 0 to {}, not {}",
                                       std::numeric_limits<std::uint64_t>::max() >>
                                           (64 - 8 * field.bytes),
                                       value.dump()));
    std::memcpy(at, &number, field.bytes);  // the low bytes: little-endian
    static_assert(std::endian::native == std::endian::little);
}

void put_signed(const Field& field, const json& value, std::byte* at) {
    const std::int64_t most = std::numeric_limits<std::int64_t>::max() >> (64 - 8 * field.bytes);
    const bool is_number =
        value.is_number_integer() &&
        (!value.is_number_unsigned() ||
         value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()});
    const std::int64_t number = is_number ? value.get<std::int64_t>() : 0;
    if (!is_number || number > most || number < -most - 1)
        refuse(field.name, fmt::format("give a whole number from {} to {}, not {}", -most - 1,
                                       most, value.dump()));
    std::memcpy(at, &number, field.bytes);
}

void put_element(const Field& field, const json& value, std::byte* at) {
    switch (field.kind) {
        case FieldKind::boolean:
            if (!value.is_boolean()) refuse(field.name, "give true or false");
            return put<std::uint8_t>(value.get<bool>() ? 1 : 0, at);
        case FieldKind::unsigned_number: return put_unsigned(field, value, at);
        case FieldKind::signed_number: return put_signed(field, value, at);
        case FieldKind::floating:
            if (!value.is_number()) refuse(field.name, "give a number, not " + value.dump());
            return field.bytes == 4 ? put(value.get<float>(), at) : put(value.get<double>(), at);
        default: {
            if (!value.is_string()) refuse(field.name, "give its bytes in hexadecimal digits");
            const std::vector<std::byte> bytes = bytes_of_hex(value.get<std::string>());
            if (bytes.size() != field.bytes)
                refuse(field.name, fmt::format("it has {} bytes, {} were given", field.bytes,
                                               bytes.size()));
            std::copy(bytes.begin(), bytes.end(), at);
        }
    }
}

void put_value(const Field& field, const json& value, std::byte* at) {
    if (field.kind == FieldKind::text) {
        if (!value.is_string()) refuse(field.name, "give a string, not " + value.dump());
        const auto text = value.get<std::string>();
        if (text.size() > field.count)
            refuse(field.name, fmt::format("it holds {} characters, {} were given", field.count,
                                           text.size()));
        std::memcpy(at, text.data(), text.size());
        return;
    }
    if (field.count == 1) return put_element(field, value, at);
    if (!value.is_array() || value.size() > field.count)
        refuse(field.name, fmt::format("give an array of at most {} elements", field.count));
    for (std::size_t i = 0; i < value.size(); ++i)
        put_element(field, value[i], at + i * field.bytes);
}

}  // namespace

nlohmann::ordered_json json_of(const std::vector<Field>& fields,
                               std::span<const std::byte> payload) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (const Field& field : fields)
        if (fits(field, payload)) object[field.name] = value_of(field, payload);
    return object;
}

std::string text_of(const std::vector<Field>& fields, std::span<const std::byte> payload) {
    std::string text;
    for (const Field& field : fields) {
        if (!fits(field, payload)) continue;
        if (!text.empty()) text += ' ';
        text += field.name + "=" +
                value_of(field, payload).dump(-1, ' ', false, json::error_handler_t::replace);
    }
    return text;
}

std::vector<std::byte> bytes_of_json(const std::vector<Field>& fields, const json& object,
                                     std::uint32_t message_bytes) {
    if (!object.is_object())
        throw SetupError{"reading a message from JSON", object.type_name(), EINVAL,
                         R"(give an object, as {"order_id": 7})"};
    std::vector<std::byte> bytes(message_bytes);
    for (const auto& item : object.items()) {
        const std::string& name = item.key();
        const auto field = std::find_if(fields.begin(), fields.end(),
                                        [&](const Field& one) { return one.name == name; });
        if (field == fields.end() || !fits(*field, bytes)) {
            std::string known;
            for (const Field& one : fields) known += (known.empty() ? "" : ", ") + one.name;
            refuse(name, "the type has no such field; it has: " + known);
        }
        put_value(*field, item.value(), bytes.data() + field->offset);
    }
    return bytes;
}

std::string hex_of(std::span<const std::byte> bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const std::byte byte : bytes) {
        text += digits[std::to_integer<unsigned>(byte) >> 4];
        text += digits[std::to_integer<unsigned>(byte) & 0xFU];
    }
    return text;
}

std::size_t character_at(std::span<const std::byte> bytes) noexcept {
    const auto first = std::to_integer<unsigned>(bytes[0]);
    if (first < 0x80)
        return first != 0x7F && (first >= 0x20 || first == '\n' || first == '\t') ? 1 : 0;
    const std::size_t length = first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3
                               : first >> 3 == 30 ? 4 : 0;
    if (length == 0 || length > bytes.size()) return 0;
    std::uint32_t code = first & (0x7FU >> length);
    for (const std::byte more : bytes.subspan(1, length - 1)) {
        if (std::to_integer<unsigned>(more) >> 6 != 2) return 0;
        code = code << 6 | std::to_integer<unsigned>(more & std::byte{0x3F});
    }
    constexpr std::uint32_t least[] = {0, 0, 0xA0, 0x800, 0x10000};
    const bool is_half = code >= 0xD800 && code < 0xE000;  // of a pair in UTF-16
    return code >= least[length] && code <= 0x10FFFF && !is_half ? length : 0;
}

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::vector<std::byte> bytes_of_hex(const std::string& digits) {
    const auto value = [&](char c) -> unsigned {
        if (const int digit = hex_digit(c); digit >= 0) return static_cast<unsigned>(digit);
        throw SetupError{"reading hexadecimal digits", std::string("'") + c + "'", EINVAL,
                         "give two of 0-9 a-f for each byte"};
    };
    if (digits.size() % 2 != 0)
        throw SetupError{"reading hexadecimal digits", std::to_string(digits.size()) + " digits",
                         EINVAL, "give two for each byte"};
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < digits.size(); i += 2)
        bytes.push_back(static_cast<std::byte>(value(digits[i]) << 4 | value(digits[i + 1])));
    return bytes;
}

}  // namespace shmbus::tools
