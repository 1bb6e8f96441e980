// The text protocol of NATS: lines that end with CR LF, payloads of a size told before.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/nats_line.h"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <netinet/tcp.h>
#include <stdexcept>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace shmbus::bench {
namespace {

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

// "MSG subject id [reply] size": the last word.
std::size_t size_in(std::string_view line) {
    const std::string_view word = line.substr(line.rfind(' ') + 1);
    std::size_t size = 0;
    std::from_chars(word.data(), word.data() + word.size(), size);
    return size;
}

}  // namespace

NatsLine::NatsLine(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = ::htons(port);
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        fail("connecting to NATS");
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    out_ = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":false}\r\n";
}

NatsLine::~NatsLine() { ::close(fd_); }

void NatsLine::subscribe(const std::string& subject) {
    out_ += "SUB " + subject + " " + std::to_string(++subscriptions_) + "\r\n";
}

void NatsLine::publish(const std::string& subject, const std::string& reply,
                       std::string_view payload) {
    out_.append("PUB ").append(subject).append(1, ' ').append(reply).append(1, ' ');
    out_.append(std::to_string(payload.size())).append("\r\n").append(payload).append("\r\n");
}

NatsMessage NatsLine::await() {
    write_out();
    for (;;) {
        if (const auto message = next_here()) return *message;
        write_out();  // the answer to a ping may lie there
        read_more();
    }
}

std::optional<NatsMessage> NatsLine::next_here() {
    for (;;) {
        const std::size_t end = in_.find("\r\n", at_);
        if (end == std::string::npos) return std::nullopt;
        const std::string_view line = std::string_view(in_).substr(at_, end - at_);
        if (line.starts_with("-ERR")) throw std::runtime_error("NATS: " + std::string(line));
        if (!line.starts_with("MSG ")) {
            if (line == "PING") out_ += "PONG\r\n";
            at_ = end + 2;
            continue;
        }
        const std::size_t size = size_in(line);
        if (in_.size() < end + 2 + size + 2) return std::nullopt;
        at_ = end + 2 + size + 2;
        const std::string_view subject = line.substr(4, line.find(' ', 4) - 4);
        return NatsMessage{subject, std::string_view(in_).substr(end + 2, size)};
    }
}

void NatsLine::write_out() {
    for (std::string_view left = out_; !left.empty();) {
        const ssize_t written = ::send(fd_, left.data(), left.size(), MSG_NOSIGNAL);
        if (written < 0) fail("writing to NATS");
        left.remove_prefix(static_cast<std::size_t>(written));
    }
    out_.clear();
}

void NatsLine::read_more() {
    in_.erase(0, at_);
    at_ = 0;
    std::array<char, 65536> part;
    const ssize_t got = ::recv(fd_, part.data(), part.size(), 0);
    if (got < 0) fail("reading from NATS");
    if (got == 0) throw std::runtime_error("NATS has closed the connection");
    in_.append(part.data(), static_cast<std::size_t>(got));
}

}  // namespace shmbus::bench
