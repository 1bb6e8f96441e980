// What keys move: screens, choices, columns.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/moves.h"

#include <algorithm>

#include "top/columns.h"
#include "top/screens.h"

namespace shmbus::top {

void enter(Model& model, Screen screen) {
    if (model.view.screen == screen) return;
    model.view.before.push_back(model.view.screen);
    model.view.screen = screen;
}
void go_back(Model& model) {
    if (model.view.before.empty()) {
        model.view.screen = Screen::endpoints;
        return;
    }
    model.view.screen = model.view.before.back();
    model.view.before.pop_back();
}
void go_to(Model& model, Screen screen) {
    model.view.before.clear();
    model.view.screen = screen;
}

void move(Model& model, std::ptrdiff_t by) {
    View& view = model.view;
    const auto moved = [&](std::size_t from, std::size_t rows) {
        const auto last = static_cast<std::ptrdiff_t>(rows) - 1;
        return static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(
            static_cast<std::ptrdiff_t>(from) + by, 0, std::max<std::ptrdiff_t>(last, 0)));
    };
    if (view.screen == Screen::endpoints) {
        const auto rows = shown_endpoints(model);
        if (rows.empty()) return;
        view.endpoint = rows[moved(chosen_row(model), rows.size())]->reference;
    } else if (view.screen == Screen::endpoint) {
        const look::Endpoint* const endpoint = model.endpoint();
        if (!endpoint || endpoint->lanes.empty()) return;
        view.lane = endpoint->lanes[moved(chosen_row(model), endpoint->lanes.size())].id;
    } else {
        const std::size_t row = moved(chosen_row(model), row_count(model));
        // At its end a log is followed.
        if (view.screen == Screen::log && row + 1 >= row_count(model))
            view.row.erase(Screen::log);
        else
            view.row[view.screen] = row;
    }
}

void mark(Model& model) {
    View& view = model.view;
    const look::Endpoint* const endpoint = model.endpoint();
    if (!endpoint) return;
    move(model, 1);
    if (view.marked.erase(endpoint->reference) == 0) view.marked.insert(endpoint->reference);
}

void find_next(Model& model) {
    View& view = model.view;
    const auto rows = shown_endpoints(model);
    if (view.find.empty() || rows.empty()) return;
    const std::size_t from = chosen_row(model);
    for (std::size_t step = 1; step <= rows.size(); ++step) {
        const look::Endpoint* const row = rows[(from + step) % rows.size()];
        if (model.now.endpoint_name(*row).find(view.find) == std::string::npos) continue;
        view.endpoint = row->reference;
        return;
    }
    view.said = "nothing here is called '" + view.find + "'";
}

void drill(Model& model) {
    View& view = model.view;
    if (view.screen == Screen::endpoints && model.endpoint()) {
        enter(model, Screen::endpoint);
        const auto& lanes = model.endpoint()->lanes;
        if (!model.lane()) view.lane = lanes.empty() ? 0 : lanes.front().id;
    } else if (view.screen == Screen::endpoint && model.lane()) {
        enter(model, Screen::lane);
    } else if (view.screen == Screen::columns) {
        const auto column = static_cast<Column>(chosen_row(model));
        // Without its name a row says nothing.
        if (column != Column::name && view.hidden.erase(column) == 0) view.hidden.insert(column);
    }
}

void go_aside(Model& model, bool right, Size size) {
    View& view = model.view;
    if (view.screen != Screen::endpoints) {
        if (right)
            drill(model);
        else
            go_back(model);
        return;
    }
    const Beside beside = columns_beside(model, size.columns);
    // What was moved in a narrower terminal counts no more than it does here.
    view.columns_moved = beside.left;
    if (right && beside.right > 0) ++view.columns_moved;
    if (!right && beside.left > 0) --view.columns_moved;
}

void sort_by_neighbour(Model& model, int step) {
    const auto shown = columns_shown(model, std::size_t{1} << 16);
    auto found = std::find(shown.begin(), shown.end(), model.view.sort);
    const auto at = found == shown.end() ? 0 : found - shown.begin();
    const auto last = static_cast<std::ptrdiff_t>(shown.size()) - 1;
    model.view.sort =
        shown[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(at + step, 0, last))];
}

}  // namespace shmbus::top
