// Frames over a SOCK_SEQPACKET socket.
//
// SPDX-License-Identifier: BSL-1.0
#include "wire/channel.h"

#include <cerrno>
#include <climits>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <shmbus/result.h>

namespace shmbus::wire {
namespace {

// Room for the most descriptors that one frame may carry.
struct alignas(cmsghdr) ControlRoom {
    std::array<std::byte, CMSG_SPACE(sizeof(int) * most_descriptors)> bytes{};
};

// Takes over every descriptor that came, so that none leaks whatever is wrong with the frame.
void collect(msghdr& message, ReceivedFrame& frame) {
    for (cmsghdr* head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t place = 0; place < count; ++place) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(head) + place * sizeof(int), sizeof(int));
            base::File file(fd);
            if (frame.descriptor_count < frame.descriptors.size())
                frame.descriptors[frame.descriptor_count++] = std::move(file);
        }
    }
}

// The address of a name in an open directory: through /proc the path is short, however deep the
// directory lies (a socket's path has room for 107 bytes), and cannot be exchanged under us.
[[nodiscard]] sockaddr_un address_of(const base::File& directory, const std::string& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = "/proc/self/fd/" + std::to_string(directory.fd()) + "/" + name;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    return address;
}

[[nodiscard]] base::File new_socket() {
    base::File socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket)
        throw SetupError{"making a socket", "AF_UNIX, SOCK_SEQPACKET", errno,
                         "raise the limit of open files (ulimit -n), or allow Unix sockets in the "
                         "process's sandbox"};
    return socket;
}

[[nodiscard]] bool wait_for(const base::File& socket, short events,
                            std::chrono::steady_clock::time_point deadline) {
    // Ends: at the deadline at the latest; one that has passed asks for a single look.
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(
                              deadline - std::chrono::steady_clock::now())
                              .count();
        pollfd watched{socket.fd(), events, 0};
        const int count =
            ::poll(&watched, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX)));
        if (count > 0) return true;
        if (left <= 0 || (count < 0 && errno != EINTR)) return false;
    }
}

}  // namespace

ReceivedFrame receive_frame(const base::File& socket, std::span<std::byte> into,
                            Descriptors descriptors) {
    ReceivedFrame frame;
    iovec part{into.data(), into.size()};
    ControlRoom room;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    // Without room for them the kernel closes descriptors that nobody asked for, and says so.
    if (descriptors == Descriptors::accepted) {
        message.msg_control = room.bytes.data();
        message.msg_controllen = room.bytes.size();
    }
    ssize_t got = 0;
    do {
        got = ::recvmsg(socket.fd(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        frame.error = errno;
        if (errno == EAGAIN || errno == EWOULDBLOCK) frame.end = FrameEnd::nothing;
        else frame.end = errno == ECONNRESET ? FrameEnd::closed : FrameEnd::failed;
        return frame;
    }
    collect(message, frame);
    frame.bytes = static_cast<std::size_t>(got);
    if (message.msg_flags & MSG_CTRUNC) frame.end = FrameEnd::foreign;
    else if (message.msg_flags & MSG_TRUNC) frame.end = FrameEnd::oversized;
    // An empty frame and the end of the connection look alike here; neither is of any use.
    else frame.end = got == 0 ? FrameEnd::closed : FrameEnd::whole;
    return frame;
}

FrameEnd send_frame(const base::File& socket, std::span<const std::byte> frame,
                    std::span<const int> descriptors, int& error) {
    iovec part{const_cast<std::byte*>(frame.data()), frame.size()};
    ControlRoom room;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const std::size_t count = std::min(descriptors.size(), most_descriptors);
    if (count > 0) {
        message.msg_control = room.bytes.data();
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        cmsghdr* head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * count);
        std::memcpy(CMSG_DATA(head), descriptors.data(), sizeof(int) * count);
    }
    ssize_t sent = 0;
    do {
        sent = ::sendmsg(socket.fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) return FrameEnd::whole;
    error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK) return FrameEnd::nothing;
    const bool gone = error == EPIPE || error == ECONNRESET || error == ENOTCONN;
    return gone ? FrameEnd::closed : FrameEnd::failed;
}

bool wait_readable(const base::File& socket, std::chrono::steady_clock::time_point deadline) {
    return wait_for(socket, POLLIN, deadline);
}
bool wait_writable(const base::File& socket, std::chrono::steady_clock::time_point deadline) {
    return wait_for(socket, POLLOUT, deadline);
}

base::File listen_at(const base::File& directory, const std::string& name, mode_t mode) {
    base::File socket = new_socket();
    base::unlink_at(directory.fd(), name);
    const sockaddr_un address = address_of(directory, name);
    const auto fail = [&](const char* tried) {
        throw SetupError{tried, base::path_of(directory.fd(), name), errno,
                         "use a directory on tmpfs or a local file system that has sockets, with "
                         "/proc mounted"};
    };
    // Before bind, so that nobody connects while the mode is not the wanted one: the file takes
    // its mode from the socket.
    if (::fchmod(socket.fd(), mode) != 0) fail("setting the permissions of the daemon's socket");
    if (::bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
        fail("making the daemon's socket");
    // fchmod on a socket's descriptor is the kernel's to honour or not; the name is what counts.
    if (::fchmodat(directory.fd(), name.c_str(), mode, 0) != 0)
        fail("setting the permissions of the daemon's socket");
    if (::listen(socket.fd(), 128) != 0) fail("listening on the daemon's socket");
    return socket;
}

base::File connect_at(const base::File& directory, const std::string& name, int& error) {
    base::File socket = new_socket();
    const sockaddr_un address = address_of(directory, name);
    int result = 0;
    do {
        result = ::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address),
                           sizeof(address));
    } while (result != 0 && errno == EINTR);
    if (result == 0) return socket;
    error = errno;
    return base::File();
}

bool peer_of(const base::File& socket, Peer& into) noexcept {
    ucred credentials{};
    socklen_t bytes = sizeof(credentials);
    if (::getsockopt(socket.fd(), SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0 ||
        bytes != sizeof(credentials))
        return false;
    into = {credentials.pid, credentials.uid, credentials.gid};
    return true;
}

}  // namespace shmbus::wire
