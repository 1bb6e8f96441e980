// Messages sent and handled in turn by one process: what `shm-bench profile` counts.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <string>

namespace shmbus::bench {

// Sends and handles so many messages of 32 bytes, a multiple of 1,024, in this process:
//   pingpong   a command and the command that answers it, together one message
//   oneway     commands
//   packed     commands, 64 behind one header
//   loan       commands written in the receiver's lane
//   publish    events, to one subscriber
//   request    a request and its reply, taken by a callback, together one message
// Throws std::runtime_error: no such scenario; messages are missing.
void step_through(const std::string& scenario, std::size_t messages);

// Their names, for people.
[[nodiscard]] std::string steps_there_are();

}  // namespace shmbus::bench
