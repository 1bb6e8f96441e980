// Writing and reading the text of a type's fields. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "wire/fields.h"

#include <charconv>

namespace shmbus::wire {

namespace {

[[nodiscard]] bool is_kind_of(char kind, std::uint32_t bytes) noexcept {
    const bool is_power = bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
    switch (static_cast<FieldKind>(kind)) {
        case FieldKind::boolean:
        case FieldKind::text: return bytes == 1;
        case FieldKind::signed_number:
        case FieldKind::unsigned_number: return is_power;
        case FieldKind::floating: return bytes == 4 || bytes == 8;
        case FieldKind::bytes: return bytes != 0;
    }
    return false;
}

// Takes a number and the character behind it off the front.
[[nodiscard]] bool take_number(std::string_view& text, char behind, std::uint32_t& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end == text.data() + text.size() || *end != behind) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
    return true;
}

[[nodiscard]] bool take_field(std::string_view& text, Field& field) {
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos || space + 2 >= text.size()) return false;
    field.name = text.substr(0, space);
    const char kind = text[space + 1];
    field.kind = static_cast<FieldKind>(kind);
    text.remove_prefix(space + 2);
    return shmbus::detail::is_field_name(field.name) && take_number(text, ' ', field.bytes) &&
           take_number(text, ' ', field.offset) && take_number(text, '\n', field.count) &&
           is_kind_of(kind, field.bytes);
}

}  // namespace

std::string text_of_fields(std::span<const FieldDescriptor> fields) {
    std::string text;
    for (const FieldDescriptor& field : fields) {
        text += field.name;
        text += ' ';
        text += static_cast<char>(field.kind);
        text += std::to_string(field.bytes) + ' ' + std::to_string(field.offset()) + ' ' +
                std::to_string(field.count) + '\n';
    }
    return text.size() <= most_field_text ? text : std::string();
}

std::optional<std::vector<Field>> parse_fields(std::string_view text,
                                               std::uint32_t message_bytes) {
    if (text.size() > most_field_text) return std::nullopt;
    std::vector<Field> fields;
    while (!text.empty()) {
        Field field;
        if (fields.size() == most_fields || !take_field(text, field)) return std::nullopt;
        const std::uint64_t end =
            field.offset + std::uint64_t{field.bytes} * std::uint64_t{field.count};
        if (field.count == 0 || end > message_bytes) return std::nullopt;
        fields.push_back(std::move(field));
    }
    return fields;
}

}  // namespace shmbus::wire
