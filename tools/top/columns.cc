// The columns of the main table.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/columns.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace shmbus::top {
namespace {

constexpr std::size_t name_columns = 15;
constexpr std::array<ColumnShape, column_count> shapes{{
    {"S", 1, Side::left, 0},
    {"ENDPOINT", name_columns, Side::left, 0},
    {"KIND", 8, Side::left, 8},
    {"DEPTH", 6, Side::right, 0},
    {"FILL", 8, Side::left, 1},
    {"IN/s", 6, Side::right, 1},
    {"OUT/s", 6, Side::right, 1},
    {"P50", 6, Side::right, 4},
    {"P99", 6, Side::right, 3},
    {"CRIT", 6, Side::right, 3},
    {"OLDEST", 6, Side::right, 2},
    {"CONS", 4, Side::right, 2},
    {"RETRY/s", 7, Side::right, 6},
    {"FAIL", 5, Side::right, 5},
    {"JLAG", 5, Side::right, 7},
    {"TREND", 12, Side::left, 9},
}};

// "IN/s" is "in" on the command line, "S" is "state".
[[nodiscard]] std::string word_for(std::size_t column) {
    if (static_cast<Column>(column) == Column::state) return "state";
    std::string word = shapes[column].head;
    word.resize(std::min(word.find('/'), word.size()));
    for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return word;
}

[[nodiscard]] std::size_t needed(const std::vector<Column>& shown) {
    std::size_t all = shown.empty() ? 0 : shown.size() - 1;
    for (const Column column : shown) all += shape_of(column).columns;
    return all;
}

[[nodiscard]] bool stays(Column column) {
    return column == Column::state || column == Column::name;
}

// Of those that the user has not hidden: state and name apart, what fits in the order of the table,
// then what does not.
struct Parts {
    std::vector<Column> staying;
    std::vector<Column> moving;
};
[[nodiscard]] Parts parts_of(const Model& model, std::size_t columns) {
    std::vector<Column> shown;
    for (std::size_t at = 0; at < column_count; ++at)
        if (model.view.hidden.count(static_cast<Column>(at)) == 0)
            shown.push_back(static_cast<Column>(at));
    const std::vector<Column> all = shown;
    // Ends: one column goes in each turn, and those that stay are the last to go.
    while (needed(shown) > columns && shown.size() > 1)
        shown.erase(std::max_element(shown.begin(), shown.end(), [](Column a, Column b) {
            return shape_of(a).goes < shape_of(b).goes;
        }));
    Parts parts;
    for (const Column column : shown)
        (stays(column) ? parts.staying : parts.moving).push_back(column);
    for (const Column column : all)
        if (!stays(column) && std::find(shown.begin(), shown.end(), column) == shown.end())
            parts.moving.push_back(column);
    return parts;
}

// How many fit behind those that stay, from number `first` on.
[[nodiscard]] std::vector<Column> fitting(const Parts& parts, std::size_t first,
                                          std::size_t columns) {
    std::vector<Column> shown = parts.staying;
    for (std::size_t at = first; at < parts.moving.size(); ++at) {
        shown.push_back(parts.moving[at]);
        if (needed(shown) <= columns || shown.size() == 1) continue;
        shown.pop_back();
        break;
    }
    return shown;
}

// As far as it makes sense: the last column is seen then.
[[nodiscard]] std::size_t first_of(const Model& model, const Parts& parts, std::size_t columns) {
    std::size_t first = 0;
    while (first < model.view.columns_moved && first + 1 < parts.moving.size() &&
           fitting(parts, first, columns).size() <
               parts.staying.size() + parts.moving.size() - first)
        ++first;
    return first;
}

}  // namespace

const ColumnShape& shape_of(Column column) noexcept {
    return shapes[static_cast<std::size_t>(column)];
}

std::vector<Column> columns_shown(const Model& model, std::size_t columns) {
    const Parts parts = parts_of(model, columns);
    return fitting(parts, first_of(model, parts, columns), columns);
}

Beside columns_beside(const Model& model, std::size_t columns) {
    const Parts parts = parts_of(model, columns);
    const std::size_t first = first_of(model, parts, columns);
    const std::size_t seen = fitting(parts, first, columns).size() - parts.staying.size();
    return {first, parts.moving.size() - first - seen};
}

std::optional<Order> order_of(std::string text) {
    Order order;
    if (text.starts_with('-')) {
        order.is_reversed = true;
        text.erase(0, 1);
    } else if (text.ends_with(":r")) {
        order.is_reversed = true;
        text.resize(text.size() - 2);
    }
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (std::size_t at = 0; at < column_count; ++at) {
        if (text != word_for(at)) continue;
        order.column = static_cast<Column>(at);
        return order;
    }
    return std::nullopt;
}

std::string column_names() {
    std::string all = word_for(0);
    for (std::size_t at = 1; at < column_count; ++at) all += " " + word_for(at);
    return all;
}

}  // namespace shmbus::top
