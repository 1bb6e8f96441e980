// What the keys do: from a model and a key to a changed model.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/keys.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

#include "duration.h"
#include "top/columns.h"
#include "top/screens.h"

namespace shmbus::top {
namespace {

using namespace std::chrono_literals;

constexpr double least_interval_s = 0.1;
constexpr double most_interval_s = 3600;

// Goes to a screen so that Esc comes back.
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
// One of the screens beside each other.
void go_to(Model& model, Screen screen) {
    model.view.before.clear();
    model.view.screen = screen;
}

// Moves the choice by `by` rows among those of the screen; where that is a thing and not a number,
// it stays with the thing when the order changes.
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

// Marks the chosen endpoint or takes its mark away, and goes on to the one that was below it: so
// that several are marked in a row, though each goes to the top.
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

void begin_input(Model& model, Input input) {
    model.view.input = input;
    model.view.typed = input == Input::filter ? model.view.filter : "";
}

void end_input(Model& model) {
    View& view = model.view;
    const Input input = view.input;
    view.input = Input::none;
    if (input == Input::filter) view.filter = view.typed;
    if (input == Input::find) {
        view.find = view.typed;
        go_to(model, Screen::endpoints);
        find_next(model);
    }
    if (input != Input::interval) return;
    const double seconds =
        std::chrono::duration<double>(duration_of(view.typed).value_or(0ns)).count();
    if (seconds < least_interval_s || seconds > most_interval_s)
        view.said = fmt::format("'{}' is no time from {} s to {} s", view.typed, least_interval_s,
                                most_interval_s);
    else
        view.interval_s = seconds;
}

void type(Model& model, Key key) {
    View& view = model.view;
    const auto code = static_cast<std::uint16_t>(key);
    if (key == Key::enter)
        end_input(model);
    else if (key == Key::escape)
        view.input = Input::none;
    else if (key == Key::backspace && !view.typed.empty())
        view.typed.pop_back();
    else if (code >= ' ' && code < 127 && view.typed.size() < 60)
        view.typed += static_cast<char>(code);
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

void sort_by_neighbour(Model& model, int step) {
    const auto shown = columns_shown(model, std::size_t{1} << 16);
    auto found = std::find(shown.begin(), shown.end(), model.view.sort);
    const auto at = found == shown.end() ? 0 : found - shown.begin();
    const auto last = static_cast<std::ptrdiff_t>(shown.size()) - 1;
    model.view.sort =
        shown[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(at + step, 0, last))];
}

// The error endpoint that has most.
[[nodiscard]] const look::Endpoint* fullest_error(const Model& model) {
    const look::Endpoint* most = nullptr;
    for (const look::Endpoint& endpoint : model.now.endpoints)
        if (endpoint.kind == directory::EndpointKind::error &&
            (most == nullptr || endpoint.depth() > most->depth()))
            most = &endpoint;
    return most;
}

[[nodiscard]] Wish show_failed(Model& model) {
    const look::Endpoint* const most = fullest_error(model);
    if (most == nullptr) {
        model.view.said = "this bus has no error endpoint: nothing has failed yet";
        return Wish::nothing;
    }
    go_to(model, Screen::endpoints);
    model.view.endpoint = most->reference;
    model.messages.clear();
    enter(model, Screen::messages);
    return Wish::look;
}

[[nodiscard]] Wish press_letter(Model& model, char letter) {
    View& view = model.view;
    switch (letter) {
        case 'q':
            return Wish::quit;
        case 'w':
            if (!view.is_read_only) return Wish::save;
            view.said = "nothing is written: shm-top was started with --read-only";
            break;
        case ' ':
            if (view.screen == Screen::columns) drill(model);
            if (view.screen == Screen::endpoints) mark(model);
            break;
        case 'U':
            view.marked.clear();
            break;
        case 'u':
            return Wish::look;
        case '1':
            go_to(model, Screen::endpoints);
            break;
        case '2':
            go_to(model, Screen::processes);
            break;
        case '3':
        case 's':
            go_to(model, Screen::types);
            break;
        case '4':
        case 'J':
            go_to(model, Screen::journal);
            return Wish::see_more;
        case 'e':
            go_to(model, Screen::endpoints);
            break;
        case 'b':
            if (model.endpoint()) enter(model, Screen::blocked);
            break;
        case '5':
        case 'F':
            return show_failed(model);
        case '6':
            go_to(model, Screen::log);
            break;
        case 'm':
            if (!model.endpoint()) break;
            model.messages.clear();
            enter(model, Screen::messages);
            return Wish::look;
        case 'c':
            enter(model, Screen::columns);
            break;
        case '?':
        case 'H':
            enter(model, Screen::help);
            break;
        case 'h':
            go_back(model);
            break;
        case 'j':
            move(model, 1);
            break;
        case 'k':
            move(model, -1);
            break;
        case 'l':
            drill(model);
            break;
        case 'g':
            move(model, -(std::ptrdiff_t{1} << 30));
            break;
        case 'G':
            move(model, std::ptrdiff_t{1} << 30);
            break;
        case '<':
            sort_by_neighbour(model, -1);
            break;
        case '>':
            sort_by_neighbour(model, 1);
            break;
        case 'r':
            view.is_reversed = !view.is_reversed;
            break;
        case '/':
            begin_input(model, Input::find);
            break;
        case 'n':
            find_next(model);
            break;
        case '\\':
        case 'f':
            begin_input(model, Input::filter);
            break;
        case 'd':
            begin_input(model, Input::interval);
            break;
        case 'p':
            view.is_paused = !view.is_paused;
            break;
        default:
            break;
    }
    return Wish::nothing;
}

// The digit that leads to the screen behind this one, round about.
[[nodiscard]] char next_tab(const Model& model) {
    switch (model.view.screen) {
        case Screen::endpoints:
            return '2';
        case Screen::processes:
            return '3';
        case Screen::types:
            return '4';
        case Screen::journal:
            return fullest_error(model) ? '5' : '6';
        case Screen::messages:
            return model.endpoint() && model.endpoint()->kind == directory::EndpointKind::error
                       ? '6'
                       : '1';
        default:
            return '1';
    }
}

// The columns of the main table by one to the left or right; elsewhere in and out.
void go_aside(Model& model, bool right, Size size) {
    View& view = model.view;
    if (view.screen != Screen::endpoints) {
        right ? drill(model) : go_back(model);
        return;
    }
    const Beside beside = columns_beside(model, size.columns);
    // What was moved in a narrower terminal counts no more than it does here.
    view.columns_moved = beside.left;
    if (right && beside.right > 0) ++view.columns_moved;
    if (!right && beside.left > 0) --view.columns_moved;
}

[[nodiscard]] Wish press_key(Model& model, Key key, Size size) {
    const auto rows = static_cast<std::ptrdiff_t>(std::max<std::size_t>(page_rows(size), 1));
    switch (key) {
        case Key::up:
            move(model, -1);
            break;
        case Key::down:
            move(model, 1);
            break;
        case Key::page_up:
            move(model, -rows);
            break;
        case Key::page_down:
            move(model, rows);
            break;
        case Key::home:
            move(model, -(std::ptrdiff_t{1} << 30));
            break;
        case Key::end:
            move(model, std::ptrdiff_t{1} << 30);
            break;
        case Key::right:
        case Key::left:
            go_aside(model, key == Key::right, size);
            break;
        case Key::enter:
            drill(model);
            break;
        case Key::backspace:
        case Key::escape:
            go_back(model);
            break;
        case Key::tab:
            return press_letter(model, next_tab(model));
        case Key::f1:
            enter(model, Screen::help);
            break;
        case Key::f3:
            begin_input(model, Input::find);
            break;
        case Key::f4:
            begin_input(model, Input::filter);
            break;
        case Key::f10:
            return Wish::quit;
        default:
            return press_letter(model, static_cast<char>(key));
    }
    return Wish::nothing;
}

}  // namespace

Wish press(Model& model, Key key, Size size) {
    View& view = model.view;
    view.said.clear();
    if (view.input != Input::none) {
        type(model, key);
        return Wish::nothing;
    }
    const Wish wish = press_key(model, key, size);
    if (view.screen == Screen::help) {
        // A page is moved there, no choice in it.
        const std::size_t last = help_lines() - std::min(help_lines(), page_rows(size));
        view.row[Screen::help] = std::min(view.row[Screen::help], last);
    }
    return wish == Wish::nothing && !model.now.apart.covers(apart_of(view)) ? Wish::see_more : wish;
}

}  // namespace shmbus::top
