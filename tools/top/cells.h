// What a screen is made of: lines of styled text, and a few ways to lay it out.
//
// Every character that is put here takes one column or two, none takes none: names of the bus are
// plain ASCII, whatever else comes in is made so by `plain`, save what messages say.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shmbus::top {

// What a text means; the terminal decides how that looks.
enum class Style : std::uint8_t { plain, head, good, warn, bad, dim, bar, key };

struct Span {
    std::string text;
    Style style = Style::plain;
    bool is_chosen = false;  // shown reversed
    friend bool operator==(const Span&, const Span&) = default;
};
using Line = std::vector<Span>;
using Page = std::vector<Line>;

struct Size {
    std::size_t rows = 24;
    std::size_t columns = 80;
};

// How long the character is that begins there, and how wide a terminal of this locale shows it.
struct Character {
    std::size_t bytes;
    std::size_t columns;
};
[[nodiscard]] Character character_at(std::string_view text, std::size_t at) noexcept;

// Columns that a text takes.
[[nodiscard]] inline std::size_t width(std::string_view text) noexcept {
    std::size_t columns = 0;
    for (std::size_t at = 0; at < text.size();) {
        const Character next = character_at(text, at);
        at += next.bytes;
        columns += next.columns;
    }
    return columns;
}
// Its first characters, as many as fit.
[[nodiscard]] inline std::string cut(std::string_view text, std::size_t columns) {
    std::size_t at = 0;
    while (at < text.size()) {
        const Character next = character_at(text, at);
        if (next.columns > columns) break;
        at += next.bytes;
        columns -= next.columns;
    }
    return std::string(text.substr(0, at));
}
[[nodiscard]] inline std::string left(std::string_view text, std::size_t columns) {
    std::string out = cut(text, columns);
    return out.append(columns - std::min(columns, width(out)), ' ');
}
[[nodiscard]] inline std::string right(std::string_view text, std::size_t columns) {
    const std::string out = cut(text, columns);
    return std::string(columns - std::min(columns, width(out)), ' ') + out;
}
// Bytes that a terminal could take for commands, or for more than one column, become '?'.
[[nodiscard]] inline std::string plain(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c < ' ' || c > '~') c = '?';
    return out;
}

[[nodiscard]] inline std::string text_of(const Line& line) {
    std::string text;
    for (const Span& span : line) text += span.text;
    return text;
}
[[nodiscard]] inline std::size_t width(const Line& line) {
    std::size_t columns = 0;
    for (const Span& span : line) columns += width(span.text);
    return columns;
}
inline void cut_to(Line& line, std::size_t columns) {
    std::size_t used = 0;
    for (auto span = line.begin(); span != line.end(); ++span) {
        const std::size_t wide = width(span->text);
        if (used + wide > columns) {
            span->text = cut(span->text, columns - used);
            line.erase(span + 1, line.end());
            return;
        }
        used += wide;
    }
}

}  // namespace shmbus::top
