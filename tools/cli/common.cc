// The options that every command has, and writing to people. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/common.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <poll.h>
#include <unistd.h>

#include "bus/locate.h"
#include "cli/trouble.h"

namespace shmbus::cli {

std::string Common::painted(std::string_view text, Paint paint) const {
    if (!has_colour || paint == Paint::plain) return std::string(text);
    const char* const codes[] = {"", "1", "32", "33", "31", "2"};
    return "\033[" + std::string(codes[static_cast<std::size_t>(paint)]) + "m" +
           std::string(text) + "\033[0m";
}

void add_common_options(const Command& app, Common& common) {
    app.option("--bus,-b", common.bus,
                   "Name of the bus, or a path (with a slash); default: $SHMBUS_BUS or 'default'");
    app.calls("--format",
              [&](const std::string& wanted) {
                  common.format = wanted == "json"  ? Format::json
                                  : wanted == "csv" ? Format::csv
                                                    : Format::table;
              },
              "How answers are printed: table, json or csv")
        .one_of({"table", "json", "csv"});
    app.flag_calls("--json", [&] { common.format = Format::json; }, "Same as --format json");
    // The variable that no-color.org describes.
    common.has_colour = ::isatty(STDOUT_FILENO) == 1 && detail::environment("NO_COLOR").empty() &&
                        detail::environment("TERM") != "dumb";
    app.calls("--color",
              [&](const std::string& wanted) {
                  if (wanted != "auto") common.has_colour = wanted == "always";
              },
              "auto, always or never; auto heeds NO_COLOR")
        .one_of({"auto", "always", "never"});
}

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_line(std::string_view text) {
    print(text);
    print("\n");
}

void flush_output() {
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
    throw Trouble(Exit::io, "standard output took not all of it",
                  errno == ENOSPC ? "the file system that it goes to is full" : "", "");
}

void heed_reader() noexcept {
    pollfd output{STDOUT_FILENO, 0, 0};
    // Of a pipe or a socket without a reader, whatever is asked for.
    if (::poll(&output, 1, 0) > 0 && (output.revents & POLLERR) != 0) std::raise(SIGPIPE);
}

void require_table(const Common& common, const std::string& command, const std::string& why) {
    if (common.format == Format::table) return;
    throw Trouble(Exit::usage, command + " has neither JSON nor CSV", why,
                  "leave --format and --json away");
}

bool is_agreed(bool said_yes, const std::string& question) {
    if (said_yes) return true;
    if (::isatty(STDIN_FILENO) != 1)
        throw Trouble(Exit::usage, "this wants a yes: " + question,
                      "nobody can be asked, because standard input is no terminal",
                      "say --yes, or look first with --dry-run where the command has it");
    std::fprintf(stderr, "%s [y/N] ", question.c_str());
    const int answer = std::getchar();
    // Ends: with the line.
    for (int rest = answer; rest != '\n' && rest != EOF;) rest = std::getchar();
    return answer == 'y' || answer == 'Y';
}

std::string all_of_file(const std::string& path) {
    struct Close {
        void operator()(std::FILE* file) const noexcept {
            if (file != stdin) std::fclose(file);
        }
    };
    const std::unique_ptr<std::FILE, Close> file(path == "-" ? stdin
                                                             : std::fopen(path.c_str(), "rb"));
    if (!file)
        throw Trouble(errno == EACCES ? Exit::permission : Exit::unknown_name,
                      "cannot read " + path + ": " + system_words(errno));
    std::string text;
    char part[65536];
    // Ends: with the file.
    for (;;) {
        const std::size_t got = std::fread(part, 1, sizeof part, file.get());
        text.append(part, got);
        if (got < sizeof part) break;
    }
    if (std::ferror(file.get()) != 0)
        throw Trouble(Exit::io, "reading " + path + " failed: " + system_words(errno));
    return text;
}

}  // namespace shmbus::cli
