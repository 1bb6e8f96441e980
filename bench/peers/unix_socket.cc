// Unix domain sockets: a connected pair for each receiver.
//
// Stream sockets: packets cost more each, and none of their calls takes many at once as cheaply as
// one write does.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/byte_stream.h"
#include "peers/peer_list.h"

#include <array>
#include <cerrno>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace shmbus::bench {
namespace {

Ends open_pair(std::size_t) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
        throw std::system_error(errno, std::generic_category(), "making a pair of Unix sockets");
    // More than the system allows is cut down to what it allows.
    const int wanted = 4 << 20;
    ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
    return {ends[0], ends[1]};
}

}  // namespace

Peer unix_socket() {
    Peer peer;
    peer.name = "Unix socket";
    peer.version = kernel_version();
    peer.configuration = "SOCK_STREAM pair, send buffer of 4 MiB or what the system allows, one "
                         "write a message, reads of 256 KiB; one pair a subscriber";
    peer.guarantees.kill_safe = true;
    stream_over(peer, open_pair);
    return peer;
}

}  // namespace shmbus::bench
