// How many messages a lane has carried: exact at every moment, also after its writer was killed at
// any, and for nothing while it writes.
//
//   marks:  {position, messages}, two of them; the higher one is good
//   exact:  messages of the higher mark + those of the records that stand from there to the tail
//
// The writer knows how many messages it wrote since the last mark: what is gone of its budget. It
// makes a mark each time it looks for room, so at least once in a lap: what stands behind the last
// mark was not overwritten yet, and anybody who can read the lane can count it.
//
// A mark is filled messages first, then its position, into the one of the two that is lower:
// killed between, the other is still the higher one.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "lane/layout.h"
#include "wire/record.h"

#include <algorithm>
#include <cstring>

namespace shmbus::lane {

struct Counted {
    std::uint64_t position = 0;
    std::uint64_t messages = 0;
};

// The higher mark is never the one that is being written, unless another one was completed
// meanwhile: then a position has moved, and it is looked at again.
template <class A>
[[nodiscard]] Counted last_mark(const WriterPage<A>& page) noexcept {
    Counted best;
    // Ends: each turn that repeats means that the writer has filled a mark, once in a lap.
    for (int turn = 0; turn < 16; ++turn) {
        std::array<Counted, 2> seen;
        for (std::size_t i = 0; i < 2; ++i) {
            // MARKED: the messages. Other end: set_mark.
            seen[i].position = page.marks[i].position.load(std::memory_order_acquire);
            // MARKED: that the other mark was completed before this one is written again.
            seen[i].messages = page.marks[i].messages.load(std::memory_order_acquire);
        }
        best = seen[0].position > seen[1].position ? seen[0] : seen[1];
        // relaxed, both: behind the acquire loads, which carry what is compared here.
        if (page.marks[0].position.load(std::memory_order_relaxed) == seen[0].position &&
            page.marks[1].position.load(std::memory_order_relaxed) == seen[1].position)
            break;
    }
    return best;
}

template <class A>
void set_mark(WriterPage<A>& page, const Counted& counted) noexcept {
    // relaxed: this thread alone writes them.
    const std::uint64_t first = page.marks[0].position.load(std::memory_order_relaxed);
    const std::uint64_t second = page.marks[1].position.load(std::memory_order_relaxed);
    if (std::max(first, second) >= counted.position) return;
    CountMark<A>& lower = page.marks[first <= second ? 0 : 1];
    // MARKED, both: the messages behind the other mark, the position behind the messages. Other
    // end: last_mark.
    lower.messages.store(counted.messages, std::memory_order_release);
    lower.position.store(counted.position, std::memory_order_release);
}

// How many messages stand in a published record of this meta word. The record may be a stranger's:
// at least 1, at most wire::most_packed.
[[nodiscard]] inline std::uint64_t messages_in_record(const std::byte* record,
                                                      std::uint64_t meta_word) noexcept {
    const wire::Meta meta = wire::Meta::of(meta_word);
    if ((meta.flags & wire::is_packed) == 0 || meta.payload_bytes < 16) return 1;
    std::uint32_t count = 0;
    std::memcpy(&count, record + meta.payload_offset(), sizeof(count));
    return std::clamp(count, 1U, wire::most_packed);
}

// A lane's records as somebody sees them who only looks.
class Sight {
public:
    Sight(const std::byte* data, const LaneIdentity& identity) noexcept
        : data_(data), mask_(identity.capacity - 1), salt_(identity.salt) {}

    // The record at `position`: its meta word, read once, and believed only if the record stood
    // there before and behind. 0: none stands there, or no writer makes such a one.
    [[nodiscard]] std::uint64_t meta_at(std::uint64_t position) const noexcept {
        const auto* words = reinterpret_cast<const Word*>(record(position));
        if (!is_there(position)) return 0;
        const std::uint64_t meta = words[1].load(std::memory_order_acquire);
        const std::uint64_t units = wire::units_of(meta);
        return is_there(position) && units <= most_units() ? meta : 0;
    }
    [[nodiscard]] bool is_there(std::uint64_t position) const noexcept {
        // PUBLISHED. Other end: publish.
        return reinterpret_cast<const Word*>(record(position))->load(std::memory_order_acquire) ==
               wire::control_word(salt_, position);
    }
    [[nodiscard]] const std::byte* record(std::uint64_t position) const noexcept {
        return data_ + (position * wire::unit_bytes & mask_);
    }
    [[nodiscard]] std::uint64_t most_units() const noexcept {
        return (mask_ + 1) / wire::unit_bytes / 4;
    }
    // Counts from `from` on, to where nothing stands, or to `limit`. That is the tail, or a record
    // that was overwritten meanwhile.
    [[nodiscard]] Counted count(std::uint64_t from,
                                std::uint64_t limit = wire::last_position) const noexcept {
        Counted counted{from, 0};
        const std::uint64_t lap = (mask_ + 1) / wire::unit_bytes;
        // Ends: after a lap, which is all that can stand here.
        while (counted.position < limit && counted.position - from < lap) {
            const std::uint64_t meta = meta_at(counted.position);
            if (meta == 0) break;
            counted.messages += messages_in_record(record(counted.position), meta);
            counted.position += wire::units_of(meta);
        }
        return counted;
    }

private:
    using Word = base::StdAtomics::word<std::uint64_t>;
    const std::byte* data_;
    std::uint64_t mask_;
    std::uint64_t salt_;
};

}  // namespace shmbus::lane
