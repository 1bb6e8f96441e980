// What happened on a bus, as far as two looks at it tell.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/log.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <utility>

#include "top/model.h"

namespace shmbus::top {
namespace {

class Changes {
public:
    Changes(const look::Snapshot& before, const look::Snapshot& after)
        : before_(before), after_(after) {}

    [[nodiscard]] std::vector<LogLine> find() {
        if (before_.uuid != after_.uuid) {
            say("another bus was made in this place", Style::warn);
            return std::move(lines_);
        }
        daemon();
        journal();
        for (const look::Process& process : after_.processes) came_or_changed(process);
        for (const look::Process& process : before_.processes)
            if (!after_.process(process.reference)) went(process);
        endpoints();
        return std::move(lines_);
    }

    void trouble(const look::Endpoint& endpoint, State old) {
        const State now = trouble_of(after_, endpoint);
        if (now == old) return;
        const std::string name = name_of(after_, endpoint);
        if (now == State::idle)
            say(fmt::format("{}: not {} any more", name, letter_of(old)), Style::good);
        else
            say(fmt::format("{}: {} {}", name, letter_of(now), meaning_of(now)), style_of(now));
    }
    [[nodiscard]] std::vector<LogLine> lines() { return std::move(lines_); }

private:
    void say(std::string text, Style style = Style::plain, std::uint64_t times = 1) {
        lines_.push_back({after_.taken_ns, std::move(text), style, times, after_.taken_ns});
    }
    [[nodiscard]] static std::string name_of(const look::Snapshot& seen,
                                             const look::Endpoint& endpoint) {
        return plain(seen.endpoint_name(endpoint));
    }
    [[nodiscard]] static std::string name_of(const look::Process& process) {
        return process.pid ? fmt::format("{} (pid {})", plain(process.name), *process.pid)
                           : plain(process.name);
    }

    void endpoints() {
        // There may be thousands.
        std::map<Reference, const look::Endpoint*> gone;
        for (const look::Endpoint& endpoint : before_.endpoints)
            gone[endpoint.reference] = &endpoint;
        for (const look::Endpoint& endpoint : after_.endpoints) {
            const auto old = gone.find(endpoint.reference);
            if (old != gone.end()) {
                changed(*old->second, endpoint);
                gone.erase(old);
            } else if (endpoint.kind != directory::EndpointKind::reply_inbox) {
                say(fmt::format("{}: the endpoint was made", name_of(after_, endpoint)));
            }
        }
        for (const auto& [reference, endpoint] : gone)
            if (endpoint->kind != directory::EndpointKind::reply_inbox)
                say(fmt::format("{}: the endpoint was removed", name_of(before_, *endpoint)));
    }

    void daemon() {
        const look::Daemon& old = before_.daemon;
        const look::Daemon& now = after_.daemon;
        const auto number = [](const look::Daemon& daemon) {
            return daemon.pid ? " " + std::to_string(*daemon.pid) : std::string();
        };
        const bool is_other = old.pid && now.pid && *old.pid != *now.pid;
        const bool was_alive = old.life == look::Life::alive;
        const bool is_alive = now.life == look::Life::alive;
        if (was_alive && (!is_alive || is_other))
            say("daemon" + number(old) + " is gone", Style::bad);
        if (is_alive && (!was_alive || is_other))
            say("daemon" + number(now) + " serves the bus", Style::good);
        stopped("daemon" + number(now), old.is_stopped && !is_other, now.is_stopped);
    }
    void stopped(const std::string& who, bool was, bool is) {
        if (!was && is) say(who + " is stopped by a signal or a debugger", Style::warn);
        if (was && !is) say(who + " goes on", Style::good);
    }

    void journal() {
        if (!before_.journal.is_in_use && after_.journal.is_in_use) say("the journal is in use");
        const std::uint8_t now = after_.journal.condition;
        if (before_.journal.condition == now) return;
        if (now == 0)
            say("the journal is in service again", Style::good);
        else
            say(fmt::format("the journal is out of service: {}", look::name_of_condition(now)),
                Style::bad);
    }

    void came_or_changed(const look::Process& process) {
        const look::Process* const old = before_.process(process.reference);
        const bool is_dead = process.life == look::Life::dead;
        if (!old) say(name_of(process) + " came");
        if ((!old || old->life != look::Life::dead) && is_dead)
            say(name_of(process) + how_it_went(process) + what_it_had(process),
                process.has_left.value_or(true) ? Style::plain : Style::bad);
        if (!is_dead) stopped(name_of(process), old && old->is_stopped, process.is_stopped);
    }
    void went(const look::Process& process) {
        // Its death was told before.
        if (process.life == look::Life::dead)
            say(name_of(process) + " was cleared away", Style::dim);
        else
            say(name_of(process) + " is gone" + what_it_had(process));
    }
    [[nodiscard]] static const char* how_it_went(const look::Process& process) {
        if (!process.has_left) return " is gone";
        return *process.has_left ? " left" : " died";
    }
    [[nodiscard]] std::string what_it_had(const look::Process& process) const {
        std::string had;
        for (const look::Endpoint& endpoint : before_.endpoints)
            for (const look::Consumer& consumer : endpoint.consumers)
                if (consumer.process == process.reference && !endpoint.name.empty())
                    had += (had.empty() ? "; it read " : ", ") + plain(endpoint.name);
        const look::Process* const old = before_.process(process.reference);
        if (old && old->lanes > 0)
            had += fmt::format("; it wrote {} lane{}", old->lanes, old->lanes == 1 ? "" : "s");
        return had;
    }

    void changed(const look::Endpoint& old, const look::Endpoint& now) {
        trouble(now, trouble_of(before_, old));
        consumers(old, now);
        lanes(old, now);
        const std::string name = name_of(after_, now);
        // Counters are read while they move, a sum of several may seem to go back.
        const auto more = [&](std::uint64_t before, std::uint64_t after, const char* what) {
            if (after > before) say(name + ": " + what, Style::bad, after - before);
        };
        const look::Counters& was = old.metrics.counters;
        const look::Counters& is = now.metrics.counters;
        more(was.failed, is.failed, "a message was given up, to the error endpoint");
        more(was.dropped, is.dropped, "a message was dropped, nobody there handles its type");
        more(old.dropped_newest(), now.dropped_newest(), "a new message was dropped, no room");
        more(old.dropped_oldest(), now.dropped_oldest(), "an old message was dropped, no room");
    }
    void consumers(const look::Endpoint& old, const look::Endpoint& now) {
        const auto has = [](const look::Endpoint& endpoint, Reference process) {
            return std::any_of(endpoint.consumers.begin(), endpoint.consumers.end(),
                               [&](const look::Consumer& one) { return one.process == process; });
        };
        const auto told = [&](const look::Endpoint& endpoint, const look::Endpoint& other,
                              const char* what) {
            if (endpoint.name.empty()) return;
            for (const look::Consumer& one : endpoint.consumers) {
                // Of the dead and the gone it is told elsewhere.
                const look::Process* const process = after_.process(one.process);
                if (process && process->life != look::Life::dead && !has(other, one.process))
                    say(fmt::format("{} {} {}", name_of(*process), what, plain(endpoint.name)));
            }
        };
        told(now, old, "opened");
        told(old, now, "closed");
    }
    void lanes(const look::Endpoint& old, const look::Endpoint& now) {
        for (const look::Lane& lane : now.lanes) {
            if (!lane.is_damaged()) continue;
            const bool was_damaged = std::any_of(
                old.lanes.begin(), old.lanes.end(),
                [&](const look::Lane& one) { return one.id == lane.id && one.is_damaged(); });
            if (!was_damaged)
                say(fmt::format("{}: lane {} of {} is damaged: {}", name_of(after_, now),
                                wire::lane_file(lane.id), plain(after_.process_name(lane.writer)),
                                plain(lane.trouble)),
                    Style::bad);
        }
    }

    const look::Snapshot& before_;
    const look::Snapshot& after_;
    std::vector<LogLine> lines_;
};

}  // namespace

std::vector<LogLine> changes_between(const look::Snapshot& before, const look::Snapshot& after) {
    return Changes(before, after).find();
}

std::vector<LogLine> first_lines(const look::Snapshot& seen) {
    Changes changes(seen, seen);
    for (const look::Endpoint& endpoint : seen.endpoints) changes.trouble(endpoint, State::idle);
    std::vector<LogLine> lines = changes.lines();
    lines.insert(lines.begin(),
                 {seen.taken_ns, "first look at this bus", Style::dim, 1, seen.taken_ns});
    return lines;
}

std::size_t Log::add(std::vector<LogLine> lines, std::size_t above) {
    std::size_t moved = 0;
    const auto remove = [&](std::size_t at) {
        lines_.erase(lines_.begin() + static_cast<std::ptrdiff_t>(at));
        moved += at + moved < above ? 1 : 0;
    };
    for (LogLine& line : lines) {
        for (std::size_t at = lines_.size(); at-- > 0;) {
            const LogLine& same = lines_[at];
            if (same.at_ns + same_for_ns < line.at_ns) break;
            if (same.text != line.text) continue;
            line.times += same.times;
            line.since_ns = same.since_ns;
            remove(at);
            break;
        }
        if (lines_.size() == most_lines) remove(0);
        lines_.push_back(std::move(line));
    }
    return moved;
}

}  // namespace shmbus::top
