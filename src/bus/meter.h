// Counts and times what one endpoint of this process handles, in shared memory: lane/metrics.h.
//
// Belongs to an endpoint. Counting may come from each of its handler threads; with only one of them
// it is a load and a store, no locked operation. Times are sampled: see Sampler. Until the first
// message nothing is mapped, and what is counted is kept here.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/figure.h"
#include "base/file.h"
#include "bus/lane_times.h"
#include "lane/metrics_map.h"

namespace shmbus::detail {

class Meter {
public:
    using Word = base::StdAtomics::word<std::uint64_t>;
    using Log = std::function<void(std::string_view)>;
    // Of a message, as far as its times tell: where its type is counted, and the lane it came by.
    struct Origin {
        const Word* counted;
        std::uint64_t lane_id;
    };
    // Without `is_on` it counts into nowhere. `log` is told, once, when there is no memory for it.
    Meter(bool is_on, Log log);
    Meter(const Meter&) = delete;
    Meter& operator=(const Meter&) = delete;

    // Whose block it is, and what moves when lanes of the inbox come or go, which stays as long as
    // this is used. Before the first message.
    void use(const base::File& inbox, std::uint16_t slot, const Word& tables_version) {
        inbox_ = inbox.duplicate();
        slot_ = slot;
        tables_version_ = &tables_version;
    }

    // Several threads count from here on, or one again.
    void set_several(bool several) noexcept { several_ = several; }
    [[gnu::always_inline]] void add(Word& word, std::uint64_t more) const noexcept {
        // relaxed: a figure to show.
        if (several_) [[unlikely]] word.fetch_add(more, std::memory_order_relaxed);
        else base::add_alone(word, more);
    }
    void count(lane::Counter what, std::uint64_t more = 1) noexcept {
        add(counts_[static_cast<std::size_t>(what)], more);
    }
    // One of the lane::troubles of a message of this type: by itself and by type.
    void count_trouble(lane::Counter what, std::uint16_t type) noexcept;
    // Where handled messages of this type are counted; the same word for ever. Maps the block.
    [[nodiscard]] Word* row_of(std::uint16_t type) noexcept;
    // From here on messages that are counted there are also timed by themselves, if their row is
    // one of lane::most_timed_types and there is memory for it.
    void time_apart(const Word* counted) noexcept;

    [[nodiscard]] bool is_on() const noexcept { return is_on_; }
    void time_ns(Origin origin, lane::Timed what, std::uint64_t ns,
                 std::uint64_t weight = 1) noexcept {
        if (block_ == nullptr) return;
        const auto which = static_cast<std::size_t>(what);
        const std::size_t bucket = lane::bucket_of(ns);
        add(block_->times[which][bucket], weight);
        const std::size_t row = number_of(origin.counted);
        if (row < lane::most_timed_types && times_[row] != nullptr)
            add(times_[row]->block()[which][bucket], weight);
        if (lane::StdTimes* const times = times_of_lane(origin.lane_id))
            add((*times)[which][bucket], weight);
    }
    void time_ticks(Origin origin, lane::Timed what, std::uint64_t ticks,
                    std::uint64_t weight) noexcept {
        time_ns(origin, what, rate_.to_ns(ticks), weight);
    }
    // A message that was sent at `sent_ns` was handled. Nobody sends in the future; a stranger may
    // say so.
    void handled_since(Origin origin, std::uint64_t sent_ns, std::uint64_t begin_ns,
                       std::uint64_t end_ns) noexcept {
        if (sent_ns == 0 || sent_ns > begin_ns) return;
        time_ns(origin, lane::Timed::queue_wait, begin_ns - sent_ns);
        time_ns(origin, lane::Timed::critical, end_ns - sent_ns);
    }
    // A handler this short is looked at once in so many messages: see Sampler.
    [[nodiscard]] std::uint32_t pause_after(std::uint64_t ticks) const noexcept {
        return static_cast<std::uint32_t>(
            std::clamp<std::uint64_t>(pause_ticks_ / (ticks + 1), 1, most_pause));
    }
    static constexpr std::uint32_t most_pause = 256;

private:
    void map() noexcept;
    // Of the row that counts there: found where it is needed, which is seldom, so that the way to
    // the count, which is always needed, stays one pointer.
    [[nodiscard]] std::size_t number_of(const Word* counted) const noexcept {
        const auto begin = reinterpret_cast<std::uintptr_t>(&block_->types[0].handled);
        const auto each = sizeof(block_->types[0]);
        return (reinterpret_cast<std::uintptr_t>(counted) - begin) / each;
    }

    // The row stays while a message of that lane is in hand.
    [[nodiscard]] lane::StdTimes* times_of_lane(std::uint64_t lane_id) noexcept {
        std::unique_lock lock(mapping_, std::defer_lock);
        if (several_) lock.lock();
        return lanes_->of(lane_id);
    }

    base::File inbox_;
    std::uint16_t slot_ = 0;
    const Word* tables_version_ = nullptr;
    bool is_on_;
    bool several_ = false;
    Log log_;
    base::TickRate rate_;
    std::uint64_t pause_ticks_;
    // Until there is a block, or for ever when there is to be none.
    std::array<Word, lane::counters> kept_counts_{};
    Word nowhere_;
    Word* counts_ = kept_counts_.data();
    std::mutex mapping_;
    std::unique_ptr<lane::MetricsMap> map_;
    std::array<std::unique_ptr<lane::TimesMap>, lane::most_timed_types> times_;
    std::optional<LaneTimes> lanes_;  // as long as there is a block
    lane::StdMetrics* block_ = nullptr;
};

// Which messages are timed: one in so many that it costs about a hundredth of the handlers' time,
// every one when they take some microseconds. The pause is fixed before the message that ends it
// is known, and the message counts for all of the pause: long ones are not favoured.
class Sampler {
public:
    // Of `messages` that come now, the first is to be timed.
    [[nodiscard, gnu::always_inline]] bool is_due(std::uint64_t messages) noexcept {
        if (left_ > messages) [[likely]] {
            left_ -= static_cast<std::uint32_t>(messages);
            return false;
        }
        return true;
    }
    // It was: `ticks` in its handler.
    void took(Meter& meter, Meter::Origin origin, std::uint64_t ticks) noexcept {
        meter.time_ticks(origin, lane::Timed::processing, ticks, pause_);
        left_ = pause_ = meter.is_on() ? meter.pause_after(ticks) : never;
    }

private:
    static constexpr std::uint32_t never = ~std::uint32_t{0};
    std::uint32_t pause_ = 1;
    std::uint32_t left_ = 1;
};

}  // namespace shmbus::detail
