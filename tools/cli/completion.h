// Completion of shmbus in bash, made from the commands themselves, so that it cannot lag behind.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace shmbus::cli {

[[nodiscard]] std::string bash_completion(const CLI::App& app);

}  // namespace shmbus::cli
