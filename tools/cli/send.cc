// shmbus send and publish: messages from a script.
//
// SPDX-License-Identifier: BSL-1.0
#include <bit>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>

#include <fmt/core.h>

#include "cli/body.h"
#include "cli/listing.h"
#include "cli/member.h"
#include "cli/messages.h"
#include "cli/pace.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

using std::chrono::nanoseconds;

struct SendLine {
    std::string type;
    std::string to;
    BodyLine body;
    bool lines = false;
    std::uint64_t count = 1;
    double rate = 0;
    nanoseconds timeout = std::chrono::seconds(5);
    bool refuse = false;
    bool durable = false;
    bool transient = false;
};

// A lane in which one such message fits, no longer: a script's process sends few and ends. For
// several as long as it is anyway, which 0 says, unless that is too short for the longest.
[[nodiscard]] std::size_t lane_for(std::size_t longest, bool is_single) {
    constexpr std::size_t least = 16'384;
    constexpr std::size_t usual = 1 << 20;
    const std::size_t needed = std::bit_ceil(std::max(least, 4 * (longest + 512)));
    return is_single || needed > usual ? needed : 0;
}

[[nodiscard]] std::vector<Bytes> bodies_of(const OpenBus& bus, const SendLine& line,
                                           const directory::Type& type) {
    if (!line.lines) return {body_of(bus, line.body, type)};
    std::vector<Bytes> bodies;
    const std::string all = all_of_file(line.body.file.empty() ? "-" : line.body.file);
    for (std::size_t at = 0; at < all.size();) {
        const std::size_t end = std::min(all.find('\n', at), all.size());
        bodies.push_back(bytes_of_text(all.substr(at, end - at)));
        require_length(bodies.back().size(), type);
        at = end + 1;
    }
    return bodies;
}

[[nodiscard]] std::optional<Durability> durability_of(const SendLine& line) {
    if (line.durable) return Durability::durable;
    if (line.transient) return Durability::transient;
    return std::nullopt;
}

struct Sent {
    std::uint64_t messages = 0;
    std::uint64_t copies = 0;  // of events, to subscribers
    bool is_durable = false;
};

class Sending {
public:
    Sending(Member& member, const SendLine& line)
        : member_(member), type_(member.type(line.type)), line_(line) {
        options_.destination = line_.to;
        options_.durability = durability_of(line_);
        options_.when_full = line_.refuse ? WhenFull::refuse : WhenFull::wait;
        options_.wait = line_.timeout;
        sent_.is_durable = detail::Outbound::is_durable(type_, options_);
    }

    void send(const Bytes& body) {
        detail::Outgoing message;
        message.payload = body;
        if (type_.kind == Kind::event) {
            const auto published = member_.out().publish(type_, message, options_);
            if (!published) refuse(published.error(), "publishing ");
            sent_.copies += published.value().subscribers;
        } else {
            const auto sent = member_.out().send(type_, message, options_);
            if (!sent) refuse(sent.error(), "sending ");
        }
        ++sent_.messages;
    }
    // What was sent is on disk, if it is to be.
    void wait_for_receipt() {
        if (!sent_.is_durable) return;
        require(member_.out().last_receipt().wait(options_.wait),
                "waiting until " + line_.type + " is on disk");
    }
    [[nodiscard]] const Sent& sent() const noexcept { return sent_; }

private:
    // A script has to know how many went, to go on behind them.
    [[noreturn]] void refuse(const Error& error, const std::string& what) const {
        std::string tried = what + line_.type;
        if (sent_.messages > 0)
            tried += ", after " + std::to_string(sent_.messages) + " that were sent";
        throw trouble_of(error, tried);
    }

    Member& member_;
    const TypeDescriptor& type_;
    const SendLine& line_;
    SendOptions options_;
    Sent sent_;
};

void report(const Common& common, const SendLine& line, const Sent& sent, Kind kind) {
    if (kind == Kind::event && !sent.is_durable && sent.copies == 0)
        std::fprintf(stderr, "shmbus: nobody subscribes to %s\n", line.type.c_str());
    if (common.format == Format::table) {
        const char* const word = kind == Kind::event ? "published" : "sent";
        return print_line(fmt::format("{} {} {}{}", word, sent.messages, line.type,
                                      sent.is_durable ? ", on disk" : ""));
    }
    Facts facts("shmbus.sent/1");
    facts.add("type", line.type);
    facts.add("messages", sent.messages);
    facts.add("durable", sent.is_durable);
    facts.add("copies", kind == Kind::event && !sent.is_durable ? Json(sent.copies) : Json());
    facts.print(common);
}

void send(const Common& common, const SendLine& line, Kind kind) {
    // Before the type is looked for: what a newcomer types first is answered by a bus.
    require_daemon(common);
    const OpenBus bus(common);
    const directory::Type type = bus.type(line.type);
    if (type.row.kind != static_cast<std::uint8_t>(kind))
        throw Trouble(Exit::usage, "\"" + line.type + "\" is " + one_of_kind(type.row.kind), "",
                      kind == Kind::event ? "shmbus send " + line.type
                                          : "shmbus publish " + line.type);
    const std::vector<Bytes> bodies = bodies_of(bus, line, type);
    std::size_t longest = 0;
    for (const Bytes& body : bodies) longest = std::max(longest, body.size());
    const bool is_single = bodies.size() * line.count == 1;
    Member member(common, lane_for(longest, is_single));
    Sending sending(member, line);
    Pace pace(line.rate);
    for (std::uint64_t time = 0; time < line.count; ++time)
        for (const Bytes& body : bodies) {
            pace.keep();
            sending.send(body);
        }
    sending.wait_for_receipt();
    report(common, line, sending.sent(), kind);
}

void add_options(const Command& command, SendLine& line) {
    command.option("type", line.type, "The name of the message's type").required();
    add_body_options(command, line.body);
    command.flag("--lines", line.lines, "Each line of the input is a message");
    command.option("--count", line.count, "So many times");
    command.option("--rate", line.rate, "So many a second; default: as quickly as they go");
    command.option("--timeout", line.timeout,
                   "How long to wait for room, and for the disk; default: 5s");
    command.flag("--refuse", line.refuse, "Do not wait for room");
    const Option durable = command.flag("--durable", line.durable,
                                     "By way of the journal, whatever the type says; waits until "
                                     "it is on disk");
    command.flag("--transient", line.transient, "Not by way of the journal")
        .excludes(durable);
}

}  // namespace

void add_send_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<SendLine>();
    const Command send_it = app.add("send", "Send a command, from standard input or an option");
    add_options(send_it, *line);
    send_it.option("--to", line->to, "An endpoint, instead of the one that handles it");
    send_it.runs([&common, line] { send(common, *line, Kind::command); });
    const Command publish = app.add("publish", "Publish an event to all who subscribe to it");
    add_options(publish, *line);
    publish.runs([&common, line] { send(common, *line, Kind::event); });
}

}  // namespace shmbus::cli
