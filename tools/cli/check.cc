// shmbus check: one line for a monitoring system, and 0 fine, 1 warning, 2 critical, 3 cannot be
// told.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include <fmt/core.h>

#include "cli/ask_daemon.h"
#include "cli/listing.h"
#include "cli/nouns.h"
#include "cli/open_bus.h"
#include "cli/trouble.h"
#include "look/traces.h"

namespace shmbus::cli {

namespace {

using namespace std::chrono_literals;

struct CheckLine {
    std::string what;
    std::optional<std::uint64_t> warn;
    std::optional<std::uint64_t> critical;
};

enum class State : int { fine = 0, warning = 1, critical = 2, unknown = 3 };
struct Checked {
    State state = State::fine;
    std::string says;
    // What a monitoring system draws: name=value;warn;critical
    std::string figures;
};

[[nodiscard]] State judge(std::uint64_t value, std::uint64_t warn, std::uint64_t critical) {
    if (value >= critical) return State::critical;
    return value >= warn ? State::warning : State::fine;
}

[[nodiscard]] Checked counted(const char* name, std::uint64_t value, const std::string& says,
                              const CheckLine& line, std::uint64_t warn, std::uint64_t critical) {
    // One that is said moves the default of the other one out of its way.
    const std::uint64_t warn_at =
        line.warn.value_or(std::min(warn, line.critical.value_or(warn)));
    const std::uint64_t critical_at = line.critical.value_or(std::max(critical, warn_at));
    return {judge(value, warn_at, critical_at), says,
            fmt::format("{}={};{};{}", name, value, warn_at, critical_at)};
}

[[nodiscard]] Checked check_alive(const OpenBus& bus) {
    const DaemonSays says = ask_daemon(bus.folder().directory(), 2s);
    switch (says.state) {
        case DaemonSays::State::answers:
            return {State::fine, fmt::format("daemon {} answers", says.pid),
                    fmt::format("uptime={}s", says.uptime / 1s)};
        case DaemonSays::State::silent: return {State::critical, "the daemon does not answer", ""};
        case DaemonSays::State::foreign:
            return {State::critical, "the daemon is of another version", ""};
        case DaemonSays::State::absent: break;
    }
    return {State::critical, "no daemon runs", ""};
}

// Messages that wait or are in hands, in the fullest endpoint of these kinds, and in all.
struct Depth {
    std::uint64_t most = 0;
    std::uint64_t all = 0;
    std::string where;
};
[[nodiscard]] Depth depth_of(const look::Snapshot& seen, directory::EndpointKind kind) {
    Depth depth;
    for (const look::Endpoint& endpoint : seen.endpoints) {
        if (endpoint.kind != kind) continue;
        require_readable(endpoint);
        const std::uint64_t here = endpoint.depth();
        depth.all += here;
        if (here < depth.most || (here == 0 && !depth.where.empty())) continue;
        depth.most = here;
        depth.where = endpoint.name;
    }
    return depth;
}

[[nodiscard]] Checked check_backlog(const look::Snapshot& seen, const CheckLine& line) {
    const Depth depth = depth_of(seen, directory::EndpointKind::ordinary);
    return counted("backlog", depth.most,
                   depth.where.empty() ? std::string("there is no endpoint")
                                       : fmt::format("{} messages in {}, the fullest", depth.most,
                                                     depth.where),
                   line, 10'000, 100'000);
}

[[nodiscard]] Checked check_failed(const look::Snapshot& seen, const CheckLine& line) {
    const Depth depth = depth_of(seen, directory::EndpointKind::error);
    return counted("failed", depth.all, fmt::format("{} failed messages", depth.all), line, 1, 100);
}

[[nodiscard]] Checked check_journal(const OpenBus& bus, const look::Snapshot& seen,
                                    const CheckLine& line) {
    const look::Journal& journal = seen.journal;
    if (!journal.is_in_use) {
        // A daemon takes up what is there when it starts; then the bus has an endpoint for it.
        look::Journal files;
        look::find_journal(look::journal_of_bus(bus.location()), files);
        if (files.is_left())
            return {State::critical,
                    "the journal in " + files.path + " is not taken up: see the daemon's log, and "
                    "'shmbus journal verify'", ""};
        // The daemon alone may know where it lies.
        if (ask_daemon(bus.folder().directory(), 2s).journal != 0)
            return {State::critical, "the journal is not taken up: see the daemon's log", ""};
        return {State::fine, "no durable message was ever sent here", ""};
    }
    if (journal.condition == 1) return {State::critical, "the journal's disk is full", ""};
    if (journal.condition == 2) return {State::critical, "the journal is out of service", ""};
    return counted("lag", journal.lag,
                   fmt::format("{} durable messages are not on disk yet", journal.lag), line,
                   10'000, 100'000);
}

[[nodiscard]] Checked check_one(const OpenBus& bus, const look::Snapshot& seen,
                                const CheckLine& line, const std::string& what) {
    if (what == "alive") return check_alive(bus);
    if (what == "backlog") return check_backlog(seen, line);
    if (what == "journal") return check_journal(bus, seen, line);
    return check_failed(seen, line);
}

void say(const Common& common, State state, const std::string& what, const Checked& checked) {
    const char* const names[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
    const char* const name = names[static_cast<int>(state)];
    if (common.format == Format::table) {
        print_line(fmt::format("SHMBUS {} {} - {}{}", what, name, checked.says,
                               checked.figures.empty() ? "" : " | " + checked.figures));
    } else {
        Facts facts("shmbus.check/1");
        facts.add("check", what);
        facts.add("state", name);
        facts.add("says", checked.says);
        facts.add("figures", checked.figures);
        facts.print(common);
    }
    flush_output();
    throw Ended{static_cast<int>(state)};
}

void check(const Common& common, const CheckLine& line) {
    if (line.warn && line.critical && *line.warn > *line.critical)
        throw Trouble(Exit::usage,
                      fmt::format("--warn {} is above --crit {}: nothing would ever be a warning",
                                  *line.warn, *line.critical),
                      "the two are swapped",
                      fmt::format("shmbus check --warn {} --crit {}", *line.critical, *line.warn));
    const std::string what = line.what.empty() ? "all" : line.what;
    Checked worst;
    try {
        const OpenBus bus(common);
        // Whether the daemon answers is asked of itself, however large the bus is.
        const auto seen = line.what == "alive" ? look::Snapshot() : bus.look();
        if (!line.what.empty()) {
            worst = check_one(bus, seen, line, line.what);
        } else {
            for (const char* const one : {"alive", "backlog", "journal", "failed"}) {
                Checked checked = check_one(bus, seen, line, one);
                const std::string figures = worst.figures + (worst.figures.empty() ? "" : " ") +
                                            checked.figures;
                if (checked.state > worst.state || worst.says.empty()) worst = std::move(checked);
                worst.figures = figures;
            }
        }
    } catch (const SetupError& error) {
        worst = {State::unknown, trouble_of(error).what(), ""};
    } catch (const std::exception& error) {
        // Of a library's error, which has several lines, the first.
        const std::string text = error.what();
        worst = {State::unknown, text.substr(0, text.find('\n')), ""};
    }
    say(common, worst.state, what, worst);
}

}  // namespace

void add_check_command(const Command& app, const Common& common) {
    auto line = std::make_shared<CheckLine>();
    const Command probe = app.add("check", "For monitoring: one line, and 0, 1, 2 or 3");
    probe.option("what", line->what, "alive, backlog, journal or failed; default: all")
        .one_of({"alive", "backlog", "journal", "failed"});
    probe.option("--warn", line->warn, "A warning from so many messages on");
    probe.option("--crit", line->critical, "Critical from so many messages on");
    probe.runs([&common, line] { check(common, *line); });
}

}  // namespace shmbus::cli
