// What one message costs in counts: instructions, cycles, cache misses, system calls.
//
// One process: sender and receiver are stepped in turn, so that the counts are of the bus and not
// of waiting. From the processor's counters where the kernel lets us, otherwise instructions from
// valgrind's callgrind; system calls from strace. Each is the difference of two runs, over the
// messages that one had more.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace shmbus::bench {

struct Profile {
    std::string scenario;
    std::string source;  // of the instructions: "processor" or "callgrind"
    std::optional<double> instructions;  // each: per message; none: could not be counted
    std::optional<double> cycles;
    std::optional<double> cache_misses;
    std::optional<double> system_calls;
};

// A scenario of steps.h. `by_callgrind` asks for counts that are the same on every
// machine. Throws std::runtime_error: no such scenario, or nothing can be counted here.
[[nodiscard]] Profile profile(const std::string& scenario, bool by_callgrind);
[[nodiscard]] std::string json_line(const Profile& profile);
[[nodiscard]] std::string table_text(const Profile& profile);

}  // namespace shmbus::bench
