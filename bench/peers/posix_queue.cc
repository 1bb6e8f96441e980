// POSIX message queues: one for each receiver. See mq_overview(7).
//
// As deep as the system lets this user have them. What is larger than a queue's largest message
// goes in parts.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/byte_stream.h"
#include "peers/peer_list.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <mqueue.h>
#include <system_error>
#include <unistd.h>

namespace shmbus::bench {
namespace {

constexpr std::size_t queue_bytes = std::size_t{1} << 20;
constexpr std::size_t most_messages = 8192;

std::size_t allowed(const char* which, std::size_t otherwise) {
    std::size_t value = 0;
    std::ifstream(std::string("/proc/sys/fs/mqueue/") + which) >> value;
    return value > 0 ? value : otherwise;
}

mq_attr shape_for(std::size_t bytes, bool modest) {
    mq_attr shape{};
    const std::size_t part = std::min(bytes, allowed("msgsize_max", 8192));
    const std::size_t depth = modest ? allowed("msg_max", 10) : most_messages;
    shape.mq_msgsize = static_cast<long>(part);
    shape.mq_maxmsg = static_cast<long>(std::clamp<std::size_t>(queue_bytes / part, 1, depth));
    return shape;
}

Ends open_queue(std::size_t bytes) {
    static int number = 0;  // of this process, which opens its queues one after the other
    const std::string name =
        "/shm-bench." + std::to_string(::getpid()) + "." + std::to_string(number++);
    mqd_t written = -1;
    // Root may have deep ones, others as many messages as the system says.
    for (const bool modest : {false, true}) {
        mq_attr shape = shape_for(bytes, modest);
        if (written < 0)
            written = ::mq_open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600, &shape);
    }
    const int error = errno;
    const mqd_t read = written < 0 ? -1 : ::mq_open(name.c_str(), O_RDONLY);
    ::mq_unlink(name.c_str());
    if (read < 0)
        throw std::system_error(written < 0 ? error : errno, std::generic_category(),
                                "making a POSIX queue; see mqueue in prlimit(1)");
    return {read, written};
}

ssize_t receive_part(int fd, void* into, std::size_t bytes) {
    return ::mq_receive(fd, static_cast<char*>(into), bytes, nullptr);
}

ssize_t send_part(int fd, const void* from, std::size_t bytes) {
    // Asked for each time it would be a system call.
    static const std::size_t largest = allowed("msgsize_max", 8192);
    const std::size_t part = std::min(bytes, largest);
    const int sent = ::mq_send(fd, static_cast<const char*>(from), part, 0);
    return sent < 0 ? sent : static_cast<ssize_t>(part);
}

}  // namespace

Peer posix_queue() {
    Peer peer;
    peer.name = "POSIX message queue";
    peer.version = kernel_version();
    peer.configuration = "1 MiB deep, at most 8192 messages, or msg_max where that is refused; "
                         "larger ones than msgsize_max in parts; one queue a subscriber";
    peer.guarantees.kill_safe = true;
    peer.guarantees.competing_consumers = true;
    const MakeWay make = [](std::size_t bytes, std::size_t receivers) {
        return byte_stream({open_queue, receive_part, send_part}, bytes, receivers);
    };
    run_over(peer, make);
    return peer;
}

}  // namespace shmbus::bench
