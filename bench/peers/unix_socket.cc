// Unix domain sockets: a connected pair of stream sockets for each receiver.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/byte_stream.h"
#include "peers/peer_list.h"

#include <array>
#include <cerrno>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <system_error>

namespace shmbus::bench {
namespace {

Ends open_pair() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        throw std::system_error(errno, std::generic_category(), "making a pair of Unix sockets");
    }
    // More than the system allows is cut down to what it allows.
    const int wanted = 4 << 20;
    ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
    return {ends[0], ends[1]};
}

}  // namespace

Peer unix_socket() {
    Peer peer;
    peer.name = "Unix socket";
    utsname system{};
    ::uname(&system);
    peer.version = std::string("Linux ") + system.release;
    peer.configuration =
        "SOCK_STREAM pair, send buffer as large as the system allows, a write per message, reads of "
        "256 KiB; a pair per subscriber";
    peer.guarantees.kill_safe = true;
    const MakeWay make = [](std::size_t bytes, std::size_t receivers) {
        return byte_stream(bytes, receivers, open_pair);
    };
    run_over(peer, make);
    fan_out_over(peer, make);
    pack_over(peer, make);
    return peer;
}

}  // namespace shmbus::bench
