// Ends the process when a promise about our own memory is broken.
//
// Called anywhere, from any thread. Not for values that another process may have written: those
// are checked and refused. Stays in release builds: going on with a broken promise could damage
// messages of other processes.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdlib>
#include <cstring>

#include <unistd.h>

namespace shmbus::base {

// `what` states the promise, for example "a hand is cleared by its owner". Goes to standard error
// in the last moment of the process, the one time that the library writes anything there.
inline void check(bool holds, const char* what) noexcept {
    if (holds) [[likely]] return;
    const auto say = [](const char* text) {
        if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) std::abort();
    };
    say("shmbus: a broken promise: ");
    say(what);
    say("\n");
    std::abort();
}

}  // namespace shmbus::base
