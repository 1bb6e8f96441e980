// A slice of a peer that cannot be set up any more, since its server does not start or a limit of
// the system is reached: a void figure with the reason, not the end of a run.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <exception>

namespace shmbus::bench {

template <typename Measure>
Sample attempt(Measure measure) {
    Sample sample;
    try {
        sample = measure();
    } catch (const std::exception& error) {
        sample.integrity = error.what();
    }
    return sample;
}

}  // namespace shmbus::bench
