// Waiting for signals in a thread. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/until_stopped.h"

#include <pthread.h>
#include <unistd.h>

namespace shmbus::cli {

UntilStopped::UntilStopped() {
    ::sigemptyset(&signals_);
    for (const int one : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals_, one);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

void UntilStopped::then(std::function<void()> stop) {
    stop_ = std::move(stop);
    thread_ = std::thread([this] { watch(); });
}

UntilStopped::~UntilStopped() {
    if (!thread_.joinable()) return;
    ending_.store(true, std::memory_order_relaxed);  // relaxed: the signal below orders it
    ::pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
}

void UntilStopped::watch() {
    int which = 0;
    ::sigwait(&signals_, &which);
    if (ending_.load(std::memory_order_relaxed)) return;  // relaxed: see the destructor
    stopped_.store(true, std::memory_order_relaxed);      // relaxed: see goes_on
    if (stop_) stop_();
    // A second signal ends the program whatever it is doing. The destructor's ends only this.
    ::sigwait(&signals_, &which);
    if (!ending_.load(std::memory_order_relaxed)) ::_exit(128 + which);  // relaxed: as above
}

}  // namespace shmbus::cli
