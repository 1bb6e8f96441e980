// Sets of LSNs as sorted ranges.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace shmbus::journal {

// Both ends belong to it.
struct Range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    friend bool operator==(const Range&, const Range&) = default;
};

// Sorted, apart from one another; touching ranges are kept as one.
class Ranges {
public:
    [[nodiscard]] bool contains(std::uint64_t value) const noexcept {
        const auto after = std::ranges::upper_bound(all_, value, {}, &Range::first);
        return after != all_.begin() && std::prev(after)->last >= value;
    }
    [[nodiscard]] bool covers(const Range& wanted) const noexcept {
        const auto after = std::ranges::upper_bound(all_, wanted.first, {}, &Range::first);
        return after != all_.begin() && std::prev(after)->last >= wanted.last;
    }
    void add(Range range) {
        auto at = std::ranges::lower_bound(all_, range.first, {}, &Range::first);
        if (at != all_.begin() && std::prev(at)->last + 1 >= range.first) --at;
        auto end = at;
        for (; end != all_.end() && end->first <= range.last + 1; ++end) {
            range.first = std::min(range.first, end->first);
            range.last = std::max(range.last, end->last);
        }
        all_.insert(all_.erase(at, end), range);
    }
    // Takes out all that is not above `value`.
    void drop_to(std::uint64_t value) {
        std::erase_if(all_, [&](const Range& range) { return range.last <= value; });
        if (!all_.empty() && all_[0].first <= value) all_[0].first = value + 1;
    }
    void remove(std::uint64_t value) {
        const auto after = std::ranges::upper_bound(all_, value, {}, &Range::first);
        if (after == all_.begin() || std::prev(after)->last < value) return;
        const Range whole = *std::prev(after);
        const auto at = all_.erase(std::prev(after));
        const Range back{value + 1, whole.last};
        const Range front{whole.first, value - 1};
        const auto behind = value < whole.last ? all_.insert(at, back) : at;
        if (whole.first < value) all_.insert(behind, front);
    }
    void clear() noexcept { all_.clear(); }
    [[nodiscard]] const std::vector<Range>& all() const noexcept { return all_; }

private:
    std::vector<Range> all_;
};

}  // namespace shmbus::journal
