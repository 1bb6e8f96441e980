// The way of an endpoint's messages out of the journal: what was handed out, what was settled.
//
// The journal's thread. Keeps an entry per message that is handed out and not settled, which is
// what fits into the endpoint's lanes; what is not handed out yet is on disk and nowhere else.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "journal/cursor.h"
#include "journal/ledger.h"

namespace shmbus::journal {

class Feed {
public:
    struct Limits {
        std::uint32_t most_handed_out = 65'536;
        std::uint32_t most_ranges = 1'024;
    };

    Feed(Endpoint endpoint, Cursor cursor, const Settled& settled, const Limits& limits);

    // As Cursor::next; what is settled already is stepped over.
    [[nodiscard]] Cursor::Answer next(Storage& storage, const Ledger& ledger, const Place& end,
                                      Cursor::Found& found);
    // Too much is handed out, or too unevenly settled; next() would only make it worse.
    [[nodiscard]] bool is_full() const noexcept;
    // The caller has this message already and hands it out itself. It must be the endpoint's next.
    void hand_out(std::uint64_t lsn);
    [[nodiscard]] std::uint64_t handed_out_to() const noexcept { return handed_to_; }
    // What the caller has found out about the batch behind this LSN: no older message waits.
    std::uint64_t caught_up_before = UINT64_MAX;

    // Marks a message as settled in the open batch. False: it was, already.
    [[nodiscard]] bool settle(std::uint64_t lsn);
    void take_back(std::uint64_t lsn);
    [[nodiscard]] bool is_settled(std::uint64_t lsn) const;
    // An upper bound for the ranges that settled() would have now.
    [[nodiscard]] std::uint64_t range_count() const noexcept;
    // What is settled, as the journal keeps it.
    [[nodiscard]] Settled settled() const;
    // That has become durable: what lies below the lowest unsettled one needs no entry any more.
    void advance();

    [[nodiscard]] const Damage& damage() const noexcept { return cursor_.damage(); }
    [[nodiscard]] int error() const noexcept { return cursor_.error(); }

private:
    struct HandedOut {
        std::uint64_t lsn;
        bool is_settled;
    };
    [[nodiscard]] const HandedOut* find(std::uint64_t lsn) const;
    [[nodiscard]] HandedOut* find(std::uint64_t lsn);

    Endpoint endpoint_;
    Cursor cursor_;
    Limits limits_;
    std::uint64_t low_;
    std::uint64_t handed_to_;       // whatever is for it up to here was handed out or settled
    std::deque<HandedOut> window_;  // above low_, up to handed_to_
    std::uint64_t settled_in_window_ = 0;
    // Settled above low_, from before this start or before being handed out. Kept until low_ has
    // passed: what a merge has dropped meanwhile never comes to the window to say so itself.
    Ranges known_;
    std::uint64_t count_;
    std::uint64_t addressed_before_;
};

}  // namespace shmbus::journal
