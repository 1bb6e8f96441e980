// A log-linear histogram of ticks: 128 steps per doubling, so a quantile is off by less than 0.8 %.
//
// Plain bytes without pointers: a child records into one in shared memory, its parent reads it
// after the child has ended. Zeroed memory is an empty histogram.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace shmbus::bench {

// The value that `share` (0 to 1) of all do not exceed, of counted values in rising order; nothing
// if there are none. Some clocks go in steps of 10 ns, a tenth of what is measured here: a value
// stands for all times nearer to it than to the next one on either side, and the quantile lies
// between those as its rank does among them (the median of grouped data). Where the clock is finer
// than the histogram that is within a slot.
template <typename Value>
std::optional<double> quantile_of(const std::vector<std::pair<Value, std::uint64_t>>& values,
                                  double share) {
    double total = 0;
    for (const auto& [value, count] : values) total += static_cast<double>(count);
    const double wanted = share * total;
    double seen = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const auto count = static_cast<double>(values[i].second);
        const auto value = static_cast<double>(values[i].first);
        if (seen + count < wanted) {
            seen += count;
            continue;
        }
        if (i == 0 || i + 1 == values.size()) return value;
        const double below = value - static_cast<double>(values[i - 1].first);
        const double above = static_cast<double>(values[i + 1].first) - value;
        const double step = std::min(below, above);
        // Far neighbours, as in the tail, are no steps of a clock.
        if (step > value / 8) return value;
        return value + step * ((wanted - seen) / count - 0.5);
    }
    return {};
}

class Histogram {
public:
    void record(std::uint64_t value) noexcept {
        ++counts_[index_of(value)];
        ++count_;
        max_ = std::max(max_, value);
    }

    void add(const Histogram& other) noexcept {
        for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
        count_ += other.count_;
        max_ = std::max(max_, other.max_);
    }

    std::uint64_t count() const noexcept { return count_; }

    // Calls `see` with the middle of each slot that holds something, and with how much it holds.
    template <typename See>
    void each(See see) const {
        for (std::size_t i = 0; i < counts_.size(); ++i)
            if (counts_[i] > 0) see(std::min(middle_of(i), max_), counts_[i]);
    }
    std::uint64_t max() const noexcept { return max_; }

    // See quantile_of; 0 if there are none.
    double quantile(double share) const {
        std::vector<std::pair<std::uint64_t, std::uint64_t>> values;
        each([&](std::uint64_t value, std::uint64_t count) { values.emplace_back(value, count); });
        return quantile_of(values, share).value_or(0);
    }

private:
    static constexpr unsigned step_bits = 7;
    static constexpr std::size_t steps = std::size_t{1} << step_bits;
    // Values below `steps` have a slot each; every further doubling has `steps` slots.
    static constexpr std::size_t slots = steps * (64 - step_bits + 1);

    static std::size_t index_of(std::uint64_t value) noexcept {
        if (value < steps) return static_cast<std::size_t>(value);
        const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - step_bits - 1;
        const std::size_t step = static_cast<std::size_t>(value >> shift) - steps;
        return steps + shift * steps + step;
    }

    static std::uint64_t middle_of(std::size_t index) noexcept {
        if (index < steps) return index;
        const std::size_t shift = (index - steps) / steps;
        const std::uint64_t low = std::uint64_t{steps + (index - steps) % steps} << shift;
        return low + (std::uint64_t{1} << shift) / 2;
    }

    std::array<std::uint64_t, slots> counts_{};
    std::uint64_t count_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace shmbus::bench
