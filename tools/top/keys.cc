// What the keys do: from a model and a key to a changed model.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/keys.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "duration.h"
#include "top/moves.h"
#include "top/screens.h"

namespace shmbus::top {
namespace {

using namespace std::chrono_literals;

constexpr double least_interval_s = 0.1;
constexpr double most_interval_s = 3600;

void begin_input(Model& model, Input input) {
    model.view.input = input;
    model.view.typed = input == Input::filter ? model.view.filter.text() : "";
}

void end_input(Model& model) {
    View& view = model.view;
    const Input input = view.input;
    view.input = Input::none;
    if (input == Input::filter) {
        try {
            view.filter = Filter(view.typed);
        } catch (const std::invalid_argument& why) {
            view.said = fmt::format("'{}' is no filter: {}", view.typed, why.what());
        }
    }
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
    else if (key == Key::clear)
        view.typed.clear();
    else if (code >= ' ' && code < 127 && view.typed.size() < 60)
        view.typed += static_cast<char>(code);
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
