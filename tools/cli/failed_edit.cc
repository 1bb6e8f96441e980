// shmbus failed edit: another body for a message that failed, in a copy that takes its place.
//
// The copy has an id of its own, made from that of the original and from its bytes: edited once
// more after a death between, with the same bytes, it is the same message, marked as repeated. Its
// related-to and its correlation are the original's id. The original is taken out when it stands in
// the archive, if one is named, and the copy is there.
//
// SPDX-License-Identifier: BSL-1.0
#include <cerrno>
#include <cstdlib>
#include <optional>

#include <fcntl.h>
#include <unistd.h>

#include "cli/archive.h"
#include "cli/failed.h"
#include "cli/send_on.h"
#include "cli/trouble.h"

namespace shmbus::cli {

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
    return line.body.data || line.body.fields || line.body.hex ||
           !line.body.file.empty() || ::isatty(STDIN_FILENO) != 1;
}

[[nodiscard]] Bytes new_body(const OpenBus& bus, const FailedLine& line,
                             const SeenMessage& message) {
    const auto type = bus.reader().type(message.meta.type);
    if (!type) throw Trouble(Exit::damaged, "the type of the message is not known any more");
    Bytes payload = has_new_body(line) ? body_of(bus, line.body, *type) : edited(message.payload);
    require_length(payload.size(), *type);
    return payload;
}

}  // namespace

void edit_failed(const Common& common, const FailedLine& line) {
    static_cast<void>(require_some(common, line, "edit"));
    Member member(common, lane_bytes_for(common, line));
    std::optional<Bytes> payload;
    for_each_failed(member.bus(), line, [&](const SeenMessage& message) {
        payload = new_body(member.bus(), line, message);
        return false;
    });
    if (!payload) no_such_failed(line);
    const auto handle = member.endpoint(line.endpoint);
    std::optional<Archive> archive;
    if (!line.file.empty()) archive.emplace(line.file);
    std::string old_id;
    std::string new_id;
    const auto replace = [&](const SeenMessage& message, bool is_again) {
        old_id = message.id.text();
        new_id = id_of_edited(message, *payload).text();
        if (archive) {
            // First: when it cannot be kept, nothing is done.
            Json original = json_of(message, member.bus());
            original["edited_as"] = new_id;
            if (is_again) original["repeated"] = true;
            archive->add(original);
            archive->write();
        }
        send_on(member, message, {.to = handle,
                                  .from = handle,
                                  .keeps_failure = true,
                                  .may_be_repeated = is_again,
                                  .payload = payload});
    };
    const Picked picked =
        pick(member, line.endpoint, 1,
             {WantedFailed(member.bus(), line), replace, [&] { wait_until_on_disk(member); }});
    require_all(picked, line.endpoint);
    if (picked.count == 0) no_such_failed(line);
    done("failed edit")
        .add("id", old_id)
        .add("edited_as", new_id)
        .tell(common, "message " + old_id + " is edited: its copy " + new_id + " took its place");
}

}  // namespace shmbus::cli
