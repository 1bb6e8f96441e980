// nng over ipc: a pair of sockets for each receiver. See nng_pair(7).
//
// Its publishers drop what a subscriber has no room for, and it has no other way to many; so a
// sender to several has a pair with each. Names are abstract: nothing is left behind.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/peer_list.h"
#include "peers/way.h"

#include <algorithm>
#include <deque>
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <stdexcept>
#include <unistd.h>

namespace shmbus::bench {
namespace {

constexpr std::size_t queue_bytes = std::size_t{1} << 20;

void insist_nng(int result, const char* what) {
    if (result != 0) throw std::runtime_error(std::string(what) + ": " + ::nng_strerror(result));
}

class Socket {
public:
    explicit Socket(std::size_t bytes) {
        insist_nng(::nng_pair0_open(&socket_), "making an nng socket");
        // 8192 is the most that it takes.
        const auto messages =
            static_cast<int>(std::clamp<std::size_t>(queue_bytes / bytes, 4, 8192));
        for (const char* const option : {NNG_OPT_SENDBUF, NNG_OPT_RECVBUF})
            insist_nng(::nng_socket_set_int(socket_, option, messages), "setting an nng buffer");
        insist_nng(::nng_socket_set_size(socket_, NNG_OPT_RECVMAXSZ, 0), "allowing any size");
    }
    ~Socket() { ::nng_close(socket_); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    nng_socket get() const noexcept { return socket_; }

private:
    nng_socket socket_{};
};

// Where receiver `index` of a way is met.
std::string url_of(const std::string& base, std::size_t index) {
    return base + "." + std::to_string(index);
}

class NngSender : public Sender {
public:
    NngSender(const std::string& base, std::size_t bytes, std::size_t receivers, Waiting waiting)
        : bytes_(bytes), waiting_(waiting) {
        for (std::size_t i = 0; i < receivers; ++i) {
            sockets_.emplace_back(bytes);
            insist_nng(::nng_listen(sockets_.back().get(), url_of(base, i).c_str(), nullptr, 0),
                       "listening");
        }
    }

    void send(const std::byte* messages, std::size_t count) override {
        for (const Socket& socket : sockets_)
            for (std::size_t i = 0; i < count; ++i) send_one(socket, messages + i * bytes_);
    }

private:
    void send_one(const Socket& socket, const std::byte* from) const {
        nng_msg* message = nullptr;
        insist_nng(::nng_msg_alloc(&message, 0), "making a message");
        insist_nng(::nng_msg_append(message, from, bytes_), "filling a message");
        const int flags = waiting_ == Waiting::sleeping ? 0 : NNG_FLAG_NONBLOCK;
        int result = 0;
        while ((result = ::nng_sendmsg(socket.get(), message, flags)) == NNG_EAGAIN)
            stay_away(waiting_);
        insist_nng(result, "sending");
    }

    std::deque<Socket> sockets_;
    std::size_t bytes_;
    Waiting waiting_;
};

class NngReceiver : public Receiver {
public:
    NngReceiver(const std::string& url, std::size_t bytes, Waiting waiting)
        : socket_(bytes), waiting_(waiting) {
        insist_nng(::nng_dial(socket_.get(), url.c_str(), nullptr, 0), "dialling");
    }
    ~NngReceiver() override { ::nng_msg_free(message_); }

    std::span<const std::byte> receive() override {
        ::nng_msg_free(message_);
        message_ = nullptr;
        const int flags = waiting_ == Waiting::sleeping ? 0 : NNG_FLAG_NONBLOCK;
        const int result = ::nng_recvmsg(socket_.get(), &message_, flags);
        if (result == NNG_EAGAIN) return {};
        insist_nng(result, "receiving");
        return {static_cast<const std::byte*>(::nng_msg_body(message_)), ::nng_msg_len(message_)};
    }

private:
    Socket socket_;
    Waiting waiting_;
    nng_msg* message_ = nullptr;
};

class NngWay : public Way {
public:
    NngWay(std::size_t bytes, std::size_t receivers) : bytes_(bytes), receivers_(receivers) {
        static int number = 0;  // of this process, which makes its ways one after the other
        base_ = "abstract://shm-bench." + std::to_string(::getpid()) + "." +
                std::to_string(number++);
    }
    std::unique_ptr<Sender> sender(Waiting waiting) override {
        return std::make_unique<NngSender>(base_, bytes_, receivers_, waiting);
    }
    std::unique_ptr<Receiver> receiver(std::size_t index, Waiting waiting) override {
        return std::make_unique<NngReceiver>(url_of(base_, index), bytes_, waiting);
    }

private:
    std::size_t bytes_;
    std::size_t receivers_;
    std::string base_;
};

}  // namespace

Peer nng_peer() {
    Peer peer;
    peer.name = "nng ipc";
    peer.package = "libnng-dev";
    peer.version = std::string("nng ") + ::nng_version();
    peer.configuration = "pair0, send and receive buffers of 1 MiB, at most 8192 messages, handed "
                         "over without a copy; one pair a subscriber, since its pub drops";
    peer.guarantees.kill_safe = true;
    const MakeWay make = [](std::size_t bytes, std::size_t receivers) {
        return std::make_unique<NngWay>(bytes, receivers);
    };
    run_over(peer, make);
    return peer;
}

}  // namespace shmbus::bench
