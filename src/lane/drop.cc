// Letting the oldest messages of a full lane go. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "lane/drop.h"

#include <cstring>

#include "lane/count.h"
#include "lane/inbox_file.h"
#include "lane/protocol.h"

namespace shmbus::lane {

Dropper::Dropper(const base::File& lane, const base::File& inbox)
    : reader_page_(lane, {reader_page_at, page_bytes}, base::Access::read_write),
      hands_(inbox, {hands_at, sizeof(StdHands)}, base::Access::read_write),
      reader_guard_(reader_page_.data(), page_bytes, &lost_),
      hands_guard_(hands_.data(), sizeof(StdHands), &lost_) {}

std::uint64_t Dropper::drop_one(const Writer& writer) noexcept {
    auto& head_word_of_lane = reader_page_.at<StdReaderPage>().head;
    auto& hands = hands_.at<StdHands>();
    const LaneIdentity& identity = writer.parts().identity();
    // Ends: each turn that repeats means that a consumer has taken something.
    for (;;) {
        // HELD: who took last. Other end: take.
        std::uint64_t head = head_word_of_lane.load(std::memory_order_acquire);
        const std::uint64_t position = position_in(head);
        const std::uint64_t tail = writer.tail();
        // A head below what may still be read, or past our tail, is a stranger's.
        if (position >= tail || tail - position > identity.capacity / wire::unit_bytes) return 0;
        if (hand_in(head) < most_hands) help(hands[hand_in(head)], identity.lane_id, position);
        const std::byte* record =
            writer.parts().data() + (position * wire::unit_bytes & (identity.capacity - 1));
        std::uint64_t word = 0;
        std::memcpy(&word, record + sizeof(word), sizeof(word));  // written by ourselves
        const std::uint64_t end = position + wire::units_of(word);
        if (end > tail) return 0;
        // HELD: the helped hand. Other ends: room, judge. As in take_filled, but nobody holds this.
        if (head_word_of_lane.compare_exchange(head, head_word(end, no_hand),
                                               std::memory_order_acq_rel,
                                               std::memory_order_relaxed)) {
            const std::uint64_t count = messages_in_record(record, word);
            // A reader that finds the bytes of a later record where it was looking also
            // finds that the head has moved, and does not take the lane for damaged. Other end:
            // Consumer::walk.
            base::StdAtomics::fence(std::memory_order_release);
            return count;
        }
    }
}

}  // namespace shmbus::lane
