// shmbus serve: handles messages with a shell command, so that a script is a receiver.
//
// SPDX-License-Identifier: BSL-1.0
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "bus/endpoint_core.h"
#include "cli/body.h"
#include "cli/child.h"
#include "cli/member.h"
#include "cli/messages.h"
#include "cli/trouble.h"
#include "cli/until_stopped.h"

namespace shmbus::cli {

namespace {

struct ServeLine {
    std::string endpoint;
    std::vector<std::string> types;
    std::string reply;
    std::string command;
    std::uint64_t count = 0;
    unsigned attempts = 5;
    bool quiet = false;
};

constexpr std::chrono::milliseconds longest_wait{100};

class Server {
public:
    Server(const Common& common, const ServeLine& line)
        : common_(common), member_(common), line_(line) {
        if (common.format == Format::csv && !line.quiet)
            rows_.emplace(common, "", std::vector<std::string>{"id", "type", "bytes", "hex"});
        if (!line.reply.empty()) {
            reply_ = &member_.type(line.reply);
            if (reply_->kind != Kind::reply)
                throw Trouble(Exit::usage, "\"" + line.reply + "\" is no reply", "",
                              "shmbus type add NAME reply");
        }
        require_types();
        EndpointOptions options;
        options.attempts_when_throwing = line.attempts;
        endpoint_ = std::make_unique<detail::EndpointCore>(member_.shared_core(), line.endpoint,
                                                           options);
        for (const std::string& name : line.types) {
            const TypeDescriptor& type = member_.type(name);
            // We outlive the endpoint, which is ours.
            const std::shared_ptr<void> self(this, [](void*) {});
            endpoint_->add_handler(type, {&Server::call, self});
        }
    }
    // One at a time: what is not begun is left to others when we have enough.
    void run() {
        // Ends: told to, after as many as were wanted, or when nobody takes the output.
        // relaxed: nothing is passed along with it.
        while (goes_on_.load(std::memory_order_relaxed))
            if (endpoint_->poll(1) == 0) static_cast<void>(endpoint_->wait(longest_wait));
        if (output_failed_) throw *output_failed_;
    }
    void stop() noexcept {
        goes_on_.store(false, std::memory_order_relaxed);  // relaxed: as above
        endpoint_->stop();  // who waits is woken
    }

private:
    // Before an endpoint is made: one would be left behind that nobody reads.
    void require_types() {
        const OpenBus& bus = member_.bus();
        const bool is_new = !bus.reader().find_endpoint(line_.endpoint);
        for (const std::string& name : line_.types) {
            const TypeDescriptor& type = member_.type(name);
            if (type.kind == Kind::reply)
                throw Trouble(Exit::usage, "\"" + name + "\" is a reply: it goes to who asked");
            const std::uint32_t route = bus.reader().route(bus.type(name).index);
            if (!is_new || route == 0) continue;
            throw Trouble(Exit::unavailable,
                          "the command '" + name + "' is handled by endpoint '" +
                              bus.name_of_endpoint(route) + "', so '" + line_.endpoint +
                              "' cannot handle it too",
                          "", "shmbus endpoint show " + bus.name_of_endpoint(route));
        }
    }
    static FailureReason call(void* self, std::span<const std::byte> payload, Context& context) {
        static_cast<Server*>(self)->handle(payload, context);
        return FailureReason::none;
    }
    void handle(std::span<const std::byte> payload, const Context& context) {
        const Envelope& envelope = context.envelope();
        const ChildEnd end =
            run_shell(line_.command, payload,
                      {{"SHMBUS_MESSAGE_ID", envelope.id.text()},
                       {"SHMBUS_MESSAGE_TYPE", std::string(envelope.type)},
                       {"SHMBUS_MESSAGE_ATTEMPT", std::to_string(envelope.attempt)},
                       {"SHMBUS_MESSAGE_REDELIVERED", envelope.redelivered ? "1" : "0"},
                       {"SHMBUS_ENDPOINT", line_.endpoint}});
        // Thrown as a handler throws: tried again, and in the end in the error endpoint.
        if (end.status != 0)
            throw std::runtime_error("the command ended with status " +
                                     std::to_string(end.status));
        if (envelope.reply_to != 0 && reply_ != nullptr) answer(end.output);
        else if (!line_.quiet) show(envelope, end.output);
        if (envelope.reply_to != 0 && reply_ == nullptr && !std::exchange(has_said_, true))
            std::fprintf(stderr, "shmbus: somebody waits for an answer; --reply TYPE gives one\n");
        if (line_.count != 0 && ++handled_ >= line_.count) stop();
    }
    void answer(const Bytes& output) {
        if (reply_->bytes != 0 && reply_->bytes != output.size())
            throw std::runtime_error("the command answered " + std::to_string(output.size()) +
                                     " bytes, a reply has " + std::to_string(reply_->bytes));
        const Result<void> held = member_.out().delivery->reply(*reply_, output);
        if (!held) throw std::runtime_error(held.error().text());
    }
    void show(const Envelope& handled, const Bytes& output) {
        const std::string id = handled.id.text();
        if (rows_) {
            rows_->print({id, handled.type, output.size(), hex_of(output)});
        } else if (common_.is_json()) {
            Json object{{"schema", "shmbus.served/1"}, {"id", id}, {"type", handled.type}};
            add_body(object, member_.bus(), 0, output);
            print_line(object.dump(-1, ' ', false, Json::error_handler_t::replace));
        } else {
            print({reinterpret_cast<const char*>(output.data()), output.size()});
        }
        try {
            flush_output();
        } catch (const Trouble& trouble) {
            // It is handled all the same, the command has said so; others are not begun.
            output_failed_ = trouble;
            stop();
        }
    }

    const Common& common_;
    Member member_;
    const ServeLine& line_;
    std::optional<Rows> rows_;  // as CSV
    const TypeDescriptor* reply_ = nullptr;
    std::uint64_t handled_ = 0;
    bool has_said_ = false;
    std::atomic<bool> goes_on_{true};
    std::optional<Trouble> output_failed_;
    std::unique_ptr<detail::EndpointCore> endpoint_;  // last: it goes first
};

void serve(const Common& common, const ServeLine& line) {
    UntilStopped until;
    Server server(common, line);
    until.then([&] { server.stop(); });
    server.run();
}

}  // namespace

void add_serve_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<ServeLine>();
    const Command command = app.add(
        "serve", "Handle messages with a shell command: they are its standard input");
    command.option("endpoint", line->endpoint, "Where they arrive; made if it is not there")
        .required();
    command.option("--type", line->types, "What it handles: commands, and events it gets")
        .required();
    command.option("--command", line->command, "Run by /bin/sh for each message").required();
    command.option("--reply", line->reply,
                        "The type of the answer: the command's output goes to who asked");
    command.option("--count", line->count, "Leave after so many; default: never")
        .at_least_one("messages");
    command.option("--attempts", line->attempts,
                        "Times that a failing message is tried before it goes to 'error'");
    command.flag("--quiet", line->quiet, "Do not print the output of what is not answered");
    command.runs([&common, line] { serve(common, *line); });
}

}  // namespace shmbus::cli
