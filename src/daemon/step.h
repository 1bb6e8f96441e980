// Steps on a durable message's way through the daemon, for tests that kill at each of them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace shmbus::daemon {

// Called with each step's name when it is not null. Set before the daemon runs.
inline void (*on_step)(const char* name) = nullptr;

inline void step(const char* name) {
    if (on_step != nullptr) [[unlikely]] on_step(name);
}

}  // namespace shmbus::daemon
