// shmbus process: who is on the bus.
//
// SPDX-License-Identifier: BSL-1.0
#include <map>

#include "cli/listing.h"
#include "cli/living.h"
#include "cli/nouns.h"
#include "cli/open_bus.h"

namespace shmbus::cli {

namespace {

// A process that has left or died stays in the list as long as something of it has to be kept:
// messages that it sent, or that it held.
void list_processes(const Common& common) {
    const OpenBus bus(common);
    Living living(bus);
    const look::Snapshot seen = bus.look();
    std::map<wire::Reference, std::size_t> lane_counts;
    for (const auto& lane : bus.lanes()) ++lane_counts[lane.writer];
    Listing listing("shmbus.process_list/1",
                    {"process", "name", "pid", "uid", "state", "lanes", "since_ns"});
    for (const auto& one : bus.participants()) {
        const Living::State state = living.state_of(one.reference());
        const look::Process* const process = seen.process(one.reference());
        const bool is_stopped = state == Living::State::alive && process != nullptr &&
                                process->is_stopped;
        listing.add({wire::numbered_file(one.reference()), one.name(), one.row.pid, one.row.uid,
                     is_stopped ? "stopped" : name_of(state), lane_counts[one.reference()],
                     one.row.since_ns},
                    is_stopped || state == Living::State::dead ? Paint::warning : Paint::plain);
    }
    listing.print(common);
}

}  // namespace

void add_process_commands(const Command& app, const Common& common) {
    const Command process = app.add("process", "Processes").needs_command();
    process.add("ls", "List them").runs([&common] { list_processes(common); });
}

}  // namespace shmbus::cli
