// Mapping an endpoint's metrics when there is something to count. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/meter.h"

#include <exception>
#include <string>

namespace shmbus::detail {

namespace {

// A hundredth of a handler's time, when looking at the clock twice takes some 40 ns.
constexpr std::uint64_t pause_ns = 4096;

}  // namespace

Meter::Meter(bool is_on, Log log)
    : is_on_(is_on),
      log_(std::move(log)),
      rate_(base::tick_rate()),
      pause_ticks_(rate_.to_ticks(pause_ns)) {}

void Meter::map() noexcept {
    if (block_ != nullptr || !is_on_) return;
    try {
        map_ = std::make_unique<lane::MetricsMap>(inbox_, slot_);
        lanes_.emplace(inbox_, slot_, *tables_version_, map_->block(), log_);
        block_ = &map_->block();
        counts_ = block_->counts.data();
        // relaxed: ours.
        for (std::size_t i = 0; i < lane::counters; ++i)
            add(counts_[i], kept_counts_[i].load(std::memory_order_relaxed));
    } catch (const std::exception& error) {
        is_on_ = false;
        log_(std::string("nothing is counted for others to see: ") + error.what());
    }
}

Meter::Word* Meter::row_of(std::uint16_t type) noexcept {
    const std::lock_guard lock(mapping_);
    map();
    if (block_ == nullptr) return &nowhere_;
    // relaxed, all: only this process writes here, under the lock.
    for (auto& row : block_->types) {
        const std::uint64_t there = row.type.load(std::memory_order_relaxed);
        if (there == std::uint64_t{type} + 1) return &row.handled;
        if (there != 0) continue;
        row.type.store(std::uint64_t{type} + 1, std::memory_order_relaxed);
        return &row.handled;
    }
    return &block_->other_types;
}

void Meter::time_apart(const Word* counted) noexcept {
    const std::lock_guard lock(mapping_);
    if (block_ == nullptr) return;
    const std::size_t row = number_of(counted);
    if (row >= lane::most_timed_types || times_[row] != nullptr) return;
    try {
        times_[row] = std::make_unique<lane::TimesMap>(inbox_, lane::type_times_at(slot_, row));
    } catch (const std::exception& error) {
        log_(std::string("a type is timed with all the others only: ") + error.what());
    }
}

void Meter::count_trouble(lane::Counter what, std::uint16_t type) noexcept {
    count(what);
    const std::lock_guard lock(mapping_);
    if (block_ == nullptr) return;
    const auto which = static_cast<std::size_t>(what);
    // relaxed, all: as above.
    for (auto& row : block_->troubled) {
        const std::uint64_t there = row.type.load(std::memory_order_relaxed);
        if (there != 0 && there != std::uint64_t{type} + 1) continue;
        row.type.store(std::uint64_t{type} + 1, std::memory_order_relaxed);
        return base::add_alone(row.counts[which], 1);
    }
    base::add_alone(block_->other_troubled[which], 1);
}

}  // namespace shmbus::detail
