// shmbus get, copy, move: messages taken out, or sent to another endpoint as well or instead.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "cli/messages.h"
#include "cli/pick.h"
#include "cli/send_on.h"
#include "cli/show.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

struct TakeLine {
    std::string from;
    std::string to;
    std::string type;
    std::string id;
    std::uint64_t count = 0;  // 0: all
    bool yes = false;
    bool dry_run = false;
    ShowLine show;
    // Every message is meant, whatever it is.
    [[nodiscard]] bool is_all() const noexcept { return type.empty() && id.empty(); }
    // With so many found there are none besides.
    [[nodiscard]] std::uint64_t most() const noexcept {
        if (count != 0) return count;
        return id.empty() ? ~std::uint64_t{0} : 1;
    }
};

// Which messages are meant.
class Wanted {
public:
    Wanted(const OpenBus& bus, const TakeLine& line) : line_(line) {
        if (!line.type.empty()) type_ = bus.type(line.type).index;
    }
    [[nodiscard]] bool operator()(const SeenMessage& message) const {
        return (line_.type.empty() || message.meta.type == type_) &&
               (line_.id.empty() || message.id.text() == line_.id);
    }

private:
    const TakeLine& line_;
    std::uint32_t type_ = 0;
};

[[noreturn]] void no_such(const TakeLine& line) {
    throw Trouble(Exit::unknown_name, "no message of that id waits in " + line.from,
                  "it was taken meanwhile, is in a process's hands, or still waits on disk",
                  "shmbus peek " + line.from, "no_message");
}

// ---- get

// JSON has no object, and CSV no row, for no message.
void say_nothing_done(const Common& common) {
    if (common.format == Format::table) print_line("nothing was done");
}

// Written first, let go then: who is killed between finds it there again.
void get(const Common& common, const TakeLine& line) {
    const std::uint64_t wanted = line.count == 0 ? 1 : line.count;
    if (!is_agreed(line.yes, fmt::format("take {} of {} out of the endpoint?",
                                         wanted == 1 ? std::string("a message")
                                                     : std::to_string(wanted) + " messages",
                                         line.from)))
        return say_nothing_done(common);
    Member member(common);
    Stock stock(member, member.bus().endpoint(line.from));
    Show show(common, member.bus(), line.show);
    const auto every = [](const SeenMessage&) { return true; };
    const auto print_it = [&](const SeenMessage& message, bool is_again) {
        show.taken(message, is_again);
        flush_output();
    };
    // One at a time: what is not printed yet is not in our hands.
    if (take_wanted(stock, wanted, {every, print_it, [] {}}, 1) == 0)
        throw Trouble(Exit::unknown_name, "nothing waits in " + line.from, "",
                      "shmbus tail -f " + line.from, "no_message");
}

// ---- copy

[[nodiscard]] Facts done_with(const char* command, const TakeLine& line) {
    return done(command, line.dry_run).add("from", line.from).add("to", line.to);
}

// On disk a message is nobody's to be looked at: the daemon brings it when there is room.
void say_what_is_left(const TakeLine& line, std::uint64_t found, std::uint64_t on_disk) {
    if (on_disk == 0 || found >= line.most()) return;
    std::fprintf(stderr,
                 "shmbus: %llu more wait on disk, where copy does not look; move takes them too\n",
                 static_cast<unsigned long long>(on_disk));
}

void copy(const Common& common, const TakeLine& line) {
    Member member(common, lane_bytes_to_send_on(common, line.from, Sends::all));
    const OpenBus& bus = member.bus();
    const auto from = bus.endpoint(line.from);
    const SendOn how{.to = member.receiver(line.to),
                     .from = {from.index, from.row.generation},
                     .is_copy = true};
    const Wanted wanted(bus, line);
    const std::uint64_t on_disk = bus.on_disk(line.from);  // before the lanes: see Meant
    SeenEndpoint seen(bus, from);
    std::vector<SeenMessage> found;
    // All of them before the first is sent: the other endpoint may be the same one.
    seen.for_each([&](const SeenMessage& message) {
        if (wanted(message)) found.push_back(message);
        return line.count == 0 || found.size() < line.count;
    });
    if (found.empty() && !line.id.empty()) no_such(line);
    if (!line.dry_run) {
        for (const SeenMessage& message : found) send_on(member, message, how);
        wait_until_on_disk(member);
    }
    done_with("copy", line)
        .add("messages", found.size())
        .tell(common, fmt::format("{} {} messages from {} to {}",
                                  line.dry_run ? "would copy" : "copied", found.size(), line.from,
                                  line.to));
    say_what_is_left(line, found.size(), on_disk);
}

// ---- move

[[nodiscard]] Meant meant_by(const TakeLine& line, const OpenBus& bus) {
    const Wanted wanted(bus, line);
    Meant meant{.on_disk = bus.on_disk(line.from)};
    SeenEndpoint seen(bus, bus.endpoint(line.from));
    seen.for_each([&](const SeenMessage& message) {
        meant.count += wanted(message) ? 1 : 0;
        return line.count == 0 || meant.count < line.count;
    });
    if (line.is_all()) {
        meant.count += std::exchange(meant.on_disk, 0);
        if (line.count != 0) meant.count = std::min(meant.count, line.count);
    } else if (meant.count >= line.most()) {
        meant.on_disk = 0;
    }
    return meant;
}

[[nodiscard]] Picked move_some(Member& member, const TakeLine& line) {
    const auto from = member.endpoint(line.from);
    const bool is_for_failed =
        member.bus().endpoint(line.to).row.kind == directory::EndpointKind::error;
    SendOn how{.to = member.receiver(line.to), .from = from, .keeps_failure = is_for_failed};
    const auto send = [&](const SeenMessage& message, bool is_again) {
        how.may_be_repeated = is_again;
        send_on(member, message, how);
    };
    // On disk before they are let go.
    return pick(member, line.from, line.most(),
                {Wanted(member.bus(), line), send, [&] { wait_until_on_disk(member); }});
}

void move(const Common& common, const TakeLine& line) {
    if (line.from == line.to)
        throw Trouble(Exit::usage, "a message is moved to another endpoint, not to the same");
    if (line.dry_run) {
        const Meant meant = meant_by(line, OpenBus(common));
        return done_with("move", line)
            .add("messages", meant.count)
            .add("on_disk", meant.on_disk)
            .tell(common, fmt::format("would move {} from {} to {}", meant.text(), line.from,
                                      line.to));
    }
    Member member(common, lane_bytes_to_send_on(common, line.from,
                                                line.is_all() ? Sends::all : Sends::some));
    const Picked moved = move_some(member, line);
    if (moved.count == 0 && !moved.is_cut && !line.id.empty()) no_such(line);
    done_with("move", line)
        .add("messages", moved.count)
        .tell(common, fmt::format("moved {} messages from {} to {}", moved.count, line.from,
                                  line.to));
    require_all(moved, line.from);
}

}  // namespace

void add_take_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<TakeLine>();
    const Command get_it =
        app.add("get", "Take a message out of an endpoint: one that a dead process left, else the "
                       "first of one sender's lane. Lanes take turns: the oldest of all is not "
                       "known, since most messages do not say when they were sent");
    get_it.option("endpoint", line->from, "Which endpoint's").required();
    get_it.option("-n,--count", line->count, "So many; default: 1").at_least_one("messages");
    get_it.flag("--yes,-y", line->yes, "Do not ask");
    add_show_options(get_it, line->show);
    get_it.runs([&common, line] { get(common, *line); });
    const auto add = [&app, line](const char* name, const char* what) {
        const Command command = app.add(name, what);
        command.option("from", line->from, "The endpoint where they wait").required();
        command.option("to", line->to, "The endpoint that gets them").required();
        command.option("--type", line->type, "Only messages of this type");
        command.option("--id", line->id, "Only this message");
        command.option("-n,--count", line->count, "At most so many; default: all")
            .at_least_one("messages");
        command.flag("--dry-run", line->dry_run, "Only say how many");
        return command;
    };
    add("copy", "Send copies of what waits to another endpoint; they have ids of their own")
        .runs([&common, line] { copy(common, *line); });
    add("move", "Take what waits out and send it to another endpoint, under its id")
        .runs([&common, line] { move(common, *line); });
}

}  // namespace shmbus::cli
