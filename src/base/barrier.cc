// membarrier(2), the global expedited kind.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace shmbus::base {

namespace {

[[nodiscard]] long membarrier(int command) noexcept {
    return ::syscall(SYS_membarrier, command, 0, 0);
}

}  // namespace

bool barrier_available() noexcept {
    // Static in the function: the kernel's answer is the same for the life of the process.
    static const bool available = [] {
        const long known = membarrier(MEMBARRIER_CMD_QUERY);
        return known > 0 && (known & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0 &&
               (known & MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) != 0;
    }();
    return available;
}

bool register_for_global_barrier() noexcept {
    return barrier_available() && membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
}

bool global_barrier() noexcept {
    return barrier_available() && membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0;
}

}  // namespace shmbus::base
