// shmbus request: asks, and prints the answer.
//
// SPDX-License-Identifier: BSL-1.0
#include <chrono>
#include <memory>

#include "cli/body.h"
#include "cli/listing.h"
#include "cli/member.h"
#include "cli/messages.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

struct RequestLine {
    std::string type;
    std::string to;
    BodyLine body;
    std::chrono::nanoseconds timeout = std::chrono::seconds(5);
    bool hex = false;
    bool raw = false;
};

void request(const Common& common, const RequestLine& line) {
    Member member(common);
    const auto type = member.bus().type(line.type);
    if (type.row.kind != static_cast<std::uint8_t>(Kind::command))
        throw Trouble(Exit::usage, "\"" + line.type + "\" is " + one_of_kind(type.row.kind) +
                                       ": only commands are answered");
    const std::string tried = "requesting " + line.type;
    RequestOptions options;
    options.deadline = line.timeout;
    options.destination = line.to;
    const Bytes body = body_of(member.bus(), line.body, type);
    const auto pending = value_of(
        detail::request(member.core(), member.type(line.type), body, options), tried);
    require(member.core().requests().wait_for_any(*pending), tried);
    const std::span<const std::byte> answer = pending->bytes();
    if (line.raw) return print({reinterpret_cast<const char*>(answer.data()), answer.size()});
    if (line.hex) return print_line(hex_of(answer));
    if (common.format == Format::table)
        return print_line(body_text(member.bus(), pending->type, answer));
    const std::string type_name = member.bus().name_of_type(pending->type);
    if (common.format == Format::csv) {
        const Rows rows(common, "", {"request", "type", "bytes", "hex"});
        return rows.print({pending->id.text(), type_name, answer.size(), hex_of(answer)});
    }
    Json object;
    object["schema"] = "shmbus.answer/1";
    object["request"] = pending->id.text();
    object["type"] = type_name;
    add_body(object, member.bus(), pending->type, answer);
    print_line(object.dump());
}

}  // namespace

void add_request_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<RequestLine>();
    const Command command = app.add("request", "Send a command and print its answer");
    command.option("type", line->type, "The name of the command's type").required();
    add_body_options(command, line->body);
    command.option("--to", line->to, "An endpoint, instead of the one that handles it");
    command.option("--timeout", line->timeout,
                   "How long to wait for the answer; default: 5s");
    command.flag("--raw", line->raw, "Print exactly the answer's bytes");
    // --hex is taken by the message that is sent.
    command.flag("--answer-hex", line->hex, "Print the answer as hexadecimal digits");
    command.runs([&common, line] { request(common, *line); });
}

}  // namespace shmbus::cli
