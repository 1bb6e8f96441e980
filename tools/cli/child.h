// Runs a shell command with bytes as its standard input and gathers its standard output.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/body.h"

namespace shmbus::cli {

struct ChildEnd {
    Bytes output;
    int status = 0;  // as the shell has it: 128 and the signal when a signal ended it
};
// `variables` are added to the environment. Standard error stays ours. Throws Trouble when it
// cannot be started.
[[nodiscard]] ChildEnd run_shell(const std::string& command, std::span<const std::byte> input,
                                 const std::vector<std::pair<std::string, std::string>>& variables);

}  // namespace shmbus::cli
