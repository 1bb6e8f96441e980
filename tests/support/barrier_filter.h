// What the kernel does when this process asks for its barrier, membarrier(2).
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cerrno>
#include <cstdint>

#include "support/call_filter.h"

namespace shmbus::test {

// As filter_call.
inline void filter_barrier(std::uint32_t action) { filter_call(__NR_membarrier, action); }

// From here on the barrier does not exist for this process.
inline void deny_barrier() { filter_barrier(SECCOMP_RET_ERRNO | ENOSYS); }

}  // namespace shmbus::test
