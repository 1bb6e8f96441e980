// The terminal: shows a page, reads keys. The one place that knows ncurses.
//
// Leaves the terminal as it was found: at its end, and when the process is told to end (SIGINT,
// SIGTERM, SIGHUP, SIGQUIT), which only sets a flag that `wait` returns for.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/result.h>

#include <chrono>
#include <optional>

#include "top/cells.h"
#include "top/keys.h"

namespace shmbus::top {

// There is none that a screen could be shown on.
struct NoTerminal : SetupError {
    using SetupError::SetupError;
};

class Terminal {
public:
    // Throws NoTerminal when the standard output is no terminal, or of a kind that is not known.
    explicit Terminal(bool has_colours);
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;
    ~Terminal();

    [[nodiscard]] Size size() const noexcept;
    void show(const Page& page) noexcept;
    // A key that was pressed; nothing when the time is over, the size has changed, or a signal
    // came.
    [[nodiscard]] std::optional<Key> wait(std::chrono::milliseconds limit) noexcept;
    // The signal that asked this process to end; 0: none.
    [[nodiscard]] static int told_to_end() noexcept;

private:
    bool has_colours_ = false;
};

// True when the locale of the environment has the characters of the Unicode alphabet. Sets it.
[[nodiscard]] bool take_up_locale() noexcept;

}  // namespace shmbus::top
