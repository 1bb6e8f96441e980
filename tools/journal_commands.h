// shmbus journal: what stands in a journal, whether all of it is sound, and accepting a loss.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace shmbus::tools {

struct JournalCommandLine {
    std::string directory;
    std::vector<std::string> ranges;  // "FIRST-LAST", LSNs
    bool all = false;
};

// Adds the command; its callbacks throw SetupError, or CLI::RuntimeError with the exit status.
// `bus` and `json` are filled by the program's own options.
void add_journal_commands(CLI::App& app, JournalCommandLine& line, const std::string& bus,
                          const bool& json);

}  // namespace shmbus::tools
