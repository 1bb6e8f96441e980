// All peers, in the order in which they are listed.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/peer_list.h"

namespace shmbus::bench {

std::vector<Peer> all_peers() {
    return {unix_socket(), pipe_peer(), posix_queue(), boost_queue(),
            zeromq(), nng_peer(), iceoryx(),
            redis(), rabbitmq(), sqlite(), rocksdb_peer(), nats()};
}

}  // namespace shmbus::bench
