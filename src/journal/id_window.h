// Ids of messages seen lately: bounded by time and by count.
//
// The journal's thread. Remembers in the order of arrival and forgets in that order.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/result.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace shmbus::journal {

class IdWindow {
public:
    struct Seen {
        MessageId id;
        std::uint64_t seconds = 0;
    };
    static_assert(sizeof(Seen) == 24);

    explicit IdWindow(std::uint32_t most = 262'144) : most_(most) {}

    [[nodiscard]] bool contains(MessageId id) const noexcept;
    // In seconds, as it was entered; nothing: it is not there.
    [[nodiscard]] std::optional<std::uint64_t> seen_at(MessageId id) const noexcept;
    // An id that is there already is not entered again. Pushes the oldest out when full.
    void add(MessageId id, std::uint64_t seconds);
    // Forgets what was seen before that time.
    void drop_before(std::uint64_t seconds);
    [[nodiscard]] const std::deque<Seen>& all() const noexcept { return seen_; }
    // How many were pushed out by others before their time had come.
    [[nodiscard]] std::uint64_t pushed_out() const noexcept { return pushed_out_; }

private:
    void drop_oldest();
    [[nodiscard]] std::size_t slot_of(MessageId id) const noexcept;
    void rebuild(std::size_t slots);

    std::deque<Seen> seen_;
    std::uint64_t first_ = 0;           // number of seen_[0]; numbers only grow
    std::vector<std::uint64_t> slots_;  // number + 1 of an entry, 0: free; linear probing
    std::uint32_t most_;
    std::uint64_t pushed_out_ = 0;
};

}  // namespace shmbus::journal
