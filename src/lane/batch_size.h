// How many records a consumer takes at once: one while messages come singly, many in a stream as
// long as their handlers are quick, so that a slow consumer holds little.
//
// Used by one consumer, for each take.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "base/clock.h"

#include <algorithm>
#include <cstdint>

namespace shmbus::lane {

class BatchSize {
public:
    // A full batch of `most` records is right for handlers that need at most `full_batch_ticks`
    // for all of it together.
    BatchSize(std::uint32_t most, std::uint64_t full_batch_ticks) noexcept
        : most_(most), full_batch_ticks_(full_batch_ticks) {}

    // For the batch that is about to be taken.
    [[nodiscard]] std::uint32_t next(std::uint32_t limit) noexcept {
        // After a pause one record, unless what came before it was a stream: looking for a second
        // one would take its line from the writer that is about to fill it.
        if (batches_ == 0) return std::min(limit, first_);
        measure(base::ticks());
        return std::min(limit, sustained_);
    }
    // Messages come singly: next() would answer one.
    [[nodiscard]] bool is_single() const noexcept { return batches_ == 0 && first_ == 1; }
    void took(std::uint32_t records) noexcept {
        last_ = records;
        records_ += records;
        ++batches_;
    }
    void found_nothing() noexcept {
        if (batches_ == 0) [[likely]] return;
        first_ = records_ > few ? sustained_ : 1;
        records_ = batches_ = 0;
        since_ticks_ = 0;
    }

    // The time at which the next batch is asked for, when the last one was asked for before.
    void measure(std::uint64_t now_ticks) noexcept {
        const std::uint64_t spent = now_ticks - since_ticks_;
        const bool is_known = since_ticks_ != 0;
        since_ticks_ = now_ticks;
        if (!is_known) return;
        // Compared, not divided: this stands between two batches.
        if (spent * most_ <= full_batch_ticks_ * last_) [[likely]] {
            sustained_ = std::min(sustained_ * 2, most_);
        } else {
            sustained_ = of_pace(spent / std::max(last_, 1U));
        }
    }
    // What is right when each record takes so long.
    [[nodiscard]] std::uint32_t of_pace(std::uint64_t ticks_each) const noexcept {
        return static_cast<std::uint32_t>(
            std::clamp<std::uint64_t>(full_batch_ticks_ / (ticks_each + 1), 1, most_));
    }

private:
    // So many between two pauses are no stream yet: a question and its answer, a retry.
    static constexpr std::uint32_t few = 2;

    std::uint32_t most_;
    std::uint64_t full_batch_ticks_;
    std::uint64_t since_ticks_ = 0;  // 0: not known
    std::uint32_t first_ = 1;        // for the first batch after a pause
    std::uint32_t sustained_ = 1;    // for those that follow without one
    std::uint32_t last_ = 0;
    std::uint32_t records_ = 0;      // since the last pause
    std::uint32_t batches_ = 0;
};

}  // namespace shmbus::lane
