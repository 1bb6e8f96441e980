// The calling thread's place and the fork handler. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/thread_place.h"

#include <pthread.h>

namespace shmbus::detail {

thread_local constinit ThreadPlace this_thread_place [[gnu::tls_model("initial-exec")]]{};

namespace {

std::atomic<std::uint32_t>& forks() noexcept {
    // Static: the fork handler takes no argument.
    static constinit std::atomic<std::uint32_t> count{0};
    return count;
}

// Runs in the child, in its only thread, before fork() returns.
void in_child() noexcept {
    // relaxed: the child has one thread.
    forks().fetch_add(1, std::memory_order_relaxed);
    this_thread_place = {};
}

}  // namespace

const std::atomic<std::uint32_t>& fork_count() noexcept { return forks(); }

void watch_forks() noexcept {
    // Static: once per process, as the handler cannot be taken back.
    static const bool watching = ::pthread_atfork(nullptr, nullptr, &in_child) == 0;
    static_cast<void>(watching);
}

std::uint64_t new_bus_token() noexcept {
    // Static: what makes it unique is that the process has one.
    static constinit std::atomic<std::uint64_t> last{0};
    // relaxed: only the number matters.
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace shmbus::detail
