// Goes on until somebody says stop: SIGINT, SIGTERM, SIGHUP.
//
// Made before the first other thread of the program, so that all of them leave these signals to it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

namespace shmbus::cli {

class UntilStopped {
public:
    // Signals wait from here on.
    UntilStopped();
    ~UntilStopped();
    UntilStopped(const UntilStopped&) = delete;
    UntilStopped& operator=(const UntilStopped&) = delete;

    // `stop` is called once, in a thread of its own, when a signal comes or has come.
    void then(std::function<void()> stop);
    // relaxed: a loop's condition; nothing is passed along.
    [[nodiscard]] bool goes_on() const noexcept {
        return !stopped_.load(std::memory_order_relaxed);
    }

private:
    void watch();
    std::function<void()> stop_;
    sigset_t signals_{};
    std::atomic<bool> stopped_{false};
    std::atomic<bool> ending_{false};
    std::thread thread_;
};

}  // namespace shmbus::cli
