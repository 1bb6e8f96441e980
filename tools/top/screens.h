// The screens: functions from a model and a size to lines of styled text.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <vector>

#include "top/cells.h"
#include "top/model.h"

namespace shmbus::top {

// The whole terminal: exactly `size.rows` lines, none wider than `size.columns`.
[[nodiscard]] Page draw(const Model& model, Size size);
// Rows that the table of this screen has room for: what PgDn moves by.
[[nodiscard]] std::size_t page_rows(Size size);

// Which row of the screen's table is chosen, and how many there are.
[[nodiscard]] std::size_t chosen_row(const Model& model);
[[nodiscard]] std::size_t row_count(const Model& model);

// Parts, one file each. They make as many lines as they have to say; draw() cuts.
[[nodiscard]] Page draw_summary(const Model& model, std::size_t columns);
[[nodiscard]] Page draw_endpoints(const Model& model, Size size);
[[nodiscard]] Page draw_endpoint(const Model& model, Size size);
[[nodiscard]] Page draw_lane(const Model& model, Size size);
[[nodiscard]] Page draw_messages(const Model& model, Size size);
[[nodiscard]] Page draw_blocked(const Model& model, Size size);
[[nodiscard]] Page draw_processes(const Model& model, Size size);
[[nodiscard]] Page draw_types(const Model& model, Size size);
[[nodiscard]] Page draw_journal(const Model& model, Size size);
[[nodiscard]] Page draw_log(const Model& model, Size size);
[[nodiscard]] Page draw_columns(const Model& model, Size size);
[[nodiscard]] Page draw_help(const Model& model, Size size);
[[nodiscard]] std::size_t help_lines() noexcept;

// A quantile of what came in the last interval; where nothing did, of all time: dim, with a *.
[[nodiscard]] Span quantile_text(const look::Histogram* latest, const look::Histogram& ever,
                                 double q);
// The same as a line of quantiles, with how many values there are.
[[nodiscard]] Line quantiles_line(const char* what, const look::Histogram* latest,
                                  const look::Histogram& ever);
// What is written into the journal: "7.59K/s"; "-" before there are two snapshots.
[[nodiscard]] std::string journal_rate_text(const look::Rates& rates);

// The lines of a table that are to be seen: `rows` of them, the chosen one among them. Of others
// than those, nothing is drawn.
struct Window {
    std::size_t begin = 0;
    std::size_t end = 0;
};
[[nodiscard]] Window window_around(std::size_t chosen, std::size_t count, std::size_t rows);
// All of a line reversed, up to the width.
[[nodiscard]] Line chosen(Line line, std::size_t columns);

}  // namespace shmbus::top
