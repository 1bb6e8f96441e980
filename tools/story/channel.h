// The conductor's wire to one process of the story: short texts, beside the bus.
//
// A socket pair of packets. The processes are told to stop, hold or go on through it, so that what
// the story says about the bus does not depend on the bus.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>

namespace story {

// Owns its descriptor. Moves, does not copy. One thread may hear while another says.
class Channel {
public:
    explicit Channel(int fd) noexcept : fd_(fd) {}
    Channel(Channel&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Channel& operator=(Channel&& other) noexcept;
    ~Channel();
    // Both ends, closed on exec. Throws std::runtime_error.
    static std::pair<Channel, Channel> pair();

    [[nodiscard]] int fd() const noexcept { return fd_; }
    // False when nobody is at the other end.
    bool say(const std::string& text) const noexcept;
    // What the other end said next; "" when it is gone; nothing when the time passed.
    [[nodiscard]] std::optional<std::string> hear(std::chrono::milliseconds limit) const;

private:
    int fd_;
};

// The rest of `text` when it begins with `word` and a space, or is `word`.
[[nodiscard]] std::optional<std::string> after_word(const std::string& text,
                                                    const std::string& word);

}  // namespace story
