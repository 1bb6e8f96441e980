// The conductor's wire to one process of the story.
//
// SPDX-License-Identifier: BSL-1.0
#include "channel.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace story {

Channel& Channel::operator=(Channel&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}

Channel::~Channel() {
    if (fd_ >= 0) ::close(fd_);
}

std::pair<Channel, Channel> Channel::pair() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
        throw std::runtime_error(std::string("socketpair: ") + std::strerror(errno));
    return {Channel(ends[0]), Channel(ends[1])};
}

bool Channel::say(const std::string& text) const noexcept {
    return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
}

std::optional<std::string> Channel::hear(std::chrono::milliseconds limit) const {
    pollfd watched{fd_, POLLIN, 0};
    if (::poll(&watched, 1, static_cast<int>(limit.count())) <= 0) return std::nullopt;
    std::array<char, 4096> text;
    const ssize_t got = ::recv(fd_, text.data(), text.size(), 0);
    if (got < 0 && errno == EINTR) return std::nullopt;
    if (got <= 0) return std::string();
    return std::string(text.data(), static_cast<std::size_t>(got));
}

std::optional<std::string> after_word(const std::string& text, const std::string& word) {
    if (text == word) return std::string();
    if (text.starts_with(word + " ")) return text.substr(word.size() + 1);
    return std::nullopt;
}

}  // namespace story
