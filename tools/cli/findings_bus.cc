// What of a bus may be wrong: its daemon, processes, files, messages. See findings.h.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <vector>

#include <fmt/core.h>

#include "cli/ask_daemon.h"
#include "cli/findings.h"
#include "cli/living.h"
#include "cli/member.h"

namespace shmbus::cli {

namespace {

using namespace std::chrono_literals;
using Grade = Finding::Grade;

// Up to three names, then how many more.
[[nodiscard]] std::string some_of(const std::vector<std::string>& names) {
    constexpr std::size_t most = 3;
    std::string text;
    for (std::size_t at = 0; at < names.size() && at < most; ++at)
        text += (at > 0 ? ", " : "") + names[at];
    if (names.size() > most) text += fmt::format(" and {} more", names.size() - most);
    return text;
}

[[nodiscard]] bool look_at_daemon(const OpenBus& bus, Findings& into) {
    const DaemonSays says = ask_daemon(bus.folder().directory(), 2s);
    switch (says.state) {
        case DaemonSays::State::answers:
            into.push_back({Grade::good, "daemon",
                            fmt::format("process {} answers, since {} s", says.pid,
                                        says.uptime / 1s), "", {}});
            return true;
        case DaemonSays::State::silent:
            into.push_back({Grade::failure, "daemon",
                            "it holds its socket and does not answer: it is stopped, or its machine"
                            " is very busy", "shmbus process ls; ps -o stat,pid,args -C shmbusd",
                            {}});
            return true;
        case DaemonSays::State::foreign:
            into.push_back({Grade::failure, "daemon", "it is of another version: " + says.why,
                            "restart it and the programs of this bus from one installation", {}});
            return true;
        case DaemonSays::State::absent: break;
    }
    into.push_back({Grade::warning, "daemon",
                    "none runs: open lanes work on, nothing new can be opened, nothing is cleared "
                    "away, durable messages wait", "shmbus run, or any program of the bus", {}});
    return false;
}

void look_at_processes(const Common& common, const OpenBus& bus, const look::Snapshot& seen,
                       bool has_daemon, Findings& into) {
    Living living(bus);
    std::vector<std::string> dead;
    std::vector<std::string> stopped;
    std::size_t alive = 0;
    for (const auto& one : bus.participants()) {
        const std::string name = fmt::format("{} ({})", one.name(), one.row.host_pid);
        const Living::State state = living.state_of(one.reference());
        if (state == Living::State::dead) dead.push_back(name);
        if (state != Living::State::alive) continue;
        ++alive;
        const look::Process* const process = seen.process(one.reference());
        if (process != nullptr && process->is_stopped) stopped.push_back(name);
    }
    if (!stopped.empty())
        into.push_back({Grade::failure, "processes",
                        "stopped by a signal or a debugger, with all that they hold: " +
                            some_of(stopped), "kill -CONT PID, or kill -KILL PID", {}});
    if (!dead.empty()) {
        Finding finding{Grade::warning, "processes",
                        "dead, and not all that they left is cleared away: " + some_of(dead),
                        has_daemon ? "what they held is for the next consumer: shmbus endpoint ls"
                                   : "start the daemon: shmbus run", {}};
        if (!has_daemon)
            finding.mend = [&common] {
                static_cast<void>(join(common));
                return std::string("a daemon was started, which clears away");
            };
        into.push_back(std::move(finding));
    }
    into.push_back({Grade::good, "processes", fmt::format("{} are alive", alive), "", {}});
}

// Files that no row names; a daemon removes them when it starts.
void look_at_files(const Common& common, const OpenBus& bus, bool has_daemon, Findings& into) {
    if (has_daemon) return;
    std::set<std::string> named;
    for (const auto& lane : bus.lanes()) named.insert(wire::lane_file(lane.id));
    for (const auto& one : bus.endpoints()) named.insert(wire::numbered_file(one.reference()));
    for (const auto& one : bus.participants()) named.insert(wire::numbered_file(one.reference()));
    std::vector<std::string> stale;
    for (const char* const folder : {wire::lanes_folder, wire::inboxes_folder,
                                     wire::participants_folder})
        for (const auto& entry :
             std::filesystem::directory_iterator(bus.location().directory + "/" + folder))
            if (!named.contains(entry.path().filename().string()))
                stale.push_back(std::string(folder) + "/" + entry.path().filename().string());
    if (stale.empty()) return;
    into.push_back({Grade::warning, "files", "left over, of no use: " + some_of(stale),
                    "start the daemon, which removes them: shmbus run", [&common] {
                        static_cast<void>(join(common));
                        return std::string("a daemon was started, which removes them");
                    }});
}

// Whoever is told to do something on the bus is to find a place there.
[[nodiscard]] bool look_at_places(const OpenBus& bus, Findings& into) {
    const directory::Table table = directory::Table::participants;
    // Row 0 is nobody's.
    const std::size_t places =
        bus.reader().identity().rows[static_cast<std::size_t>(table)] - std::size_t{1};
    const auto participants = bus.participants();
    // Who has left lanes alone makes room for who joins.
    const auto taken = static_cast<std::size_t>(
        std::ranges::count_if(participants, [](const directory::Participant& one) {
            return one.row.state != directory::RowState::leaving;
        }));
    if (taken < places) return true;
    into.push_back({Grade::failure, "processes",
                    fmt::format("no other can join: all {} places of the bus are taken", places),
                    "end one of those that shmbus process ls shows; a bus that is made anew has as "
                    "many as [tables] in the daemon's configuration says", {}});
    return false;
}

// What helps where messages wait for nobody.
[[nodiscard]] const char* way_out(bool has_daemon, bool has_place) noexcept {
    if (!has_place) return "start the receiver, or shmbus endpoint purge NAME, when one can join";
    if (has_daemon) return "start the receiver; or shmbus endpoint purge NAME";
    return "start the receiver; or shmbus run, and shmbus endpoint purge NAME beside it";
}

void look_at_endpoints(const look::Snapshot& seen, const char* for_waiting, Findings& into) {
    std::vector<std::string> damaged;
    std::vector<std::string> full;
    std::vector<std::string> waiting;
    std::uint64_t failed = 0;
    for (const look::Endpoint& one : seen.endpoints) {
        if (one.sight == look::Sight::damaged)
            damaged.push_back("inbox of " + one.name + ": " + one.trouble);
        for (const look::Lane& lane : one.lanes) {
            if (lane.is_damaged())
                damaged.push_back("lane " + wire::lane_file(lane.id) + " into " + one.name);
            if (lane.wants_room) full.push_back(one.name);
        }
        if (one.sight == look::Sight::damaged)
            continue;  // nothing can be taken out of it
        if (one.kind == directory::EndpointKind::error)
            failed += one.depth();
        else if (one.waiting() != 0 && one.owner == 0 &&
                 one.kind != directory::EndpointKind::journal && !seen.is_served(one))
            waiting.push_back(fmt::format("{} ({})", one.name, one.waiting()));
    }
    if (!damaged.empty())
        into.push_back({Grade::failure, "files",
                        "damaged or cut short by a stranger: " + some_of(damaged),
                        "find out who writes there; what they held may be lost. Senders open other "
                        "lanes by themselves; an inbox is made anew with its endpoint, behind "
                        "shmbus endpoint rm NAME", {}});
    if (!full.empty())
        into.push_back({Grade::warning, "queues", "senders wait for room in: " + some_of(full),
                        "shmbus endpoint show NAME tells who holds what", {}});
    if (!waiting.empty())
        into.push_back({Grade::warning, "queues",
                        "messages wait where no living process listens: " + some_of(waiting),
                        for_waiting, {}});
    if (failed != 0)
        into.push_back({Grade::warning, "failed", fmt::format("{} messages failed", failed),
                        "shmbus failed ls --group-by reason", {}});
    if (damaged.empty() && full.empty() && waiting.empty())
        into.push_back({Grade::good, "queues", "nobody waits for room or for a receiver", "", {}});
}

}  // namespace

void look_at_bus(const Common& common, const OpenBus& bus, Findings& into) {
    const look::Snapshot seen = bus.look();
    const bool has_daemon = look_at_daemon(bus, into);
    look_at_processes(common, bus, seen, has_daemon, into);
    look_at_files(common, bus, has_daemon, into);
    const bool has_place = look_at_places(bus, into);
    look_at_endpoints(seen, way_out(has_daemon, has_place), into);
}

}  // namespace shmbus::cli
