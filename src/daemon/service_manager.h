// Telling systemd, or whoever set NOTIFY_SOCKET, that we are ready, alive, stopping.
//
// The protocol is that of sd_notify(3), which asks for no library: one datagram of lines KEY=VALUE
// to a socket. Without NOTIFY_SOCKET nothing is said. Used by the daemon's one thread.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <string>

#include "base/file.h"

namespace shmbus::daemon {

class ServiceManager {
public:
    // Reads the environment and takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of it, so
    // that children do not speak for us. A socket that cannot be reached is left alone.
    ServiceManager();
    void ready(const std::string& status) const noexcept;
    void stopping() const noexcept;
    // Called at least every watchdog() / 4: says that we are alive when half of it has passed.
    void alive() noexcept;
    // How long we may be silent; zero: as long as we like.
    [[nodiscard]] std::chrono::microseconds watchdog() const noexcept { return watchdog_; }

private:
    using Clock = std::chrono::steady_clock;
    void say(const std::string& lines) const noexcept;

    base::File socket_;
    std::chrono::microseconds watchdog_{0};
    Clock::time_point next_{};
};

}  // namespace shmbus::daemon
