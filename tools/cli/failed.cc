// shmbus failed: what lies in error endpoints, why, and what to do about it.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/failed.h"

#include <cstdio>
#include <map>
#include <memory>

#include <fmt/core.h>

#include "bus/attempt.h"
#include "cli/archive.h"
#include "cli/listing.h"
#include "cli/messages.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

// All that are meant, in the endpoint or with --file in an archive, as JSON; the bodies only where
// they are wanted.
void for_each_shown(const Common& common, const FailedLine& line, bool with_body,
                    const std::function<bool(const Json&)>& visit) {
    if (line.file.empty()) {
        const OpenBus bus(common);
        return for_each_failed(bus, line, [&](const SeenMessage& message) {
            if (with_body) return visit(json_of(message, bus));
            Json head = head_of(message, bus);
            head["bytes"] = message.payload.size();
            return visit(head);
        });
    }
    for (Archived& one : read_archive(line.file)) {
        if (!is_meant(line, one.message)) continue;
        one.message["state"] = one.begun                              ? "restoring"
                               : one.message.contains("edited_as") ? "edited"
                                                                      : "archived";
        if (!visit(one.message)) return;
    }
}

// Null where a message has none; it may have come here without failing.
[[nodiscard]] Json in_failure(const Json& message, const std::string& name) {
    const auto failure = message.find("failure");
    if (failure != message.end() && failure->is_object()) return failure->value(name, Json());
    return name == "reason" ? Json("none") : Json();
}

void list_groups(const Common& common, const FailedLine& line) {
    std::map<std::string, std::uint64_t> counts;
    for_each_shown(common, line, false, [&](const Json& message) {
        const Json key = line.group_by == "type" ? message.value("type", Json())
                                                 : in_failure(message, line.group_by);
        return ++counts[text_of(key)] != 0;
    });
    Listing listing("shmbus.failed_groups/1", {line.group_by, "messages"});
    for (const auto& [key, count] : counts) listing.add({key, count});
    listing.print(common);
}

// What failed in the error endpoint as well is in another one.
void say_what_is_unhandled(const OpenBus& bus, const FailedLine& line) {
    FailedLine unhandled;
    unhandled.endpoint = line.endpoint + std::string(detail::unhandled_suffix);
    if (!bus.reader().find_endpoint(unhandled.endpoint)) return;
    std::uint64_t count = failed_on_disk(bus, unhandled);
    for_each_failed(bus, unhandled, [&](const SeenMessage&) { return ++count != 0; });
    if (count == 0) return;
    std::fflush(stdout);
    std::fprintf(stderr, "shmbus: %llu failed in %s as well: shmbus failed ls --endpoint %s\n",
                 static_cast<unsigned long long>(count), line.endpoint.c_str(),
                 unhandled.endpoint.c_str());
}

void list_failed(const Common& common, const FailedLine& line) {
    if (!line.group_by.empty()) {
        list_groups(common, line);
    } else {
        Listing listing("shmbus.failed_list/1", {"id", "type", "failed_at", "reason", "attempts",
                                                 "state", "bytes", "what"});
        for_each_shown(common, line, false, [&](const Json& message) {
            listing.add({message.value("id", Json()), message.value("type", Json()),
                         in_failure(message, "endpoint"), in_failure(message, "reason"),
                         in_failure(message, "attempts"), message.value("state", Json()),
                         message.value("bytes", Json()), in_failure(message, "what")});
            return true;
        });
        listing.print(common);
    }
    if (!line.file.empty()) return;
    const OpenBus bus(common);
    say_what_is_on_disk(failed_on_disk(bus, line));
    say_what_is_unhandled(bus, line);
}

void show_failed(const Common& common, const FailedLine& line) {
    bool is_found = false;
    for_each_shown(common, line, true, [&](const Json& all) {
        is_found = true;
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

[[nodiscard]] std::vector<std::string> all_reasons() {
    std::vector<std::string> names;
    constexpr auto last = static_cast<std::uint8_t>(FailureReason::not_decodable);
    for (std::uint8_t one = 0; one <= last; ++one)
        names.emplace_back(name_of(static_cast<FailureReason>(one)));
    return names;
}

}  // namespace

bool has_none_yet(const OpenBus& bus, const FailedLine& line) {
    return line.endpoint == usual_error_endpoint && !bus.reader().find_endpoint(line.endpoint);
}

void for_each_failed(const OpenBus& bus, const FailedLine& line,
                     const std::function<bool(const SeenMessage&)>& visit) {
    const WantedFailed wanted(bus, line);
    if (has_none_yet(bus, line)) return;
    SeenEndpoint seen(bus, bus.endpoint(line.endpoint));
    seen.for_each([&](const SeenMessage& message) { return !wanted(message) || visit(message); });
}

std::uint64_t failed_on_disk(const OpenBus& bus, const FailedLine& line) {
    return has_none_yet(bus, line) ? 0 : bus.on_disk(line.endpoint);
}

bool is_meant(const FailedLine& line, const Json& message) {
    const auto is = [](const Json& value, const std::string& wanted) {
        return wanted.empty() || (value.is_string() && value.get<std::string>() == wanted);
    };
    const std::string id = text_of(message.value("id", Json()));
    return id.starts_with(line.id) && is(message.value("type", Json()), line.type) &&
           is(in_failure(message, "reason"), line.reason) &&
           is(in_failure(message, "endpoint"), line.failed_at);
}

void say_what_is_on_disk(std::uint64_t count) {
    if (count == 0) return;
    std::fflush(stdout);
    std::fprintf(stderr, "shmbus: %llu more wait on disk and are not shown\n",
                 static_cast<unsigned long long>(count));
}

void no_such_failed(const FailedLine& line) {
    const std::string where = line.file.empty() ? "endpoint " + line.endpoint : line.file;
    throw Trouble(Exit::unknown_name,
                  line.id.empty() ? "no such message is in " + where
                                  : "no message " + line.id + " is in " + where,
                  "it was sent back, archived, restored or handled meanwhile",
                  line.file.empty() ? "shmbus failed ls --endpoint " + line.endpoint
                                    : "shmbus failed ls --file " + line.file,
                  "no_message");
}

WantedFailed::WantedFailed(const OpenBus& bus, const FailedLine& line) : bus_(bus), line_(line) {
    if (!line.type.empty()) type_ = bus.type(line.type).index;
}

bool WantedFailed::operator()(const SeenMessage& message) const {
    return (line_.id.empty() || message.id.text().starts_with(line_.id)) &&
           (line_.type.empty() || message.meta.type == type_) &&
           (line_.reason.empty() || name_of(message.reason()) == line_.reason) &&
           (line_.failed_at.empty() || name_of_failed_at(message, bus_) == line_.failed_at);
}

void add_failed_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<FailedLine>();
    const Command failed = app.add("failed", "Messages that could not be handled")
                       .needs_command();
    failed.option("--endpoint", line->endpoint, "The error endpoint; default: error");
    const Command list = failed.add("ls", "List them, or count them by group");
    list.option("--group-by", line->group_by, "reason, type or endpoint")
        .one_of({"reason", "type", "endpoint"});
    const auto add_reason = [line](const Command& command, const char* what) {
        command.option("--reason", line->reason, what).one_of(all_reasons());
    };
    const auto add_place = [line](const Command& command, const char* what) {
        command.option("--failed-at", line->failed_at, what);
    };
    list.option("--type", line->type, "Only messages of this type");
    add_reason(list, "Only with this reason");
    add_place(list, "Only what failed at this endpoint");
    const auto add_file = [line](const Command& command, const char* what) {
        return command.option("--file", line->file, what);
    };
    add_file(list, "Of an archive instead");
    list.runs([&common, line] { list_failed(common, *line); });
    const Command show = failed.add("show", "All about one");
    show.option("id", line->id, "Its id, or the beginning of it").required();
    add_place(show, "The one that failed at this endpoint, of two with one id");
    add_file(show, "In an archive instead");
    show.runs([&common, line] { show_failed(common, *line); });
    const auto add = [failed, line, add_reason, add_place](const char* name, const char* what) {
        const Command command = failed.add(name, what);
        command.option("id", line->id, "One message: its id, or the beginning of it");
        command.flag("--all", line->all, "All of them");
        command.option("--type", line->type, "All of this type");
        add_reason(command, "All with this reason");
        add_place(command, "All that failed at this endpoint; or that one, of two with one id");
        command.flag("--dry-run", line->dry_run, "Only say what would be done");
        return command;
    };
    const Command retry = add("retry", "Send them back to where they failed, under their ids");
    retry.option("--to", line->to, "To this endpoint instead");
    retry.option("--rate", line->rate, "So many a second; default: as quickly as they go");
    retry.runs([&common, line] { retry_failed(common, *line); });
    const Command archive = add("archive", "Write them to a file as JSON lines and take them out");
    add_file(archive, "Appended to; - : standard output").required();
    archive.runs([&common, line] { archive_failed(common, *line); });
    const Command copy = add("export", "Write them to a file as JSON lines; they stay");
    add_file(copy, "Appended to; - : standard output").required();
    copy.runs([&common, line] { export_failed(common, *line); });
    const Command restore = add("restore", "Put them back out of such a file, under their ids");
    add_file(restore, "It notes which are restored").required();
    restore.option("--to", line->to, "To this endpoint, to be handled, instead of the error one");
    restore.runs([&common, line] { restore_failed(common, *line); });
    const Command edit =
        failed.add("edit", "Put a copy with other bytes and an id of its own in the place of one");
    edit.option("id", line->id, "Its id, or the beginning of it").required();
    add_place(edit, "The one that failed at this endpoint, of two with one id");
    // --file is taken by the new bytes.
    edit.option("--archive", line->file, "Keep the original in this file");
    add_body_options(edit, line->body);
    edit.runs([&common, line] { edit_failed(common, *line); });
}

}  // namespace shmbus::cli
