// shmbus type: what messages the bus knows.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <memory>
#include <optional>

#include "cli/listing.h"
#include "cli/member.h"
#include "cli/nouns.h"
#include "cli/open_bus.h"
#include "cli/times.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

struct TypeLine {
    std::string name;
    std::string kind;
    std::uint32_t bytes = 0;
    std::uint32_t alignment = 0;
    bool durable = false;
    std::vector<std::string> bases;
};

[[nodiscard]] Json bases_of(const OpenBus& bus, const directory::TypeRow& row) {
    Json names = Json::array();
    for (std::uint32_t base = 0; base < row.base_count && base < row.bases.size(); ++base)
        names.push_back(bus.name_of_type(row.bases[base]));
    return names;
}

// 0 means that each message has a length of its own, which a table shows as unknown.
[[nodiscard]] Json size_of(std::uint32_t bytes) { return bytes == 0 ? Json() : Json(bytes); }

[[nodiscard]] Json handler_of(const OpenBus& bus, const directory::TypeRow& row) {
    return row.route == 0 ? Json() : Json(bus.name_of_endpoint(row.route));
}

void list_types(const Common& common) {
    const OpenBus bus(common);
    Listing listing("shmbus.type_list/1",
                    {"type", "kind", "durability", "bytes", "handled_by", "bases"});
    for (const auto& type : bus.types())
        listing.add({type.name(), name_of_kind(type.row.kind),
                     name_of_durability(type.row.durability), size_of(type.row.bytes),
                     handler_of(bus, type.row), bases_of(bus, type.row)});
    listing.print(common);
}

[[nodiscard]] Json subscribers_of(const OpenBus& bus, std::uint32_t type) {
    Json names = Json::array();
    std::vector<directory::Subscriber> there;
    std::uint64_t version = 0;
    if (bus.reader().subscribers(type, there, version))
        for (const auto& one : there) names.push_back(bus.name_of_endpoint(one.endpoint));
    return names;
}

void show_type(const Common& common, const TypeLine& line) {
    const OpenBus bus(common);
    const directory::Type type = bus.type(line.name);
    Facts facts("shmbus.type/1");
    facts.add("type", type.name());
    facts.add("number", type.index);
    facts.add("kind", name_of_kind(type.row.kind));
    facts.add("durability", name_of_durability(type.row.durability));
    facts.add("bytes", size_of(type.row.bytes));
    facts.add("alignment", size_of(type.row.alignment));
    facts.add("bases", bases_of(bus, type.row));
    facts.add("handled_by", handler_of(bus, type.row));
    facts.add("subscribers", subscribers_of(bus, type.index));
    facts.add("declared_by_uid", type.row.uid);
    // By all endpoints, since the bus was made.
    const look::Snapshot seen = bus.look(look::apart_everywhere);
    if (const look::Type* const counted = seen.type(type.index)) {
        facts.add("handled", counted->handled);
        const auto bytes = counted->handled_bytes();
        facts.add("handled_bytes", bytes ? Json(*bytes) : Json());
        facts.add("threw", counted->troubles.threw);
        facts.add("redelivered", counted->troubles.redelivered);
        facts.add("failed", counted->troubles.failed);
        facts.add("dropped", counted->troubles.dropped);
        const Json times = quantiles_of(counted->times);
        for (const auto& [name, value] : times.items()) facts.add(name, value);
    }
    facts.print(common);
}

void add_type(const Common& common, const TypeLine& line) {
    require_name(line.name);
    const auto session = join(common);
    TypeShelf shelf;
    std::vector<const TypeDescriptor*> bases;
    for (const std::string& name : line.bases) {
        const auto base = session->directory().find_type(name);
        if (!base) throw Trouble(Exit::unknown_name, "there is no base event \"" + name + "\"", "",
                                 "shmbus type ls", "no_type");
        bases.push_back(&shelf.of(session->directory(), base->index));
    }
    TypeDescriptor type{};
    type.name = line.name;
    type.kind = line.kind == "command" ? Kind::command
                : line.kind == "event" ? Kind::event
                                       : Kind::reply;
    type.durability = line.durable ? Durability::durable : Durability::transient;
    type.bytes = line.bytes;
    type.alignment = line.bytes == 0 ? 0 : std::max(line.alignment, 1U);
    type.bases = bases.data();
    type.base_count = bases.size();
    if (type.kind == Kind::reply && line.durable)
        throw Trouble(Exit::usage, "a reply is transient: it is for a process that waits");
    const auto index = value_of(session->declare_type(type), "declaring type " + line.name);
    done("type add")
        .add("type", line.name)
        .add("number", index)
        .tell(common, "type " + line.name + " has number " + std::to_string(index));
}

}  // namespace

void add_type_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<TypeLine>();
    const Command type = app.add("type", "Message types").needs_command();
    type.add("ls", "List them").runs([&common] { list_types(common); });
    const Command show = type.add("show", "All that is known of one");
    show.option("type", line->name, "Its name").required();
    show.runs([&common, line] { show_type(common, *line); });
    const Command add = type.add("add", "Declare one, for messages that scripts send");
    add.option("type", line->name, "Its name").required();
    add.option("kind", line->kind, "command, event or reply")
        .required()
        .one_of({"command", "event", "reply"});
    add.option("--bytes", line->bytes, "Its exact length; 0, the default: any");
    add.option("--alignment", line->alignment, "Of the fixed length; at most 16");
    add.flag("--durable", line->durable, "It goes by way of the journal");
    add.option("--base", line->bases, "An event that it is one of, too");
    add.runs([&common, line] { add_type(common, *line); });
}

}  // namespace shmbus::cli
