// What an endpoint had at one moment, on disk as well, taken out of it; and what is done with it.
//
// No more than that: whoever goes on sending is not waited for. In a lane what comes later stands
// behind it; lanes are taken in turn, so with several senders some of it may go in place of that.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "cli/taker.h"

namespace shmbus::cli {

class Stock {
public:
    // As it is now. Throws as Taker does.
    Stock(Member& member, const directory::Endpoint& endpoint);

    [[nodiscard]] Taker& taker() noexcept { return taker_; }
    // The next batch. The daemon brings what is on disk a lane at a time, which is waited for, but
    // not for ever. None: that was all, or see is_cut().
    [[nodiscard]] std::vector<Taker::Record> next(std::uint32_t at_a_time = lane::most_entries);
    // Some of it was not reached: what was passed over fills all hands that one process may have,
    // or all the room of a lane, and hands are all that keeps it from being taken again; or what is
    // on disk did not come, because another process holds that room, or the daemon has died.
    [[nodiscard]] bool is_cut() const noexcept { return is_stuck_ || taker_.is_out_of_hands(); }

    // What is passed over can be held back no more: hands are few, and what is held at the begin of
    // a lane keeps that lane's room, into which the rest comes from the disk.
    [[nodiscard]] bool is_crowded(const Taker::Record& record) const noexcept {
        return was_on_disk_ || taker_.is_nearly_out_of_hands(record);
    }
    // This record was sent to the endpoint once more, behind the others. It is no part of the stock
    // when it comes again.
    void put_behind(const Taker::Record& record);

private:
    void count(const std::vector<Taker::Record>& records);

    const OpenBus& bus_;
    std::string name_;
    Taker taker_;
    std::uint64_t left_ = 0;  // records, at most
    bool was_on_disk_;
    bool is_stuck_ = false;
    // By id and, since an event may have failed at several, the endpoint where it failed.
    std::set<std::tuple<std::uint64_t, std::uint64_t, std::uint32_t>> behind_;
    std::uint64_t again_ = 0;  // of those, one after the other and nothing else
};

// Those that are meant, as far as it can be told before they are taken. What is on disk is asked
// for first, or what comes from there meanwhile is in neither.
struct Meant {
    std::uint64_t count = 0;
    std::uint64_t on_disk = 0;  // besides, in no lane yet: some of these, or none
    [[nodiscard]] std::uint64_t most() const noexcept {
        return on_disk == 0 ? count : ~std::uint64_t{0};
    }
    [[nodiscard]] std::string text() const;
};

// Which messages are meant, what is done to each, and to all of a batch before they are let go.
struct Doing {
    std::function<bool(const SeenMessage& message)> is_wanted;  // asked of a record's first one
    std::function<void(const SeenMessage& message, bool is_again)> each;
    std::function<void()> batch;
    // Sends one that is not meant behind the others, when it cannot be held back: see is_crowded().
    // None: then the rest is not reached.
    std::function<void(const SeenMessage& message, bool is_again)> put_behind{};
};
// Does it to at most `most` messages of the stock, with so many records in hand; how many. What was
// done is let go also when the next could not be, which stays, and whose exception comes out.
[[nodiscard]] std::uint64_t take_wanted(Stock& stock, std::uint64_t most, const Doing& doing,
                                        std::uint32_t at_a_time = lane::most_entries);

}  // namespace shmbus::cli
