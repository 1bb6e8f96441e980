// shm-top: watches a bus, and disturbs nobody on it.
//
// Everything is read from files that are mapped read-only, so it works without the daemon, with
// every process dead, and on a copy. Screens are functions of what was seen (screens.h); this file
// looks, draws and waits for keys, or prints.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "duration_option.h"
#include "exit_trouble.h"
#include "look/json.h"
#include "look/look.h"
#include "look/openmetrics.h"
#include "said_option.h"
#include "top/batch.h"
#include "top/columns.h"
#include "top/keys.h"
#include "top/screens.h"
#include "top/terminal.h"

namespace {

namespace look = shmbus::look;
namespace top = shmbus::top;
using shmbus::SetupError;
using shmbus::tools::Exit;
using shmbus::tools::Trouble;
using Clock = std::chrono::steady_clock;

constexpr std::size_t most_messages = 500;

struct CommandLine {
    std::string bus;
    std::string directory;
    std::string journal;
    bool is_batch = false;
    bool as_json = false;
    bool as_csv = false;
    bool as_openmetrics = false;
    bool is_quiet = false;
    bool has_time = false;
    bool ascii = false;
    unsigned long count = 0;  // 0: no end
    std::chrono::nanoseconds interval = std::chrono::seconds(1);
    std::size_t columns = 120;
    std::string endpoint;
    std::string sort;
    bool has_totals = false;
    bool is_read_only = false;
    std::string colour = "auto";

    [[nodiscard]] bool prints() const { return is_batch || as_json || as_csv || as_openmetrics; }
};

void add_options(CLI::App& app, CommandLine& line) {
    const auto words = [&app](const char* name, std::string& into, const char* what) {
        return shmbus::require_said(app.add_option(name, into, what));
    };
    auto* bus = words("--bus", line.bus,
                      "Name of the bus, or a path (with a slash); default: $SHMBUS_BUS or "
                      "'default'");
    words("--dir", line.directory, "Directory of the bus itself, or of a copy of it")
        ->excludes(bus);
    words("--journal", line.journal,
          "Directory of its journal; default: the one that the daemon has open, "
          "$SHMBUS_JOURNAL or the usual place");
    shmbus::add_duration(app, "-d,--interval", line.interval, "Between looks; default: 1s",
                         std::chrono::milliseconds(100));
    app.add_option("-n,--count", line.count,
                   "Print so many times, then end; default: for ever, "
                   "with --openmetrics once")
        // The parser takes -1 for a very large number.
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}));
    app.add_flag("-b,--batch", line.is_batch, "Print lines of text, no screen");
    app.add_flag("-t,--time", line.has_time, "Begin each line of text with the time");
    app.add_flag("-q,--quiet", line.is_quiet, "Print rows alone, without heads");
    app.add_option("-w,--width", line.columns, "Columns of text that is printed")
        ->check(CLI::Range(20, 1000))
        ->capture_default_str();
    auto* json =
        app.add_flag("--json", line.as_json, "Print a JSON object per look (schema shmbus.top/1)");
    auto* csv = app.add_flag("--csv", line.as_csv, "Print a row of CSV per endpoint and look")
                    ->excludes(json);
    app.add_flag("--openmetrics", line.as_openmetrics, "Print OpenMetrics text")
        ->excludes(json)
        ->excludes(csv);
    app.add_flag("--totals", line.has_totals,
                 "With --json and --csv: all that is counted as totals as well");
    app.add_option("-o,--sort", line.sort,
                   "Column that the table is sorted by; -COLUMN or COLUMN:r the other way round")
        ->check([](const std::string& text) {
            return top::order_of(text)
                       ? std::string()
                       : "'" + text + "' is no column; there are " + top::column_names();
        });
    app.add_flag("--read-only", line.is_read_only, "No key writes anything, not even w");
    words("--endpoint", line.endpoint, "Begin with this endpoint opened");
    app.add_option("--color", line.colour, "auto, always or never; NO_COLOR is honoured")
        ->check(CLI::IsMember({"auto", "always", "never"}))
        ->capture_default_str();
    app.add_flag("--ascii", line.ascii, "Draw with ASCII whatever the locale");
}

[[nodiscard]] look::Place place_of(const CommandLine& line) {
    if (line.directory.empty()) return look::place_of(line.bus, line.journal);
    // With a slash, so that it is taken for a path.
    const std::string path =
        line.directory.find('/') == std::string::npos ? "./" + line.directory : line.directory;
    look::Place place = look::place_of(path, line.journal);
    // A copy has its own journal beside it, or none: not the one of this environment.
    if (line.journal.empty()) place.journal = place.directory + "/journal";
    return place;
}

[[nodiscard]] std::chrono::nanoseconds interval_of(double seconds) {
    return std::chrono::nanoseconds(static_cast<std::int64_t>(std::llround(seconds * 1e9)));
}

// Ends also when nobody reads any more.
[[nodiscard]] bool put(const std::string& text) {
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
           std::fflush(stdout) == 0;
}

int print(const CommandLine& line, look::Looker& looker, top::Model& model) {
    const unsigned long count = line.count == 0 && line.as_openmetrics ? 1 : line.count;
    auto next = Clock::now();
    for (unsigned long round = 0; count == 0 || round < count; ++round) {
        std::this_thread::sleep_until(next);
        next += line.interval;
        const bool has_times = line.as_json || line.as_openmetrics;
        top::update(model, looker.look(has_times ? look::apart_everywhere : look::Apart{}));
        std::string text;
        if (line.as_json)
            text = look::json_text(model.now, model.rates, {-1, line.has_totals}) + "\n";
        else if (line.as_csv)
            text = (round == 0 && !line.is_quiet ? top::csv_head(line.has_totals) : "") +
                   top::csv_rows(model, line.has_totals);
        else if (line.as_openmetrics)
            text = look::openmetrics(model.now);
        else
            text = top::batch_text(model, {line.columns, line.is_quiet, line.has_time}) +
                   (line.is_quiet ? "" : "\n");
        if (put(text)) continue;
        if (errno == EPIPE) return EX_OK;
        throw Trouble(Exit::io,
                      "standard output took not all of it: " + shmbus::tools::system_words(errno));
    }
    return EX_OK;
}

void save(top::Model& model) {
    const std::string name =
        fmt::format("shm-top-{}-{}.json", model.now.name, model.now.taken_ns / 1'000'000'000);
    const std::string text =
        look::json_text(model.now, model.rates, {.indent = 2, .has_totals = true}) + "\n";
    errno = 0;  // streams do not say why; the system's calls below them do
    std::ofstream file(name);
    if (file) file << text;
    if (file) file.close();
    const int error = errno;
    if (file) {
        model.view.said = "written: " + name;
        return;
    }
    // The reason first: what does not fit on the screen is the end of a long path.
    std::error_code ignored;
    const auto folder = std::filesystem::current_path(ignored);
    model.view.said = top::plain("cannot write: " + shmbus::tools::system_words(error) + ": " +
                                 (folder / name).string());
}

using TakeUp = void(top::Model&, look::Snapshot);

void look_again(look::Looker& looker, top::Model& model, look::Apart apart,
                TakeUp& take_up = top::update) {
    try {
        take_up(model, looker.look(apart));
        // Read only where they are shown.
        if (model.view.screen == top::Screen::messages && model.endpoint())
            model.messages = looker.messages(model.now, *model.endpoint(), most_messages);
        if (model.view.screen == top::Screen::journal)
            model.journal_places = look::journal_places(model.now.journal.path);
    } catch (const look::NoBus&) {
        top::see_nothing(model,
                         "the bus is gone; what is shown is the last that was seen; waiting for it",
                         shmbus::base::realtime_ns());
    } catch (const SetupError& error) {
        top::see_nothing(model, error.tried() + ": " + error.on_what() + "; trying again",
                         shmbus::base::realtime_ns());
    }
}

[[nodiscard]] bool has_colours(const CommandLine& line) {
    if (line.colour == "always") return true;
    const char* const no_colour = std::getenv("NO_COLOR");
    return line.colour == "auto" && (no_colour == nullptr || *no_colour == '\0');
}

int show(const CommandLine& line, look::Looker& looker, top::Model& model) {
    top::Terminal terminal(has_colours(line));
    auto next = Clock::now() + line.interval;
    // Ends with a key or a signal.
    for (;;) {
        const int signal = top::Terminal::told_to_end();
        if (signal != 0) return signal == SIGINT ? EX_OK : 128 + signal;
        terminal.show(top::draw(model, terminal.size()));
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
        const auto key = terminal.wait(std::max(left, std::chrono::milliseconds(0)));
        top::Wish wish = top::Wish::nothing;
        if (key) wish = top::press(model, *key, terminal.size());
        if (wish == top::Wish::quit) return EX_OK;
        if (wish == top::Wish::see_more || wish == top::Wish::save) {
            // What is written has all there is, whatever the screen shows.
            const bool is_all = wish == top::Wish::save;
            look_again(looker, model, is_all ? look::apart_everywhere : top::apart_of(model.view),
                       top::see_more);
            if (is_all) save(model);
            continue;
        }
        const bool is_due = Clock::now() >= next;
        if (is_due) next = Clock::now() + interval_of(model.view.interval_s);
        if (wish == top::Wish::look || (is_due && !model.view.is_paused))
            look_again(looker, model, top::apart_of(model.view));
    }
}

void open_endpoint(const std::string& name, top::Model& model) {
    for (const look::Endpoint& endpoint : model.now.endpoints) {
        if (endpoint.name != name) continue;
        model.view.endpoint = endpoint.reference;
        static_cast<void>(top::press(model, top::Key::enter, {}));
        return;
    }
    throw SetupError{"opening an endpoint", name, 0,
                     "this bus has none of that name; 'shmbus endpoint ls' shows them"};
}

int run(const CommandLine& line) {
    if (line.has_totals && !line.as_json && !line.as_csv)
        throw CLI::ValidationError("--totals", "goes with --json or --csv");
    if (line.prints() && !line.endpoint.empty())
        throw CLI::ValidationError("--endpoint", "opens one on a screen; what is printed has all");
    top::Model model;
    model.view.is_read_only = line.is_read_only;
    if (const auto order = top::order_of(line.sort)) {
        model.view.sort = order->column;
        model.view.is_reversed = order->is_reversed;
    }
    const bool has_unicode = top::take_up_locale();
    model.alphabet = has_unicode && !line.ascii ? top::Alphabet::unicode : top::Alphabet::ascii;
    model.view.interval_s = std::chrono::duration<double>(line.interval).count();
    look::Looker looker(place_of(line));
    // A broken pipe is told by what write() answers.
    std::signal(SIGPIPE, SIG_IGN);
    if (line.prints()) return print(line, looker, model);
    // Before the screen: that there is no bus is said in plain text.
    top::update(model, looker.look());
    if (!line.endpoint.empty()) open_endpoint(line.endpoint, model);
    if (!model.now.apart.covers(top::apart_of(model.view)))
        look_again(looker, model, top::apart_of(model.view), top::see_more);
    return show(line, looker, model);
}

[[nodiscard]] Exit status_of(const SetupError& error) {
    if (error.system_error() == EACCES || error.system_error() == EPERM) return Exit::permission;
    return Exit::damaged;
}

int say(const Trouble& trouble) {
    std::cerr << trouble.text("shm-top");
    return static_cast<int>(trouble.status());
}

}  // namespace

int main(int count, char** words) {
    CommandLine line;
    CLI::App app("shm-top: watches a bus and disturbs nobody on it");
    app.set_version_flag("--version", SHMBUS_VERSION);
    app.footer(
        "Exit status: 0; 64 wrong usage; 65 the bus cannot be read; 69 there is no bus; "
        "74 output failed; 77 no permission.");
    add_options(app, line);
    try {
        app.parse(count, words);
        return run(line);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);
        return say(Trouble(Exit::usage, error.what(), "", "shm-top --help"));
    } catch (const look::NoBus& error) {
        return say(trouble_of(error, Exit::unavailable));
    } catch (const Trouble& trouble) {
        return say(trouble);
    } catch (const top::NoTerminal& error) {
        return say(trouble_of(error, Exit::usage));
    } catch (const SetupError& error) {
        return say(trouble_of(error, status_of(error)));
    } catch (const std::exception& error) {
        return say(Trouble(Exit::failed, error.what()));
    }
}
