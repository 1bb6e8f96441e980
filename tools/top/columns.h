// The columns of the main table: what they are called, and which of them fit beside each other.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "top/model.h"
#include "top/table.h"

namespace shmbus::top {

struct ColumnShape {
    const char* head;
    std::size_t columns;
    Side side;
    unsigned goes;  // the greater, the earlier it goes when the terminal is narrow
};
[[nodiscard]] const ColumnShape& shape_of(Column column) noexcept;

// Those that fit, as far as they are to be seen: state and name, then, from the one that was moved
// to the left, those that matter most in a narrow terminal, then the others.
[[nodiscard]] std::vector<Column> columns_shown(const Model& model, std::size_t columns);
// Columns to the left of those that are shown, and to the right.
struct Beside {
    std::size_t left = 0;
    std::size_t right = 0;
};
[[nodiscard]] Beside columns_beside(const Model& model, std::size_t columns);

// "depth", and "-depth" or "depth:r" for the other way round; small letters or not. Nothing: there
// is no such column, column_names() says which there are.
struct Order {
    Column column = Column::state;
    bool is_reversed = false;
};
[[nodiscard]] std::optional<Order> order_of(std::string text);
[[nodiscard]] std::string column_names();

}  // namespace shmbus::top
