// A message as it stands in an archive, made into one of this bus again.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "cli/open_bus.h"
#include "cli/seen.h"

namespace shmbus::cli {

// Its type and the endpoint where it failed are found by their names. Whoever waited for an answer
// is left out: that was told that it failed. Throws Trouble: a member is missing or of another
// kind, the bus does not know the type, or it has another length here.
[[nodiscard]] SeenMessage message_of(const OpenBus& bus, const Json& message);

}  // namespace shmbus::cli
