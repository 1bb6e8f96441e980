// shmbus failed retry, edit: messages out of the error endpoint, and how they are taken there.
//
// Each is sent on, or written down, before it is let go. Killed between, it is there once more and
// may come twice: transient ones marked as repeated, durable ones not even that, because the
// journal knows them. How those are passed over that are not meant: pick.h.
//
// SPDX-License-Identifier: BSL-1.0
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/core.h>

#include "cli/child.h"
#include "cli/failed.h"
#include "cli/send_on.h"
#include "cli/stock.h"
#include "cli/trouble.h"

namespace shmbus::cli {

std::size_t lane_bytes_for(const Common& common, const FailedLine& line) {
    return line.all ? 0 : pick_lane_bytes(common, line.endpoint);
}

Meant require_some(const Common& common, const FailedLine& line, const char* verb) {
    if (line.id.empty() && line.type.empty() && line.reason.empty() && !line.all)
        throw Trouble(Exit::usage, std::string("say which messages to ") + verb, "",
                      std::string("shmbus failed ") + verb + " ID, --type, --reason or --all");
    const OpenBus bus(common);
    Meant meant;
    meant.on_disk = bus.on_disk(line.endpoint);
    for_each_failed(bus, line, [&](const SeenMessage&) { return ++meant.count != 0; });
    if (meant.count == 0 && meant.on_disk == 0 && !line.all) no_such_failed(line);
    if (meant.count > 1 && !line.id.empty())
        throw Trouble(Exit::usage, fmt::format("{} messages have ids that begin with {}",
                                               meant.count, line.id),
                      "", "shmbus failed ls shows them whole");
    return meant;
}

namespace {

// Where it failed, or who handles its type now if that endpoint is gone.
[[nodiscard]] detail::EndpointHandle way_back(const Member& member, const SeenMessage& message) {
    const OpenBus& bus = member.bus();
    if ((message.meta.flags & wire::has_failure) != 0)
        if (const auto there = bus.reader().endpoint(message.extensions.failure.endpoint))
            return {there->index, there->row.generation};
    const std::uint32_t route = bus.reader().route(message.meta.type);
    if (route != 0)
        if (const auto there = bus.reader().endpoint(route))
            return {there->index, there->row.generation};
    throw Trouble(Exit::unavailable,
                  "the endpoint where message " + message.id.text() + " failed is gone",
                  "it was removed", "name another one with --to", "no_endpoint");
}

}  // namespace

void retry_failed(const Common& common, const FailedLine& line) {
    const Meant meant = require_some(common, line, "retry");
    if (line.dry_run) return print_line("would retry " + meant.text());
    Member member(common, lane_bytes_for(common, line));
    const auto from = member.endpoint(line.endpoint);
    std::optional<detail::EndpointHandle> named;
    if (!line.to.empty()) named = member.endpoint(line.to);
    const auto send_back = [&](const SeenMessage& message, bool is_again) {
        send_on(member, message, {.to = named ? *named : way_back(member, message),
                                  .from = from,
                                  .may_be_repeated = is_again});
    };
    const Picked done =
        pick(member, line.endpoint, meant.most(),
             {WantedFailed(member.bus(), line), send_back, [&] { wait_until_on_disk(member); }});
    if (done.count == 0 && meant.count != 0 && !done.is_cut)
        throw Trouble(Exit::try_later, "another process holds these messages", "",
                      "shmbus endpoint show " + line.endpoint, "in_hand");
    print_line(fmt::format("sent back {} messages", done.count));
    require_all(done, line.endpoint);
}

// ---- edit

namespace {

// The digits of the bytes in a file, given to the user's editor.
[[nodiscard]] Bytes edited(const Bytes& bytes) {
    std::string path = "/tmp/shmbus-edit-XXXXXX";
    const base::File file(::mkostemp(path.data(), O_CLOEXEC));
    if (!file)
        throw Trouble(Exit::cannot_create, "cannot make " + path + ": " + system_words(errno));
    const std::string text = hex_of(bytes) + "\n";
    file.write_all(std::as_bytes(std::span(text)), 0);
    const char* editor = std::getenv("VISUAL");
    if (editor == nullptr) editor = std::getenv("EDITOR");
    const std::string command = std::string(editor == nullptr ? "vi" : editor) + " " + path;
    // The editor's terminal is ours.
    const int status = std::system(command.c_str());
    const std::string after = status == 0 ? all_of_file(path) : std::string();
    ::unlink(path.c_str());
    if (status != 0) throw Trouble(Exit::failed, "the editor did not end well: " + command);
    return bytes_of_hex(after);
}

[[nodiscard]] bool has_new_body(const FailedLine& line) {
    return line.body.data || line.body.fields || !line.body.hex.empty() ||
           !line.body.file.empty() || ::isatty(STDIN_FILENO) != 1;
}

}  // namespace

// The edited one goes in behind the others, under its id and with its failure.
void edit_failed(const Common& common, const FailedLine& line) {
    static_cast<void>(require_some(common, line, "edit"));
    Member member(common, lane_bytes_for(common, line));
    std::optional<Bytes> payload;
    for_each_failed(member.bus(), line, [&](const SeenMessage& message) {
        const auto type = member.bus().reader().type(message.meta.type);
        if (!type) throw Trouble(Exit::damaged, "the type of the message is not known any more");
        payload = has_new_body(line) ? body_of(member.bus(), line.body, *type)
                                     : edited(message.payload);
        require_length(payload->size(), *type);
        return false;
    });
    if (!payload) no_such_failed(line);
    const auto handle = member.endpoint(line.endpoint);
    const auto put_back = [&](const SeenMessage& message, bool is_again) {
        send_on(member, message, {.to = handle,
                                  .from = handle,
                                  .keeps_failure = true,
                                  .may_be_repeated = is_again,
                                  .payload = payload});
    };
    const Picked done =
        pick(member, line.endpoint, 1,
             {WantedFailed(member.bus(), line), put_back, [&] { wait_until_on_disk(member); }});
    require_all(done, line.endpoint);
    if (done.count == 0) no_such_failed(line);
    print_line("message " + line.id + " has new bytes");
}

}  // namespace shmbus::cli
