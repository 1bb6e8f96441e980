// shmbus help CODE, shmbus completion: words about words.
//
// SPDX-License-Identifier: BSL-1.0
#include <charconv>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>

#include <shmbus/context.h>
#include <shmbus/result.h>

#include "cli/completion.h"
#include "cli/listing.h"
#include "cli/nouns.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

struct Topic {
    const char* code;
    const char* meaning;
    const char* likely;
    const char* helps;
};

// What only this program says; the library's own codes come from the library and from `advice`.
constexpr Topic own_topics[] = {
    {"no_bus", "There is no bus of that name.",
     "Buses are directories: of a name, below SHMBUS_DIR or its default; a word with a slash is "
     "the directory itself. One that a daemon of the library served goes when nobody has used it "
     "for a while and nothing is left in it.",
     "shmbus env; shmbus ls --bus NAME; shmbus run"},
    {"no_type", "The bus knows no message type of that name.",
     "Types become known when a program first handles, sends or publishes one, and stay until the "
     "bus is removed.",
     "shmbus type ls; shmbus type add NAME command|event|reply"},
    {"no_message", "No message of that id stands there.",
     "It was handled, moved or archived meanwhile, or its id has another spelling.",
     "shmbus failed ls; shmbus peek ENDPOINT"},
    {"in_hand", "Another process holds the message.",
     "A consumer has taken it and not finished; what a dead one held is taken over.",
     "shmbus endpoint show ENDPOINT; shmbus process ls"},
};

struct Advice {
    ErrorCode code;
    const char* likely;
    const char* helps;
};
constexpr Advice advice[] = {
    {ErrorCode::full, "Its consumers are slower than its senders, stopped, or not there.",
     "shmbus endpoint show ENDPOINT names who holds what; a larger lane: "
     "EndpointOptions::lane_bytes or shmbus endpoint create --lane-bytes"},
    {ErrorCode::timeout, "The receiver is away, stopped or slow.",
     "shmbus endpoint ls; shmbus process ls; a longer --timeout"},
    {ErrorCode::too_large, "A message takes at most a quarter of its lane.",
     "larger lanes: shmbus endpoint create --lane-bytes, BusOptions::lane_bytes"},
    {ErrorCode::closed, "The handle was moved from, or is used in a forked child.",
     "open the bus again after fork"},
    {ErrorCode::no_route, "No endpoint has announced that it handles the command.",
     "start its receiver; shmbus endpoint create NAME --handles TYPE says where it goes also "
     "while none runs; --to names a receiver for one message"},
    {ErrorCode::no_endpoint, "The name is misspelt, or nobody has made it yet.",
     "shmbus endpoint ls; shmbus endpoint create NAME"},
    {ErrorCode::no_daemon, "It was never started, has ended, or may not be started by the library "
                           "(SHMBUS_START_DAEMON=0).",
     "shmbus run; shmbus env; shmbus doctor"},
    {ErrorCode::refused, "A quota, a conflict, another user's things; the message says which.",
     "shmbus doctor; the daemon's configuration"},
    {ErrorCode::lane_lost, "Somebody wrote to the files of the bus, or cut one short.",
     "shmbus doctor; nothing but shmbus should write below the bus's directory"},
    {ErrorCode::would_block, "Handlers must not wait, or they would wait for themselves.",
     "co_await, or a callback"},
    {ErrorCode::stopped, "Whoever made the request has asked for its end.", ""},
    {ErrorCode::wrong_type, "Sender and receiver were built with different declarations.",
     "shmbus type show TYPE; build both from one header"},
    {ErrorCode::not_decodable, "Sender and receiver were built with different declarations.",
     "shmbus type show TYPE; build both from one header"},
    {ErrorCode::handler_failed, "Its handler threw as often as it may, or its process died.",
     "shmbus failed ls; shmbus failed show ID; shmbus failed retry ID"},
    {ErrorCode::too_many, "A batch has at most 4,096 messages, a handler 65,000 outputs.",
     "send in several parts"},
    {ErrorCode::no_reply_address, "The message was sent, not requested.", "Bus::request"},
    {ErrorCode::no_journal, "The disk is full, the journal damaged, or not ours.",
     "shmbus journal stat; shmbus journal verify; shmbus doctor"},
};

[[nodiscard]] std::optional<ErrorCode> code_named(const std::string& word) {
    for (int number = 0; number < 256; ++number) {
        const auto code = static_cast<ErrorCode>(number);
        if (name_of(code) == "unknown") return std::nullopt;
        if (name_of(code) == word) return code;
    }
    return std::nullopt;
}

void print_topic(const Common& common, const std::string& title, const std::string& meaning,
                 const std::string& likely, const std::string& helps) {
    if (common.format != Format::table) {
        const auto told = [](const std::string& text) {
            return text.empty() ? Json() : Json(text);
        };
        Facts facts("shmbus.help/1");
        facts.add("about", title).add("meaning", meaning);
        facts.add("likely", told(likely)).add("helps", told(helps));
        return facts.print(common);
    }
    print_line(title + "\n");
    print_line("  " + meaning);
    if (!likely.empty()) print_line("\n  Likely: " + likely);
    if (!helps.empty()) print_line("\n  Helps: " + helps);
}

[[nodiscard]] bool help_with_code(const Common& common, const std::string& word) {
    const auto code = code_named(word);
    if (!code) return false;
    // The library's own sentence, without the name and the code in front.
    std::string sentence = Error(*code).text();
    sentence.erase(0, std::string("shmbus: " + word + ": ").size());
    for (const Advice& one : advice)
        if (one.code == *code) {
            print_topic(common, word, sentence, one.likely, one.helps);
            return true;
        }
    print_topic(common, word, sentence, "", "");
    return true;
}

[[nodiscard]] bool help_with_topic(const Common& common, const std::string& word) {
    for (const Topic& one : own_topics)
        if (word == one.code) {
            print_topic(common, word, one.meaning, one.likely, one.helps);
            return true;
        }
    return false;
}

[[nodiscard]] bool help_with_status(const Common& common, const std::string& word) {
    int status = 0;
    const char* const end = word.data() + word.size();
    const auto [stopped, error] = std::from_chars(word.data(), end, status);
    if (error != std::errc{} || stopped != end) return false;
    const ExitMeaning* const found = find_exit(status);
    if (found == nullptr) return false;
    print_topic(common, "exit status " + word + " (" + found->name + ")", found->meaning, "", "");
    return true;
}

[[nodiscard]] std::vector<std::string> all_codes() {
    std::vector<std::string> codes;
    for (int number = 0; number < 256; ++number) {
        const std::string_view name = name_of(static_cast<ErrorCode>(number));
        if (name == "unknown") break;
        codes.emplace_back(name);
    }
    for (const Topic& one : own_topics) codes.emplace_back(one.code);
    return codes;
}

void list_codes(const Common& common) {
    Listing listing("shmbus.help_list/1", {"code"});
    for (const std::string& code : all_codes()) listing.add({code});
    listing.print(common);
}

void help(const Common& common, const CLI::App& app, const std::string& word) {
    if (word.empty() && common.format != Format::table) return list_codes(common);
    if (word.empty()) {
        print(app.help());
        print_line("\nCodes that errors name; shmbus help CODE says more:");
        for (const std::string& code : all_codes()) print_line("  " + code);
        return;
    }
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
        if (command->check_name(word)) {
            if (common.format == Format::table) return print(command->help("shmbus"));
            return print_topic(common, word, command->get_description(), "",
                               "shmbus " + word + " --help");
        }
    if (help_with_code(common, word) || help_with_topic(common, word) ||
        help_with_status(common, word))
        return;
    throw Trouble(Exit::unknown_name, "there is no help for \"" + word + "\"", "",
                  "shmbus help lists all codes");
}

}  // namespace

void add_help_commands(const Command& app, const Common& common) {
    const CLI::App& parser = app.parser();
    auto word = std::make_shared<std::string>();
    const Command command = app.add("help", "What a code or an exit status means");
    command.option("code", *word, "A code, as errors name it, a status, or a command");
    command.runs([&common, &parser, word] { help(common, parser, *word); });
    auto shell = std::make_shared<std::string>();
    const Command completion =
        app.add("completion", "What a shell needs to complete commands");
    completion.option("shell", *shell, "bash").required().one_of({"bash"});
    completion.runs([&common, &parser, shell] {
        require_table(common, "completion", "it prints a script for the shell");
        print(bash_completion(parser));
    });
}

}  // namespace shmbus::cli
