// Dying, or being overtaken, at the n-th step. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "kill/steps.h"

#include <utility>

#include <signal.h>
#include <unistd.h>

#include "base/atomics.h"

namespace shmbus::test {

namespace {

// Of this process: words are spelled by type, there is nothing to hand a counter through.
struct Count {
    std::uint64_t done = 0;
    std::uint64_t stop_at = 0;  // 0: not counting
    std::function<void()> what;
};
Count& count() noexcept {
    static Count the_count;
    return the_count;
}
void kill_this_process() { ::kill(::getpid(), SIGKILL); }

}  // namespace

void step() noexcept {
    Count& mine = count();
    if (mine.stop_at == 0 || ++mine.done != mine.stop_at) return;
    mine.stop_at = 0;
    mine.what();
}

void die_at_step(std::uint64_t kill_at) noexcept { count() = {0, kill_at, kill_this_process}; }

void interrupt_at_step(std::uint64_t at, std::function<void()> what) {
    count() = {0, at, std::move(what)};
}

bool end_of_steps() noexcept {
    const bool reached = count().stop_at == 0;
    count() = {};
    return reached;
}

}  // namespace shmbus::test
