// Where the calling thread's lanes on a bus are: two thread-local words, looked at by each send.
//
// Written by the slow half of a send (outbound.cc) and by the fork handler below. A bus is known by
// a token that is never given out twice in a process, so that a place left over from a bus that is
// gone matches nothing and its pointer is never followed.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <cstdint>

namespace shmbus::detail {

class Outbound;

struct ThreadPlace {
    std::uint64_t token = 0;  // 0: this thread has sent nothing yet
    Outbound* outbound = nullptr;
};

// Thread-local, because each thread has lanes of its own and must find them in two loads. constinit
// and of the initial-exec model: no guard and no call stand before the access. In a forked child it
// is emptied before anything else runs there.
extern thread_local constinit ThreadPlace this_thread_place [[gnu::tls_model("initial-exec")]];

// Counts the forks that led to this process since the library was first used. A bus remembers the
// number from its opening; when it differs, this is a child of the process whose bus it is.
// One for the process, because the kernel's fork has one for the process.
[[nodiscard]] const std::atomic<std::uint32_t>& fork_count() noexcept;

// Arranges for the above; harmless to repeat.
void watch_forks() noexcept;

// A number that no other bus of this process ever had.
[[nodiscard]] std::uint64_t new_bus_token() noexcept;

}  // namespace shmbus::detail
