// shmbus failed: what lies in error endpoints, why, and what to do about it.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/failed.h"

#include <cstdio>
#include <map>
#include <memory>

#include <fmt/core.h>

#include "cli/listing.h"
#include "cli/messages.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

[[nodiscard]] std::string key_of(const SeenMessage& message, const OpenBus& bus,
                                 const std::string& group) {
    if (group == "reason") return std::string(name_of(message.reason()));
    if (group == "type") return bus.name_of_type(message.meta.type);
    return bus.name_of_endpoint(message.extensions.failure.endpoint);
}

void list_groups(const Common& common, const FailedLine& line) {
    const OpenBus bus(common);
    std::map<std::string, std::uint64_t> counts;
    for_each_failed(bus, line, [&](const SeenMessage& message) {
        ++counts[key_of(message, bus, line.group_by)];
        return true;
    });
    Listing listing("shmbus.failed_groups/1", {line.group_by, "messages"});
    for (const auto& [key, count] : counts) listing.add({key, count});
    listing.print(common);
}

void list_failed(const Common& common, const FailedLine& line) {
    if (!line.group_by.empty()) return list_groups(common, line);
    const OpenBus bus(common);
    Listing listing("shmbus.failed_list/1", {"id", "type", "failed_at", "reason", "attempts",
                                             "state", "bytes", "what"});
    for_each_failed(bus, line, [&](const SeenMessage& message) {
        listing.add({message.id.text(), bus.name_of_type(message.meta.type),
                     bus.name_of_endpoint(message.extensions.failure.endpoint),
                     name_of(message.reason()), message.extensions.failure.attempts,
                     message.state == SeenMessage::State::in_hand ? "in_hand" : "waiting",
                     message.payload.size(), message.what()});
        return true;
    });
    listing.print(common);
    if (const std::uint64_t more = bus.on_disk(line.endpoint); more != 0)
        std::fprintf(stderr, "shmbus: %llu more wait on disk and are not shown\n",
                     static_cast<unsigned long long>(more));
}

void show_failed(const Common& common, const FailedLine& line) {
    const OpenBus bus(common);
    bool is_found = false;
    for_each_failed(bus, line, [&](const SeenMessage& message) {
        is_found = true;
        const Json all = json_of(message, bus);
        if (common.is_json()) {
            print_line(all.dump(2, ' ', false, Json::error_handler_t::replace));
            return false;
        }
        Facts facts("shmbus.message/1");
        for (const auto& [name, value] : all.items()) {
            if (name == "schema") continue;
            if (!value.is_object()) facts.add(name, value);
            if (!value.is_object()) continue;
            for (const auto& [part, inner] : value.items()) facts.add(name + "." + part, inner);
        }
        facts.print(common);
        return false;
    });
    if (!is_found) no_such_failed(line);
}

}  // namespace

void for_each_failed(const OpenBus& bus, const FailedLine& line,
                     const std::function<bool(const SeenMessage&)>& visit) {
    const WantedFailed wanted(bus, line);
    SeenEndpoint seen(bus, bus.endpoint(line.endpoint));
    seen.for_each([&](const SeenMessage& message) { return !wanted(message) || visit(message); });
}

void no_such_failed(const FailedLine& line) {
    throw Trouble(Exit::unknown_name,
                  line.id.empty() ? "no such message is in endpoint " + line.endpoint
                                  : "no message " + line.id + " is in endpoint " + line.endpoint,
                  "it was sent back, archived or handled meanwhile",
                  "shmbus failed ls --endpoint " + line.endpoint, "no_message");
}

WantedFailed::WantedFailed(const OpenBus& bus, const FailedLine& line) : line_(line) {
    if (!line.type.empty()) type_ = bus.type(line.type).index;
}

bool WantedFailed::operator()(const SeenMessage& message) const {
    return (line_.id.empty() || message.id.text().starts_with(line_.id)) &&
           (line_.type.empty() || message.meta.type == type_) &&
           (line_.reason.empty() || name_of(message.reason()) == line_.reason);
}

void add_failed_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<FailedLine>();
    const Command failed = app.add("failed", "Messages that could not be handled")
                       .needs_command();
    failed.option("--endpoint", line->endpoint, "The error endpoint; default: error");
    const Command list = failed.add("ls", "List them, or count them by group");
    list.option("--group-by", line->group_by, "reason, type or endpoint")
        .one_of({"reason", "type", "endpoint"});
    list.option("--type", line->type, "Only messages of this type");
    list.option("--reason", line->reason, "Only with this reason");
    list.runs([&common, line] { list_failed(common, *line); });
    const Command show = failed.add("show", "All about one");
    show.option("id", line->id, "Its id, or the beginning of it").required();
    show.runs([&common, line] { show_failed(common, *line); });
    const auto add = [failed, line](const char* name, const char* what) {
        const Command command = failed.add(name, what);
        command.option("id", line->id, "One message: its id, or the beginning of it");
        command.flag("--all", line->all, "All of them");
        command.option("--type", line->type, "All of this type");
        command.option("--reason", line->reason, "All with this reason");
        command.flag("--dry-run", line->dry_run, "Only say what would be done");
        return command;
    };
    const Command retry = add("retry", "Send them back to where they failed, under their ids");
    retry.option("--to", line->to, "To this endpoint instead");
    retry.runs([&common, line] { retry_failed(common, *line); });
    const Command archive = add("archive", "Write them to a file as JSON lines and take them out");
    archive.option("--file", line->file, "Appended to; - : standard output").required();
    archive.runs([&common, line] { archive_failed(common, *line); });
    const Command edit = failed.add("edit", "Change the bytes of one; it stays where it is");
    edit.option("id", line->id, "Its id, or the beginning of it").required();
    add_body_options(edit, line->body);
    edit.runs([&common, line] { edit_failed(common, *line); });
}

}  // namespace shmbus::cli
