// Asks a daemon how it is, without joining its bus.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/file.h"

namespace shmbus::cli {

struct DaemonSays {
    enum class State : std::uint8_t { answers, silent, absent, foreign };
    State state = State::absent;
    std::uint64_t pid = 0;
    std::chrono::nanoseconds uptime{0};
    std::uint64_t journal = 0;  // its condition: 0 in service, or not in use
    std::string why;  // foreign: it speaks another version
};
[[nodiscard]] DaemonSays ask_daemon(const base::File& directory, std::chrono::milliseconds limit);

}  // namespace shmbus::cli
