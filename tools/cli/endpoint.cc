// shmbus endpoint: what is there, making, removing, emptying.
//
// SPDX-License-Identifier: BSL-1.0
#include <memory>

#include <fmt/core.h>

#include "cli/endpoint.h"
#include "cli/listing.h"
#include "cli/member.h"
#include "cli/nouns.h"
#include "cli/open_bus.h"
#include "cli/trouble.h"
#include "lane/lane_file.h"

namespace shmbus::cli {

namespace {

struct EndpointLine {
    std::string name;
    std::vector<std::string> names;
    std::size_t lane_bytes = 0;
    std::vector<std::string> handles;
    bool is_error_endpoint = false;
    bool yes = false;
    bool dry_run = false;
    std::vector<std::string> columns;
};

void list_endpoints(const Common& common, const EndpointLine& line) {
    const OpenBus bus(common);
    auto handles = handled_by_endpoint(bus);
    Listing listing("shmbus.endpoint_list/1",
                    {"endpoint", "kind", "waiting", "in_hand", "on_disk", "on_disk_is_current",
                     "consumers", "lanes", "lane_bytes", "owner", "handles"});
    const look::Snapshot seen = bus.look();
    for (const look::Endpoint& one : seen.endpoints) {
        const std::size_t consumers = seen.opened(one).not_dead();
        const bool is_left_alone = consumers == 0 && one.waiting() != 0;
        // Null where the inbox cannot be read: it is damaged.
        const auto known = [&](std::uint64_t number) {
            return one.sight == look::Sight::seen ? Json(number) : Json();
        };
        listing.add({one.name, name_of(one.kind), known(one.waiting()), known(one.in_hand()),
                     known(one.on_disk), seen.is_disk_known(),
                     known(consumers), known(one.lanes.size()), one.lane_bytes,
                     one.owner == 0 ? Json() : Json(bus.name_of_participant(one.owner)),
                     or_empty(handles[one.index])},
                    is_left_alone ? Paint::warning : Paint::plain);
    }
    listing.choose(line.columns);
    listing.print(common);
}

// ---- changing

// Their types, before anything is made.
[[nodiscard]] std::vector<directory::Type> commands_of(const OpenBus& bus,
                                                       const std::vector<std::string>& names) {
    std::vector<directory::Type> types;
    for (const std::string& name : names) {
        types.push_back(bus.type(name));
        if (types.back().row.kind != static_cast<std::uint8_t>(Kind::command))
            throw Trouble(Exit::usage, "\"" + name + "\" is " +
                                           one_of_kind(types.back().row.kind) + ", not a command",
                          "commands go to who handles them, events to who subscribes",
                          "shmbus sub add ENDPOINT " + name);
    }
    return types;
}

void create_endpoints(const Common& common, const EndpointLine& line) {
    for (const std::string& name : line.names) require_name(name);
    if (line.names.size() > 1 && !line.handles.empty())
        throw Trouble(Exit::usage, "a command is handled by one endpoint, and here are several",
                      "", "shmbus endpoint create NAME --handles TYPE");
    if (line.lane_bytes != 0 && !lane::is_lane_capacity(line.lane_bytes))
        throw Trouble(Exit::usage, fmt::format("there are no lanes of {} bytes", line.lane_bytes),
                      "", "a power of two from 4096 to 4294967296");
    const auto session = join(common);
    const auto commands = commands_of(OpenBus(common), line.handles);
    detail::EndpointSpec spec;
    if (line.is_error_endpoint) spec.kind = directory::EndpointKind::error;
    spec.lane_bytes = line.lane_bytes;
    Listing made("shmbus.endpoint_create/1", {"endpoint", "number"});
    for (const std::string& name : line.names) {
        const auto one = session->create_endpoint(name, spec);
        // Those that were made before it are told of as well.
        if (!one && common.format != Format::table) made.print(common);
        const detail::EndpointHandle handle = value_of(one, "making endpoint " + name);
        const std::uint32_t number = handle.index;
        for (const directory::Type& type : commands)
            require(session->announce(handle, type.index),
                    "sending " + std::string(type.name()) + " to " + name);
        made.add({name, number});
        if (common.format == Format::table)
            print_line(fmt::format("endpoint {} has number {}", name, number));
    }
    if (common.format != Format::table) made.print(common);
}

void remove_endpoint(const Common& common, const EndpointLine& line) {
    const OpenBus bus(common);
    const auto endpoint = bus.endpoint(line.name);
    const Facts facts = done("endpoint rm", line.dry_run).add("endpoint", line.name);
    if (line.dry_run) return facts.tell(common, "would remove endpoint " + line.name);
    const auto removed = join(common)->remove_endpoint({endpoint.index, endpoint.row.generation});
    if (!removed) {
        const Refusal* const details = removed.error().details();
        throw Trouble(Exit::try_later,
                      details != nullptr && !details->reason.empty()
                          ? details->reason
                          : trouble_of(removed.error(), "removing endpoint " + line.name).what(),
                      "it is in use", "shmbus endpoint show " + line.name +
                                          "; shmbus sub ls; shmbus endpoint purge " + line.name,
                      std::string(name_of(removed.error().code())));
    }
    facts.tell(common, "endpoint " + line.name + " is gone");
}

}  // namespace

void add_endpoint_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<EndpointLine>();
    const Command endpoint = app.add("endpoint", "Endpoints").needs_command();
    const Command list = endpoint.add("ls", "List them, with what waits in each");
    list.option("-o,--columns", line->columns, "Only these columns").separated_by_commas();
    list.runs([&common, line] { list_endpoints(common, *line); });
    const auto add_name = [line](const Command& command) {
        command.option("endpoint", line->name, "Its name").required();
    };
    const Command show = endpoint.add("show", "One: its lanes, consumers, what is in hands");
    add_name(show);
    show.runs([&common, line] { show_endpoint(common, line->name); });
    const Command create = endpoint.add("create", "Make one; one that is there stays as it is");
    create.option("name", line->names, "Its name, or those of several").required();
    create.option("--lane-bytes", line->lane_bytes,
                       "Size of the lanes into it, a power of two; default: the daemon's");
    create.option("--handles", line->handles,
                  "A command that is sent here from now on, as when a program announces it");
    create.flag("--error", line->is_error_endpoint, "It is for messages that failed");
    create.runs([&common, line] { create_endpoints(common, *line); });
    const Command remove = endpoint.add("rm", "Remove one that nobody uses any more");
    add_name(remove);
    remove.flag("--dry-run", line->dry_run, "Only say what would be done");
    remove.runs([&common, line] { remove_endpoint(common, *line); });
    const Command purge = endpoint.add("purge", "Throw away the messages that wait in one");
    add_name(purge);
    purge.flag("--yes,-y", line->yes, "Do not ask");
    purge.flag("--dry-run", line->dry_run, "Only say how many there are");
    purge.runs([&common, line] { purge_endpoint(common, line->name, {line->yes, line->dry_run}); });
}

}  // namespace shmbus::cli
