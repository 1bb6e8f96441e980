// A slice of a peer that cannot be set up any more, since its server does not start or a limit of
// the system is reached: no figure, and the reason, not the end of a run. Nothing was lost.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <exception>
#include <string>

namespace shmbus::bench {

template <typename Measure>
Sample attempt(Measure measure) {
    Sample sample;
    try {
        sample = measure();
    } catch (const std::exception& error) {
        sample.mark = std::string("did not run: ") + error.what();
    }
    return sample;
}

}  // namespace shmbus::bench
