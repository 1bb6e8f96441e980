// iceoryx's daemon, which all its processes need: started for a measurement, stopped after it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "peers/server.h"

#include <memory>
#include <optional>
#include <string>

namespace shmbus::bench {

// The one that runs; it ends with its last holder. Throws std::runtime_error.
std::shared_ptr<Server> running_roudi();

// Why none can be started here: not installed, one runs already, memory is short.
std::optional<std::string> why_no_roudi();

}  // namespace shmbus::bench
