// Every peer's maker. Each stands in a file of its own beside this one.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "peer.h"

namespace shmbus::bench {

Peer unix_socket();

}  // namespace shmbus::bench
