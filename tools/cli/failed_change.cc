// shmbus failed retry, archive, edit: messages out of the error endpoint.
//
// Each is sent on, or written down, before it is let go. Killed between, it is there once more and
// may come twice: transient ones marked as repeated, durable ones not even that, because the
// journal knows them. Those that are not meant go back into the endpoint when this process leaves.
//
// SPDX-License-Identifier: BSL-1.0
#include <cerrno>
#include <cstdio>
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
#include "cli/taker.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

[[nodiscard]] std::uint64_t count_wanted(const OpenBus& bus, const FailedLine& line) {
    std::uint64_t count = 0;
    for_each_failed(bus, line, [&](const SeenMessage&) {
        ++count;
        return true;
    });
    return count;
}

using Each = std::function<void(const SeenMessage& message, bool is_again)>;

[[nodiscard]] std::uint64_t take_failed(Member& member, const FailedLine& line, std::uint64_t most,
                                        const Each& each, const std::function<void()>& batch) {
    Taker taker(member, member.bus().endpoint(line.endpoint));
    const std::uint64_t count =
        take_wanted(taker, most, {WantedFailed(member.bus(), line), each, batch});
    if (taker.is_out_of_hands())
        std::fprintf(stderr, "shmbus: messages behind the first thousands in %s were not looked at;"
                             " archive or retry some of those\n", line.endpoint.c_str());
    return count;
}

// How many are meant; throws when it was not said which, or there are none.
[[nodiscard]] std::uint64_t require_some(const Common& common, const FailedLine& line,
                                         const char* verb) {
    if (line.id.empty() && line.type.empty() && line.reason.empty() && !line.all)
        throw Trouble(Exit::usage, std::string("say which messages to ") + verb, "",
                      std::string("shmbus failed ") + verb + " ID, --type, --reason or --all");
    const std::uint64_t count = count_wanted(OpenBus(common), line);
    if (count == 0 && !line.all) no_such_failed(line);
    if (count > 1 && !line.id.empty())
        throw Trouble(Exit::usage, fmt::format("{} messages have ids that begin with {}", count,
                                               line.id),
                      "", "shmbus failed ls shows them whole");
    return count;
}

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
    const std::uint64_t count = require_some(common, line, "retry");
    if (line.dry_run) return print_line(fmt::format("would retry {} messages", count));
    Member member(common);
    const auto from = member.endpoint(line.endpoint);
    std::optional<detail::EndpointHandle> named;
    if (!line.to.empty()) named = member.endpoint(line.to);
    const auto send_back = [&](const SeenMessage& message, bool is_again) {
        send_on(member, message, {.to = named ? *named : way_back(member, message),
                                  .from = from,
                                  .may_be_repeated = is_again});
    };
    const std::uint64_t done =
        take_failed(member, line, count, send_back, [&] { wait_until_on_disk(member); });
    if (done == 0 && count != 0)
        throw Trouble(Exit::try_later, "another process holds these messages", "",
                      "shmbus endpoint show " + line.endpoint, "in_hand");
    print_line(fmt::format("sent back {} messages", done));
}

// ---- archive

namespace {

class Archive {
public:
    explicit Archive(const std::string& path) : path_(path) {
        const bool is_output = path == "-";
        file_ = base::File(is_output ? ::dup(STDOUT_FILENO)
                                     : ::open(path.c_str(),
                                              O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
        if (!file_)
            throw Trouble(errno == EACCES ? Exit::permission : Exit::cannot_create,
                          "cannot write " + path + ": " + system_words(errno));
    }
    void add(const std::string& line) { lines_ += line + "\n"; }
    // In the file, and as far as it is one on a disk, on it.
    void write() {
        for (std::size_t at = 0; at < lines_.size();) {
            const ssize_t put = ::write(file_.fd(), lines_.data() + at, lines_.size() - at);
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) throw Trouble(Exit::io, "writing " + path_ + ": " + system_words(errno));
            at += static_cast<std::size_t>(put);
        }
        lines_.clear();
        if (::fsync(file_.fd()) != 0 && errno != EINVAL && errno != EROFS)
            throw Trouble(Exit::io, "syncing " + path_ + ": " + system_words(errno));
    }

private:
    std::string path_;
    base::File file_;
    std::string lines_;
};

}  // namespace

void archive_failed(const Common& common, const FailedLine& line) {
    const std::uint64_t count = require_some(common, line, "archive");
    if (line.dry_run) return print_line(fmt::format("would archive {} messages", count));
    Archive archive(line.file);
    Member member(common);
    const auto write_down = [&](const SeenMessage& message, bool) {
        archive.add(json_of(message, member.bus())
                        .dump(-1, ' ', false, Json::error_handler_t::replace));
    };
    const std::uint64_t done =
        take_failed(member, line, count, write_down, [&] { archive.write(); });
    if (line.file != "-") print_line(fmt::format("archived {} messages", done));
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
    Member member(common);
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
    const std::uint64_t done =
        take_failed(member, line, 1, put_back, [&] { wait_until_on_disk(member); });
    if (done == 0) no_such_failed(line);
    print_line("message " + line.id + " has new bytes");
}

}  // namespace shmbus::cli
