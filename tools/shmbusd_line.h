// What the command line of the daemon, its environment and its configuration file ask for together.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <string>

#include "daemon/config.h"

namespace shmbus::tools {

struct CommandLine {
    std::string bus;
    std::string directory;
    std::string config_file;
    std::string group;
    std::string journal;
    bool foreground = false;
    std::chrono::nanoseconds idle_exit{0};
    // For the library, which starts the daemon in the background.
    bool detached = false;
    bool make_root = false;
    int report_fd = -1;
};

// What the file, the line and the environment say. Throws SetupError: something there is wrong.
[[nodiscard]] daemon::Config configuration(CommandLine& line);
// Where the bus and its journal lie; makes the directory that buses lie in. Throws SetupError.
void find_place(const CommandLine& line, daemon::Config& config);

}  // namespace shmbus::tools
