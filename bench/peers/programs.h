// Programs and ports of this machine: what servers need before they are started.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace shmbus::bench {

// The path of a program, looked for in PATH and where servers are installed.
std::optional<std::string> find_program(const std::string& name);

// The first number with dots in what `program --version` prints; empty if there is none.
std::string program_version(const std::string& program);

// A port that nobody listens on at this moment.
std::uint16_t free_port();

}  // namespace shmbus::bench
