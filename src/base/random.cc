// Random numbers from the kernel.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/random.h"

#include <cerrno>

#include <sys/random.h>

#include <shmbus/result.h>

namespace shmbus::base {

std::uint64_t random_u64() {
    std::uint64_t value = 0;
    // Ends: each round either gets a number (zero once in 2^64) or throws.
    while (value == 0) {
        // Requests of up to 256 bytes come whole or not at all.
        if (::getrandom(&value, sizeof value, 0) < 0 && errno != EINTR) {
            throw SetupError{"getting a random number", "getrandom(2)", errno,
                             "allow the getrandom system call in the process's sandbox"};
        }
    }
    return value;
}

}  // namespace shmbus::base
