// A way over file descriptors that carry bytes in order: pipes, stream sockets, POSIX queues.
//
// All messages of a way are of one size, so nothing needs to frame them, and what a queue carries
// in parts is put together again.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "peers/way.h"

#include <sys/types.h>

namespace shmbus::bench {

struct Ends {
    int read_fd;
    int write_fd;
};

// What a kind of descriptor does differently. Results and errno as of read and write.
struct ByteKind {
    Ends (*open)(std::size_t bytes);  // a connected pair, once for each receiver; the way closes it
    ssize_t (*read)(int fd, void* into, std::size_t bytes);
    ssize_t (*write)(int fd, const void* from, std::size_t bytes);
};

std::unique_ptr<Way> byte_stream(const ByteKind& kind, std::size_t bytes, std::size_t receivers);

// Everything that read(2) and write(2) can do between such pairs, packed streams too.
void stream_over(Peer& peer, Ends (*open)(std::size_t bytes));

// The kernel's version: what brings such peers.
std::string kernel_version();

}  // namespace shmbus::bench
