// Handing out and settling.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/feed.h"

#include <algorithm>
#include <utility>

namespace shmbus::journal {

Feed::Feed(Endpoint endpoint, Cursor cursor, const Settled& settled, const Limits& limits)
    : endpoint_(endpoint),
      cursor_(std::move(cursor)),
      limits_(limits),
      low_(settled.low),
      handed_to_(settled.low),
      known_(settled.above),
      count_(settled.count),
      addressed_before_(settled.addressed_before) {
    cursor_.go_behind(low_);
}

Cursor::Answer Feed::next(Storage& storage, const Ledger& ledger, const Place& end,
                          Cursor::Found& found) {
    if (cursor_.lsn() < handed_to_) cursor_.go_behind(handed_to_);
    // Ends: the cursor moves on with every turn.
    for (;;) {
        const Cursor::Answer answer = cursor_.next(storage, ledger, end, endpoint_, found);
        if (answer != Cursor::Answer::record) {
            if (answer == Cursor::Answer::end) {
                handed_to_ = std::max(handed_to_, cursor_.lsn());
                cursor_.rest();
            }
            return answer;
        }
        hand_out(found.head.lsn);
        if (!window_.back().is_settled) return answer;
    }
}

// Not when all that is out was settled: then nothing would ever make it less.
bool Feed::is_full() const noexcept {
    return settled_in_window_ < window_.size() &&
           (window_.size() >= limits_.most_handed_out || range_count() > limits_.most_ranges);
}

void Feed::hand_out(std::uint64_t lsn) {
    const bool is_settled = known_.contains(lsn);
    window_.push_back({lsn, is_settled});
    if (is_settled) ++settled_in_window_;
    handed_to_ = lsn;
}

const Feed::HandedOut* Feed::find(std::uint64_t lsn) const {
    const auto found = std::ranges::lower_bound(window_, lsn, {}, &HandedOut::lsn);
    return found != window_.end() && found->lsn == lsn ? &*found : nullptr;
}

Feed::HandedOut* Feed::find(std::uint64_t lsn) {
    return const_cast<HandedOut*>(std::as_const(*this).find(lsn));
}

bool Feed::is_settled(std::uint64_t lsn) const {
    if (const HandedOut* const out = find(lsn)) return out->is_settled;
    return lsn <= handed_to_ || known_.contains(lsn);
}

bool Feed::settle(std::uint64_t lsn) {
    if (lsn <= low_) return false;
    if (HandedOut* const out = find(lsn)) {
        if (out->is_settled) return false;
        out->is_settled = true;
        ++settled_in_window_;
    } else {
        // Not handed out in this life: a lane that outlived the last one may have brought it.
        if (lsn <= handed_to_ || known_.contains(lsn)) return false;
        known_.add({lsn, lsn});
    }
    ++count_;
    return true;
}

void Feed::take_back(std::uint64_t lsn) {
    if (HandedOut* const out = find(lsn)) {
        out->is_settled = false;
        --settled_in_window_;
    }
    known_.remove(lsn);
    --count_;
}

std::uint64_t Feed::range_count() const noexcept {
    return std::min<std::uint64_t>(settled_in_window_, window_.size() / 2 + 1) +
           known_.all().size();
}

Settled Feed::settled() const {
    Settled all{low_, known_, count_, addressed_before_};
    auto at = window_.begin();
    for (; at != window_.end() && at->is_settled; ++at) all.low = at->lsn;
    if (at == window_.end()) all.low = std::max(all.low, handed_to_);
    all.above.drop_to(all.low);
    if (settled_in_window_ == 0) return all;
    // Neighbours that are both settled make one range: nothing for this endpoint lies between.
    for (; at != window_.end(); ++at) {
        if (!at->is_settled) continue;
        Range range{at->lsn, at->lsn};
        for (; at != window_.end() && at->is_settled; ++at) range.last = at->lsn;
        all.above.add(range);
        if (at == window_.end()) break;
    }
    return all;
}

void Feed::advance() {
    for (; !window_.empty() && window_.front().is_settled; --settled_in_window_) {
        low_ = window_.front().lsn;
        window_.pop_front();
    }
    if (window_.empty()) low_ = std::max(low_, handed_to_);
    known_.drop_to(low_);
}

}  // namespace shmbus::journal
