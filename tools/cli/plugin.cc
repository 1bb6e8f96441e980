// Running shmbus-WORD. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/plugin.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include <CLI/CLI.hpp>

#include "base/name.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

// The first word that is no option, nor an option's value; `count` when there is none.
[[nodiscard]] int place_of_command(int count, char** words, std::string& bus) {
    for (int at = 1; at < count; ++at) {
        const std::string_view word = words[at];
        if (word == "--bus" || word == "-b" || word == "--format" || word == "--color") {
            const bool is_bus = word == "--bus" || word == "-b";
            if (is_bus && at + 1 < count) bus = words[at + 1];
            ++at;
        } else if (word.starts_with("--bus=")) {
            bus = word.substr(6);
        } else if (!word.starts_with('-')) {
            return at;
        }
    }
    return count;
}

}  // namespace

void become_plugin(const CLI::App& app, int count, char** words) {
    std::string bus;
    const int place = place_of_command(count, words, bus);
    if (place == count || !base::is_valid_name(words[place])) return;
    const std::string name = words[place];
    const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
    if (std::ranges::any_of(commands, [&](const CLI::App* one) { return one->check_name(name); }))
        return;
    std::string program = "shmbus-" + name;
    std::vector<char*> arguments{program.data()};
    for (int at = place + 1; at < count; ++at) arguments.push_back(words[at]);
    arguments.push_back(nullptr);
    if (!bus.empty()) ::setenv("SHMBUS_BUS", bus.c_str(), 1);
    ::execvp(program.c_str(), arguments.data());
    if (errno == ENOENT || errno == ENOTDIR)
        throw Trouble(Exit::usage, "there is no command \"" + name + "\"",
                      "it is misspelt, or a program " + program + " is not in the PATH",
                      "shmbus --help");
    throw Trouble(errno == EACCES ? Exit::permission : Exit::system,
                  "running " + program + ": " + system_words(errno));
}

}  // namespace shmbus::cli
