// shmbus metrics: the figures of a bus for those who collect them, printed or served.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace shmbus::cli {

// Adds the command; its callback throws SetupError. `bus` is filled by the program's own options.
void add_metrics_commands(CLI::App& app, const std::string& bus);

}  // namespace shmbus::cli
