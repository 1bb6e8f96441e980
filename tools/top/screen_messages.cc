// The messages that stand in an endpoint: what they are, who has them, why they failed.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>
#include <wchar.h>

#include <algorithm>
#include <cwchar>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "look/message_text.h"
#include "top/screens.h"
#include "top/table.h"

namespace shmbus::top {
namespace {

// Lines at the bottom for all that the chosen message says.
constexpr std::size_t whole_lines = 5;

// What a message says, in characters that the terminal has. What steers a terminal, turns the rest
// of a line round, or takes no column, becomes '?'.
[[nodiscard]] std::string as_columns(std::string_view text, Alphabet alphabet) {
    std::string out;
    for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
        const std::string_view rest = text.substr(at);
        length = std::max<std::size_t>(tools::character_at(std::as_bytes(std::span(rest))), 1);
        wchar_t character = 0;
        std::mbstate_t state{};
        const bool is_known =
            length == 1 ? rest[0] >= ' ' && rest[0] <= '~'
                        : alphabet == Alphabet::unicode &&
                              std::mbrtowc(&character, rest.data(), length, &state) == length &&
                              ::wcwidth(character) > 0;
        out += is_known ? rest.substr(0, length) : "?";
    }
    return out;
}

[[nodiscard]] Page whole_text(const look::Message& message, std::size_t columns,
                              Alphabet alphabet) {
    Page page{{{"id ", Style::dim},
               {message.id},
               {fmt::format("  {} bytes, {} in {}", message.bytes, message.position,
                            wire::lane_file(message.lane)),
                Style::dim}}};
    for (const std::string& part : {message.failure, message.text}) {
        std::string left = as_columns(part, alphabet);
        while (!left.empty() && page.size() < whole_lines) {
            page.push_back({{cut(left, columns), Style::plain}});
            left.erase(0, page.back()[0].text.size());
        }
    }
    return page;
}

}  // namespace

Page draw_messages(const Model& model, Size size) {
    const look::Endpoint* const endpoint = model.endpoint();
    if (!endpoint) return {{{"this endpoint is not there any more", Style::warn}}};
    Page page{{{"messages in ", Style::head},
               {plain(model.now.endpoint_name(*endpoint)), Style::head},
               {fmt::format("  {} in hands, {} wait; the first {} are shown", endpoint->in_hand(),
                            endpoint->waiting(), model.messages.size())}}};
    const bool has_failures = endpoint->kind == directory::EndpointKind::error;
    std::vector<Field> fields{
        {"TYPE", 18, Side::left}, {"FROM", 10, Side::left}, {"HAS IT", 10, Side::left}, {"AGE", 6}};
    // Where little would be left for what they say, that of the chosen one, at the foot, is enough.
    const bool has_ids = size.columns >= 132;
    if (has_ids) fields.push_back({"ID", 32, Side::left});
    fields.push_back({has_failures ? "WHY, AND WHAT IT SAYS" : "WHAT IT SAYS", 0, Side::left});
    const Table table(std::move(fields), size.columns);
    page.push_back(table.head());
    const std::size_t at = chosen_row(model);
    const std::size_t rows = size.rows - std::min(size.rows, 2 + whole_lines);
    const Window window = window_around(at, model.messages.size(), rows);
    for (std::size_t row = window.begin; row < window.end; ++row) {
        const look::Message& message = model.messages[row];
        const std::string says =
            message.failure.empty() ? message.text : message.failure + "  " + message.text;
        std::vector<Span> cells{
            {plain(model.now.type_name(message.type))},
            {plain(model.now.process_name(message.sender))},
            {message.holder == 0 ? "-" : plain(model.now.process_name(message.holder))},
            {span_text(message.age_ns)}};
        if (has_ids) cells.push_back({message.id});
        cells.push_back({as_columns(says, model.alphabet),
                         message.failure.empty() ? Style::plain : Style::bad});
        Line line = table.row(cells);
        page.push_back(row == at ? chosen(std::move(line), size.columns) : std::move(line));
    }
    if (model.messages.empty()) {
        page.push_back({{"nothing stands here", Style::dim}});
        return page;
    }
    page.resize(std::max(page.size(), size.rows - std::min(size.rows, whole_lines)));
    for (Line& line : whole_text(model.messages[at], std::max<std::size_t>(size.columns, 1),
                                  model.alphabet))
        page.push_back(std::move(line));
    return page;
}

}  // namespace shmbus::top
