// The terminal, by way of ncurses.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/terminal.h"

#include <curses.h>
#include <langinfo.h>
#include <poll.h>
#include <shmbus/result.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace shmbus::top {
namespace {

// Static, because a signal handler has no argument to carry it.
volatile std::sig_atomic_t ending_signal = 0;

void remember_signal(int number) { ending_signal = number; }

void catch_signals() noexcept {
    struct sigaction action {};
    action.sa_handler = remember_signal;
    // Without SA_RESTART, so that waiting for a key ends.
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT})
        ::sigaction(number, &action, nullptr);
}

[[nodiscard]] short pair_of(Style style) noexcept { return static_cast<short>(style) + 1; }

void make_colours() noexcept {
    ::start_color();
    ::use_default_colors();
    const auto make = [](Style style, short colour) { ::init_pair(pair_of(style), colour, -1); };
    make(Style::plain, -1);
    make(Style::head, COLOR_CYAN);
    make(Style::good, COLOR_GREEN);
    make(Style::warn, COLOR_YELLOW);
    make(Style::bad, COLOR_RED);
    make(Style::dim, -1);
    make(Style::bar, COLOR_BLUE);
    make(Style::key, COLOR_CYAN);
}

[[nodiscard]] attr_t attributes_of(const Span& span, bool has_colours) noexcept {
    attr_t attributes = A_NORMAL;
    if (span.style == Style::head || span.style == Style::bad) attributes |= A_BOLD;
    if (span.style == Style::dim) attributes |= A_DIM;
    if (has_colours) attributes |= static_cast<attr_t>(COLOR_PAIR(pair_of(span.style)));
    if (span.is_chosen) attributes |= A_REVERSE;
    return attributes;
}

[[nodiscard]] std::optional<Key> key_of_code(int code) noexcept {
    switch (code) {
        case KEY_UP:
            return Key::up;
        case KEY_DOWN:
            return Key::down;
        case KEY_LEFT:
            return Key::left;
        case KEY_RIGHT:
            return Key::right;
        case KEY_PPAGE:
            return Key::page_up;
        case KEY_NPAGE:
            return Key::page_down;
        case KEY_HOME:
            return Key::home;
        case KEY_END:
            return Key::end;
        case KEY_ENTER:
        case '\r':
            return Key::enter;
        case KEY_BACKSPACE:
        case 8:
            return Key::backspace;
        case KEY_F(1):
            return Key::f1;
        case KEY_F(3):
            return Key::f3;
        case KEY_F(4):
            return Key::f4;
        case KEY_F(10):
            return Key::f10;
        default:
            break;
    }
    return code > 0 && code < 128 ? std::optional(static_cast<Key>(code)) : std::nullopt;
}

}  // namespace

bool take_up_locale() noexcept {
    // Characters only: numbers are written and read the same everywhere.
    std::setlocale(LC_CTYPE, "");
    return std::strcmp(::nl_langinfo(CODESET), "UTF-8") == 0;
}

Terminal::Terminal(bool has_colours) {
    if (::isatty(STDOUT_FILENO) == 0 || ::isatty(STDIN_FILENO) == 0)
        throw NoTerminal{"showing a screen", "standard input and output", ENOTTY,
                         "these are no terminal: use -b for lines of text, or --json, --csv, "
                         "--openmetrics"};
    // Before ncurses, which otherwise would end the process in its own handlers.
    catch_signals();
    if (::newterm(nullptr, stdout, stdin) == nullptr)
        throw NoTerminal{"showing a screen", "a terminal of the kind that TERM names", 0,
                         "set TERM to what this terminal is, for example xterm; or use -b"};
    // A printer, or the window of an editor: it would show nothing but what is written last.
    if (::tigetstr("cup") == nullptr) {
        ::endwin();
        throw NoTerminal{"showing a screen", "a terminal whose cursor cannot be moved", 0,
                         "use another terminal, or -b for lines of text, or --json"};
    }
    ::cbreak();
    ::noecho();
    ::nonl();
    ::keypad(stdscr, TRUE);
    ::set_escdelay(25);
    ::curs_set(0);
    ::nodelay(stdscr, TRUE);
    has_colours_ = has_colours && ::has_colors() == TRUE;
    if (has_colours_) make_colours();
}

Terminal::~Terminal() {
    // Keys that were meant for the screen are none for the shell that comes after it.
    if (ending_signal != 0) ::flushinp();
    ::endwin();
}

Size Terminal::size() const noexcept {
    const int rows = ::getmaxy(stdscr);
    const int columns = ::getmaxx(stdscr);
    return {static_cast<std::size_t>(rows > 0 ? rows : 1),
            static_cast<std::size_t>(columns > 0 ? columns : 1)};
}

void Terminal::show(const Page& page) noexcept {
    ::werase(stdscr);
    int row = 0;
    for (const Line& line : page) {
        ::wmove(stdscr, row++, 0);
        for (const Span& span : line) {
            ::wattrset(stdscr, static_cast<int>(attributes_of(span, has_colours_)));
            ::waddstr(stdscr, span.text.c_str());
        }
    }
    ::wattrset(stdscr, A_NORMAL);
    ::wrefresh(stdscr);
}

std::optional<Key> Terminal::wait(std::chrono::milliseconds limit) noexcept {
    int code = ::wgetch(stdscr);
    if (code == ERR) {
        pollfd input{STDIN_FILENO, POLLIN, 0};
        const int ready = ::poll(&input, 1, static_cast<int>(limit.count()));
        // The terminal is gone: nobody will ever press a key.
        if (ready > 0 && (input.revents & (POLLHUP | POLLERR)) != 0 && ending_signal == 0)
            ending_signal = SIGHUP;
        code = ::wgetch(stdscr);
    }
    // KEY_RESIZE too: the caller draws anew, with the new size.
    return code == ERR ? std::nullopt : key_of_code(code);
}

int Terminal::told_to_end() noexcept { return ending_signal; }

}  // namespace shmbus::top
