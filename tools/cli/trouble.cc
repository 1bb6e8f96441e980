// Texts and exit statuses of what went wrong. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/trouble.h"

#include <array>

#include <fmt/core.h>

namespace shmbus::cli {

namespace {

constexpr std::array<ExitMeaning, 12> meanings{{
    {Exit::ok, "ok", "done"},
    {Exit::usage, "usage", "the command line was not understood, or an answer was wanted (--yes)"},
    {Exit::damaged, "data", "bytes are not what they should be: a journal, a message, a type"},
    {Exit::unknown_name, "noinput", "there is no such endpoint, type, message or file"},
    {Exit::unavailable, "unavailable", "no bus, no daemon, or nobody who handles the command"},
    {Exit::failed, "software", "the receiver failed, or this program has an error"},
    {Exit::system, "oserr", "the system refused something"},
    {Exit::cannot_create, "cantcreat", "a file could not be made, or is there already"},
    {Exit::io, "ioerr", "reading or writing failed"},
    {Exit::try_later, "tempfail", "time was up, a queue is full, or something is in use"},
    {Exit::permission, "noperm", "not allowed"},
    {Exit::config, "config", "a configuration or an environment variable is wrong"},
}};

[[nodiscard]] Exit exit_of(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::ok: return Exit::ok;
        case ErrorCode::full:
        case ErrorCode::timeout:
        case ErrorCode::would_block:
        case ErrorCode::stopped: return Exit::try_later;
        case ErrorCode::refused: return Exit::try_later;
        case ErrorCode::too_large:
        case ErrorCode::too_many:
        case ErrorCode::wrong_type:
        case ErrorCode::not_decodable:
        case ErrorCode::lane_lost: return Exit::damaged;
        case ErrorCode::no_endpoint: return Exit::unknown_name;
        case ErrorCode::no_route:
        case ErrorCode::no_daemon:
        case ErrorCode::no_journal: return Exit::unavailable;
        case ErrorCode::closed:
        case ErrorCode::handler_failed:
        case ErrorCode::no_reply_address: return Exit::failed;
    }
    return Exit::failed;
}

// Which command helps with a refusal; "" where the sentence says it.
[[nodiscard]] std::string_view command_for(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::full: return "shmbus endpoint ls; shm-top shows who blocks a queue";
        case ErrorCode::no_route:
            return "start its receiver; shmbus endpoint create NAME --handles TYPE; or name one "
                   "with --to ENDPOINT";
        case ErrorCode::no_endpoint: return "shmbus endpoint ls";
        case ErrorCode::no_daemon: return "shmbus run; shmbus doctor";
        case ErrorCode::no_journal: return "shmbus journal verify; shmbus doctor";
        case ErrorCode::timeout: return "shmbus endpoint ls; shmbus process ls";
        case ErrorCode::handler_failed: return "shmbus failed ls";
        default: return "";
    }
}

}  // namespace

Trouble trouble_of(const Error& error, const std::string& tried) {
    const std::string code(name_of(error.code()));
    // The library's sentence begins with its own name and the code, which stand elsewhere here.
    std::string sentence = error.text();
    const std::string begin = "shmbus: " + code + ": ";
    if (sentence.starts_with(begin)) sentence.erase(0, begin.size());
    if (sentence.ends_with("?.")) sentence.pop_back();
    return {exit_of(error.code()), tried + ": " + tools::in_one_line(sentence), "",
            std::string(command_for(error.code())), code};
}

void require(const Result<void>& result, const std::string& tried) {
    if (!result) throw trouble_of(result.error(), tried);
}

std::string exit_statuses() {
    std::string text = "Exit statuses:\n";
    for (const ExitMeaning& one : meanings)
        text += fmt::format("  {:>3}  {}\n", static_cast<int>(one.status), one.meaning);
    return text + "  check: 0 fine, 1 warning, 2 critical, 3 cannot be told\n";
}

const ExitMeaning* find_exit(int status) {
    for (const ExitMeaning& one : meanings)
        if (static_cast<int>(one.status) == status) return &one;
    return nullptr;
}

}  // namespace shmbus::cli
