// A ring of ids in order of arrival, and a table of slots to find them in.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/id_window.h"

namespace shmbus::journal {

namespace {
[[nodiscard]] std::size_t spread(MessageId id) noexcept {
    std::uint64_t value = (id.high ^ id.low * 0x9E3779B97F4A7C15U) * 0xBF58476D1CE4E5B9U;
    return value ^ value >> 32;
}
}  // namespace

// The slot that holds the id, or the free one where it would go. At least half of them are free.
std::size_t IdWindow::slot_of(MessageId id) const noexcept {
    std::size_t slot = spread(id) & (slots_.size() - 1);
    while (slots_[slot] != 0 && seen_[slots_[slot] - 1 - first_].id != id)
        slot = (slot + 1) & (slots_.size() - 1);
    return slot;
}

bool IdWindow::contains(MessageId id) const noexcept { return seen_at(id).has_value(); }

std::optional<std::uint64_t> IdWindow::seen_at(MessageId id) const noexcept {
    const std::uint64_t number = slots_.empty() ? 0 : slots_[slot_of(id)];
    if (number == 0) return std::nullopt;
    return seen_[number - 1 - first_].seconds;
}

void IdWindow::rebuild(std::size_t slots) {
    slots_.assign(slots, 0);
    for (std::size_t index = 0; index < seen_.size(); ++index)
        slots_[slot_of(seen_[index].id)] = first_ + index + 1;
}

void IdWindow::add(MessageId id, std::uint64_t seconds) {
    if (contains(id) || most_ == 0) return;
    if (seen_.size() >= most_) {
        drop_oldest();
        ++pushed_out_;
    }
    if ((seen_.size() + 1) * 2 > slots_.size()) rebuild(slots_.empty() ? 64 : slots_.size() * 2);
    const std::size_t slot = slot_of(id);
    seen_.push_back({id, seconds});
    slots_[slot] = first_ + seen_.size();
}

void IdWindow::drop_oldest() {
    // Linear probing without tombstones: what follows without a gap is moved up.
    std::size_t hole = slot_of(seen_.front().id);
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t next = (hole + 1) & mask; slots_[next] != 0; next = (next + 1) & mask) {
        const std::size_t home = spread(seen_[slots_[next] - 1 - first_].id) & mask;
        if (((next - home) & mask) < ((next - hole) & mask)) continue;
        slots_[hole] = slots_[next];
        hole = next;
    }
    slots_[hole] = 0;
    seen_.pop_front();
    ++first_;
}

void IdWindow::drop_before(std::uint64_t seconds) {
    while (!seen_.empty() && seen_.front().seconds < seconds) drop_oldest();
}

}  // namespace shmbus::journal
