// Dying at the n-th step. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "kill/steps.h"

#include <signal.h>
#include <unistd.h>

#include "base/atomics.h"

namespace shmbus::test {

namespace {

// Of this process: words are spelled by type, there is nothing to hand a counter through.
struct Count {
    std::uint64_t done = 0;
    std::uint64_t kill_at = 0;  // 0: not counting
};
Count& count() noexcept {
    static Count the_count;
    return the_count;
}

}  // namespace

void step() noexcept {
    Count& mine = count();
    if (mine.kill_at == 0) return;
    if (++mine.done == mine.kill_at) ::kill(::getpid(), SIGKILL);
}

void die_at_step(std::uint64_t kill_at) noexcept { count() = {0, kill_at}; }

std::uint64_t steps_done() noexcept { return count().done; }

}  // namespace shmbus::test
