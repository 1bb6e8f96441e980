// Rings for those who wait with epoll: each such consumer has a datagram socket, senders write one
// byte to it.
//
// The socket's name is made of the bus's uuid, the endpoint and the consumer's slot, in the
// kernel's abstract namespace: it goes with its process and leaves no file. Anybody may send to it;
// that wakes a loop for nothing and does no harm. A ring that is lost (another network namespace, a
// full socket) is made up for by the 50 ms after which every waiting loop looks by itself.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <mutex>

#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.h"
#include "lane/doorbell.h"
#include "lane/layout.h"

namespace shmbus::lane {

// Which inbox.
struct InboxName {
    std::uint64_t bus_high = 0;
    std::uint64_t bus_low = 0;
    std::uint32_t endpoint = 0;
    std::uint32_t generation = 0;
};

[[nodiscard]] inline InboxName name_of(const InboxIdentity& inbox) noexcept {
    return {inbox.bus_high, inbox.bus_low, inbox.endpoint, inbox.endpoint_generation};
}

// The senders' side; one per inbox and process. Any thread.
class SocketBell final : public DescriptorBell {
public:
    explicit SocketBell(const InboxName& name) noexcept : name_(name) {}
    // Never waits. Opens its socket when first used: few endpoints wait for descriptors.
    void ring(std::uint16_t consumer) noexcept override;

private:
    InboxName name_;
    std::once_flag once_;
    base::File socket_;
};

// The consumer's side: a descriptor that is readable after it was rung.
class RungSocket {
public:
    // Throws SetupError.
    RungSocket(const InboxName& name, std::uint16_t consumer);
    [[nodiscard]] int fd() const noexcept { return socket_.fd(); }
    // Takes all rings that came; false when there were none.
    bool drain() const noexcept;

private:
    base::File socket_;
};

}  // namespace shmbus::lane
