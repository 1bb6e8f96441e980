// Datagram sockets as doorbells. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "lane/socket_bell.h"

#include <shmbus/result.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string_view>

namespace shmbus::lane {

namespace {

struct Address {
    sockaddr_un address{};
    socklen_t bytes = 0;
};

// "\0shmbus/<uuid>/<endpoint>.<generation>.<consumer>": a leading zero means the abstract
// namespace.
Address address_of(const InboxName& name, std::uint16_t consumer) noexcept {
    std::array<char, 100> text{};
    const int length = std::snprintf(text.data(), text.size(), "shmbus/%016llx%016llx/%u.%u.%u",
                                     static_cast<unsigned long long>(name.bus_high),
                                     static_cast<unsigned long long>(name.bus_low), name.endpoint,
                                     name.generation, static_cast<unsigned>(consumer));
    Address made;
    made.address.sun_family = AF_UNIX;
    std::copy_n(text.begin(), length, made.address.sun_path + 1);
    made.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 +
                                        static_cast<std::size_t>(length));
    return made;
}

base::File datagram_socket() noexcept {
    return base::File(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

void SocketBell::ring(std::uint16_t consumer) noexcept {
    std::call_once(once_, [this] { socket_ = datagram_socket(); });
    if (!socket_) return;  // the consumer looks by itself after 50 ms
    const Address to = address_of(name_, consumer);
    const char nothing = 0;
    // A refusal means that it is gone, or has rings enough already.
    static_cast<void>(::sendto(socket_.fd(), &nothing, 1, MSG_DONTWAIT | MSG_NOSIGNAL,
                               reinterpret_cast<const sockaddr*>(&to.address), to.bytes));
}

RungSocket::RungSocket(const InboxName& name, std::uint16_t consumer)
    : socket_(datagram_socket()) {
    const Address at = address_of(name, consumer);
    if (!socket_ ||
        ::bind(socket_.fd(), reinterpret_cast<const sockaddr*>(&at.address), at.bytes) != 0)
        throw SetupError("making a descriptor to wait for an endpoint", at.address.sun_path + 1,
                         errno, "is the limit of open files reached, or the name taken by another "
                                "process? Endpoint::wait needs no descriptor");
}

bool RungSocket::drain() const noexcept {
    std::array<char, 8> ignored;
    bool any = false;
    // Ends: senders write once per announced wait.
    while (::recv(socket_.fd(), ignored.data(), ignored.size(), MSG_DONTWAIT) >= 0) any = true;
    return any;
}

}  // namespace shmbus::lane
