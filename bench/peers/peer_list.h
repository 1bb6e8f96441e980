// Every peer's maker. Each stands in a file of its own beside this one.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "peer.h"

namespace shmbus::bench {

Peer unix_socket();
Peer pipe_peer();
Peer posix_queue();
Peer boost_queue();
Peer zeromq();
Peer nng_peer();
Peer iceoryx();
Peer redis();
Peer sqlite();
Peer rocksdb_peer();
Peer rabbitmq();
Peer nats();

}  // namespace shmbus::bench
