// Asking the kernel who is alive. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/living.h"

#include <shmbus/result.h>

#include "lane/peers.h"

namespace shmbus::cli {

Living::State Living::state_of(wire::Reference who) {
    const auto [known, is_new] = known_.try_emplace(who, State::unknown);
    if (!is_new) return known->second;
    try {
        const base::Witness witness(bus_.folder().participants().fd(),
                                    lane::participant_file_name(who), lane::life_mark_at);
        known->second = !witness.proved_dead() ? State::alive
                        : witness.has_left()   ? State::left
                                               : State::dead;
    } catch (const SetupError& error) {
        // Its page is removed only after it was buried.
        if (error.system_error() == ENOENT) known->second = State::left;
    }
    return known->second;
}

const char* name_of(Living::State state) noexcept {
    switch (state) {
        case Living::State::alive: return "alive";
        case Living::State::left: return "left";
        case Living::State::dead: return "dead";
        case Living::State::unknown: return "unknown";
    }
    return "?";
}

}  // namespace shmbus::cli
