// A way over file descriptors that carry bytes in order and know no messages: pipes, stream sockets.
//
// All messages of a way are of one size, so nothing needs to frame them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "peers/way.h"

namespace shmbus::bench {

struct Ends {
    int read_fd;
    int write_fd;
};

// `open` makes one connected pair, called once for each receiver. The way closes them.
std::unique_ptr<Way> byte_stream(std::size_t bytes, std::size_t receivers, Ends (*open)());

}  // namespace shmbus::bench
