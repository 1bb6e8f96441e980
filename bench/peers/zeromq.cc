// ZeroMQ over ipc: PUSH to PULL, for several receivers XPUB to SUB. See zmq_setsockopt(3).
//
// Endpoints are abstract names, of which the kernel leaves nothing behind. The library's own thread
// shares its process's core.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/peer_list.h"
#include "peers/way.h"

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <unistd.h>
#include <zmq.h>

namespace shmbus::bench {
namespace {

constexpr std::size_t queue_bytes = std::size_t{1} << 20;

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what + ": " + ::zmq_strerror(::zmq_errno()));
}

struct Place {
    std::string endpoint;
    std::size_t bytes;
    std::size_t receivers;
};

// A context of its own with one socket in it.
class Socket {
public:
    Socket(int type, const Place& place) : context_(::zmq_ctx_new()) {
        socket_ = ::zmq_socket(context_, type);
        if (socket_ == nullptr) fail("making a ZeroMQ socket");
        // As deep as the others are; without any mark its queues would grow without end.
        const auto messages =
            static_cast<int>(std::clamp<std::size_t>(queue_bytes / place.bytes, 4, 8192));
        set(ZMQ_SNDHWM, messages);
        set(ZMQ_RCVHWM, messages);
        // All was received when it is closed, or it does not matter any more.
        set(ZMQ_LINGER, 0);
    }
    ~Socket() {
        ::zmq_close(socket_);
        ::zmq_ctx_term(context_);
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    void set(int option, int value) {
        if (::zmq_setsockopt(socket_, option, &value, sizeof value) != 0)
            fail("setting a ZeroMQ option");
    }
    void* get() const noexcept { return socket_; }

private:
    void* context_;
    void* socket_;
};

class ZeroMqSender : public Sender {
public:
    ZeroMqSender(const Place& place, Waiting waiting)
        : socket_(place.receivers > 1 ? ZMQ_XPUB : ZMQ_PUSH, place), bytes_(place.bytes),
          waiting_(waiting), missing_(place.receivers > 1 ? place.receivers : 0) {
        // Without it a publisher drops what a slow subscriber has no room for.
        if (place.receivers > 1) socket_.set(ZMQ_XPUB_NODROP, 1);
        // Each subscriber is announced, not only the first of each subscription.
        if (place.receivers > 1) socket_.set(ZMQ_XPUB_VERBOSE, 1);
        if (::zmq_bind(socket_.get(), place.endpoint.c_str()) != 0) fail("binding");
    }

    void send(const std::byte* messages, std::size_t count) override {
        for (; missing_ > 0; --missing_) await_subscriber();
        for (std::size_t i = 0; i < count; ++i) {
            while (::zmq_send(socket_.get(), messages + i * bytes_, bytes_, flags()) < 0) {
                if (::zmq_errno() != EAGAIN) fail("sending");
                stay_away(waiting_);
            }
        }
    }

private:
    int flags() const noexcept { return waiting_ == Waiting::sleeping ? 0 : ZMQ_DONTWAIT; }

    void await_subscriber() {
        char subscription = 0;
        if (::zmq_recv(socket_.get(), &subscription, 1, 0) < 0) fail("awaiting a subscriber");
    }

    Socket socket_;
    std::size_t bytes_;
    Waiting waiting_;
    std::size_t missing_;  // subscribers not seen yet
};

class ZeroMqReceiver : public Receiver {
public:
    ZeroMqReceiver(const Place& place, Waiting waiting)
        : socket_(place.receivers > 1 ? ZMQ_SUB : ZMQ_PULL, place), waiting_(waiting) {
        ::zmq_msg_init(&message_);
        if (place.receivers > 1 && ::zmq_setsockopt(socket_.get(), ZMQ_SUBSCRIBE, "", 0) != 0)
            fail("subscribing");
        if (::zmq_connect(socket_.get(), place.endpoint.c_str()) != 0) fail("connecting");
    }
    ~ZeroMqReceiver() override { ::zmq_msg_close(&message_); }

    std::span<const std::byte> receive() override {
        const int flags = waiting_ == Waiting::sleeping ? 0 : ZMQ_DONTWAIT;
        // Gives back the message before.
        if (::zmq_msg_recv(&message_, socket_.get(), flags) < 0) {
            if (::zmq_errno() == EAGAIN) return {};
            fail("receiving");
        }
        return {static_cast<const std::byte*>(::zmq_msg_data(&message_)),
                ::zmq_msg_size(&message_)};
    }

private:
    Socket socket_;
    Waiting waiting_;
    zmq_msg_t message_;
};

class ZeroMqWay : public Way {
public:
    ZeroMqWay(std::size_t bytes, std::size_t receivers) : place_{"", bytes, receivers} {
        static int number = 0;  // of this process, which makes its ways one after the other
        place_.endpoint =
            "ipc://@shm-bench." + std::to_string(::getpid()) + "." + std::to_string(number++);
    }
    std::unique_ptr<Sender> sender(Waiting waiting) override {
        return std::make_unique<ZeroMqSender>(place_, waiting);
    }
    std::unique_ptr<Receiver> receiver(std::size_t, Waiting waiting) override {
        return std::make_unique<ZeroMqReceiver>(place_, waiting);
    }

private:
    Place place_;
};

}  // namespace

Peer zeromq() {
    Peer peer;
    peer.name = "ZeroMQ ipc";
    peer.package = "libzmq3-dev";
    int major = 0;
    int minor = 0;
    int patch = 0;
    ::zmq_version(&major, &minor, &patch);
    peer.version = "libzmq " + std::to_string(major) + "." + std::to_string(minor) + "." +
                   std::to_string(patch);
    peer.configuration = "PUSH to PULL, one I/O thread a process, which gathers small messages; "
                         "high-water marks of 1 MiB; subscribers: XPUB with XPUB_NODROP";
    peer.guarantees.kill_safe = true;
    const MakeWay make = [](std::size_t bytes, std::size_t receivers) {
        return std::make_unique<ZeroMqWay>(bytes, receivers);
    };
    run_over(peer, make);
    return peer;
}

}  // namespace shmbus::bench
