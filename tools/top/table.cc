// A table of a screen.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/table.h"

#include <utility>

namespace shmbus::top {
namespace {

constexpr std::size_t least_flexible = 10;

[[nodiscard]] std::size_t needed(const std::vector<Field>& fields) {
    std::size_t columns = fields.empty() ? 0 : fields.size() - 1;
    for (const Field& field : fields)
        columns += field.columns == 0 ? least_flexible : field.columns;
    return columns;
}

}  // namespace

Table::Table(std::vector<Field> fields, std::size_t columns) : fields_(std::move(fields)) {
    while (fields_.size() > 1 && needed(fields_) > columns) fields_.pop_back();
    for (Field& field : fields_)
        if (field.columns == 0)
            field.columns = least_flexible + (columns - std::min(columns, needed(fields_)));
}

Line Table::head() const {
    std::vector<Span> cells;
    for (const Field& field : fields_) cells.push_back({field.head, Style::head});
    return row(cells);
}

Line Table::row(const std::vector<Span>& cells) const {
    Line line;
    for (std::size_t at = 0; at < fields_.size() && at < cells.size(); ++at) {
        const Field& field = fields_[at];
        if (at > 0) line.push_back({" ", Style::plain});
        line.push_back({field.side == Side::left ? left(cells[at].text, field.columns)
                                                 : right(cells[at].text, field.columns),
                        cells[at].style});
    }
    return line;
}

}  // namespace shmbus::top
