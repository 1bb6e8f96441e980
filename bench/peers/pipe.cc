// Pipes: one for each receiver.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/byte_stream.h"
#include "peers/peer_list.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

namespace shmbus::bench {
namespace {

Ends open_pipe(std::size_t) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        throw std::system_error(errno, std::generic_category(), "making a pipe");
    // As much as anybody may have without being root; refused where it would be too much in all.
    ::fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    return {ends[0], ends[1]};
}

}  // namespace

Peer pipe_peer() {
    Peer peer;
    peer.name = "pipe";
    peer.version = kernel_version();
    peer.configuration = "buffer of 1 MiB (F_SETPIPE_SZ), one write a message, reads of 256 KiB; "
                         "one pipe a subscriber";
    peer.guarantees.kill_safe = true;
    stream_over(peer, open_pipe);
    return peer;
}

}  // namespace shmbus::bench
