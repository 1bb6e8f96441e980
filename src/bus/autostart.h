// Starts the daemon of a bus when none runs.
//
// Called at set-up, and when the daemon is needed and does not answer. The daemon becomes nobody's
// child (two forks), leads a session of its own, and writes to the bus's daemon.log. It leaves by
// itself when nobody has used the bus for a while.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <string>

#include "bus/locate.h"

namespace shmbus::detail {

inline constexpr std::chrono::seconds autostart_idle_exit{30};

// Whether the environment allows it (SHMBUS_START_DAEMON is not 0).
[[nodiscard]] bool may_start_daemon();

// The program that will be started: $SHMBUS_DAEMON, else shmbusd beside this library or program as
// it was installed or built, else the first shmbusd in $PATH. Empty when there is none.
[[nodiscard]] std::string find_daemon_program();

// Starts one and returns when it listens, or when it has ended because another one runs. Returns
// an empty text then, else one sentence why not: no program, it failed at once (its log is
// named), it was not ready by the deadline.
[[nodiscard]] std::string start_daemon(const BusLocation& location,
                                       std::chrono::steady_clock::time_point deadline);

}  // namespace shmbus::detail
