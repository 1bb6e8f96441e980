// One consumer of an inbox: taking and giving back. Finding lanes, rescuing and sleeping are in
// consumer_slow.cc.
#include "lane/consumer.h"

#include "base/clock.h"
#include "lane/reader_lane.h"

namespace shmbus::lane {

namespace {

constexpr std::uint32_t quiet_until_cold = 4096;
// Batches of so many come only with a backlog.
constexpr std::uint32_t look_ahead_from = 32;
// Takes between two looks at peers, the clock and new lanes.
constexpr std::uint32_t takes_between_looks = 64;
constexpr std::size_t cold_looks = 8;

}  // namespace

LaneFacts facts_of(const ReaderLane& lane) noexcept {
    return {lane.identity().lane_id, lane.identity().writer, lane.identity().writer_uid};
}

// Everything that need not be looked at by every take.
Batch* Consumer::look_around() noexcept {
    until_look_ = takes_between_looks;
    stamp_ = base::ticks();
    // TABLES: lanes and consumers that came or went. Other end: InboxAdmin::changed.
    if (table_->version.load(std::memory_order_acquire) != known_version_) refresh();
    rescue();
    start_successors();
    look_at_cold();
    if (rescued_.empty()) return nullptr;
    until_look_ = 1;
    return take_rescued();
}

Batch* Consumer::take(std::uint32_t limit) noexcept {
    if (--until_look_ == 0) [[unlikely]] {
        if (Batch* batch = look_around()) return batch;
    }
    // Without a backlog one record, so as not to reach for the line that the writer fills next.
    if (backlog_ >= 2) adapt();
    if (limit > batch_limit_) limit = batch_limit_;
    const std::size_t warm_lanes = warm_.size();
    for (std::size_t i = 0; i < warm_lanes; ++i) {
        if (warm_next_ >= warm_lanes) warm_next_ = 0;
        ReaderLane& lane = *warm_[warm_next_];
        ++warm_next_;
        if (Batch* batch = take_from(lane, limit)) {
            lane.quiet = 0;
            return batch;
        }
        if (++lane.quiet > quiet_until_cold) [[unlikely]] {
            lane.quiet = 0;
            if (warm_lanes > 1) return cool_down(--warm_next_);
        }
    }
    batch_limit_ = 1;
    backlog_ = 0;
    if (!cold_.empty()) return take_from_cold(limit);
    return nullptr;
}

// A lane that was quiet for long is not kept waiting by busy ones: a few are looked at now and
// then whatever the others do, and one that has a message takes turns with them again.
void Consumer::look_at_cold() noexcept {
    for (std::size_t i = 0; i < cold_looks && !cold_.empty(); ++i) {
        if (cold_next_ >= cold_.size()) cold_next_ = 0;
        ReaderLane& lane = *cold_[cold_next_];
        // HELD, a hint: take_from looks again.
        if (lane.published(position_in(lane.head().load(std::memory_order_acquire)))) warm(lane);
        else ++cold_next_;
    }
}

Batch* Consumer::take_from_cold(std::uint32_t limit) noexcept {
    for (std::size_t i = 0; i < 2; ++i) {
        if (cold_next_ >= cold_.size()) cold_next_ = 0;
        ReaderLane& lane = *cold_[cold_next_];
        if (Batch* batch = take_from(lane, limit)) {
            warm(lane);
            return batch;
        }
        ++cold_next_;
    }
    return nullptr;
}

// Moves the warm lane at `place`, which was quiet for long, to those looked at in turn.
Batch* Consumer::cool_down(std::size_t place) noexcept {
    ReaderLane* lane = warm_[place];
    lane->is_warm = false;
    cold_.push_back(lane);
    warm_.erase(warm_.begin() + static_cast<std::ptrdiff_t>(place));
    return nullptr;
}

void Consumer::warm(ReaderLane& lane) noexcept {
    const auto place = std::find(cold_.begin(), cold_.end(), &lane);
    if (place == cold_.end()) return;
    cold_.erase(place);
    lane.is_warm = true;
    lane.quiet = 0;
    warm_.push_back(&lane);
}

// Lists published records from `position` on, checked. A record that no writer could have made
// ends the list; when it is the first, the lane is poisoned.
std::uint32_t Consumer::walk(ReaderLane& lane, std::uint64_t position, std::uint64_t end_limit,
                             std::uint32_t limit, Batch& into) noexcept {
    std::uint32_t count = 0;
    std::uint64_t usual = lane.usual_units;
    while (count < limit && position < end_limit && lane.published(position)) {
        const std::uint64_t meta = lane.meta(position);
        const std::uint64_t units = wire::units_of(meta);
        into.entries[count] = {position, meta, lane.record(position)};
        if (units == usual) [[likely]] {
            // Guessed, not computed: the processor then reads the next record without waiting
            // for the length of this one (halves the cost of a record). The empty statement keeps
            // the compiler from seeing that both are the same number.
            std::uint64_t step = usual;
            asm volatile("" : "+r"(step));
            position += step;
        } else {
            if (units > lane.most_units()) {
                // Others may have taken it meanwhile, and its bytes be those of a later lap. While
                // the head stands here they are what the writer committed.
                // HELD, a hint. Other end: take.
                if (count == 0 &&
                    position_in(lane.head().load(std::memory_order_acquire)) == position)
                    poison(lane, "a record is longer than any may be");
                break;
            }
            lane.usual_units = usual = units;
            position += units;
        }
        ++count;
    }
    return count;
}

// One of our four hands that is free, or hands_each. A hand may be busy without an open batch: an
// adopter, or we ourselves, still deliver what an earlier owner of the slot held in it.
std::uint32_t Consumer::idle_hand() const noexcept {
    for (std::uint32_t i = 0; i < hands_each; ++i) {
        if (open_batches_ >> i & 1U) continue;
        // relaxed: only we fill it.
        const std::uint64_t word =
            hands_[slot_ * hands_each + i].word.load(std::memory_order_relaxed);
        if (state_in(word) == HandState::idle) return i;
    }
    return hands_each;
}

Batch* Consumer::take_from(ReaderLane& lane, std::uint32_t limit) noexcept {
    // HELD: who took last. Other end: take.
    const std::uint64_t head = lane.head().load(std::memory_order_acquire);
    const std::uint64_t position = position_in(head);
    if (!lane.published(position)) return nullptr;
    if (lane.poisoned || lane.parts().lost()) [[unlikely]] {
        if (!lane.poisoned) poison(lane, "its file was cut short");
        return nullptr;
    }
    const std::uint32_t free = idle_hand();
    if (free == hands_each) [[unlikely]] return nullptr;
    const auto index = static_cast<std::uint16_t>(slot_ * hands_each + free);
    StdHand& mine = hands_[index];
    Batch& batch = batches_[free];
    const std::uint64_t end_limit = position + lane.capacity_units() / 8;
    const std::uint32_t count = walk(lane, position, end_limit, limit, batch);
    if (count == 0) [[unlikely]] return nullptr;
    const std::uint16_t former = hand_in(head);
    if (former / hands_each != slot_ && former < most_hands) [[unlikely]]
        help(hands_[former], lane.identity().lane_id, position);
    const Entry& last = batch.entries[count - 1];
    const Span span{lane.identity().lane_id, position, last.position + wire::units_of(last.meta),
                    count, stamp_};
    if (!lane::take<base::StdAtomics>(lane.head(), head, mine, index, slot_, span)) return nullptr;
    batch.lane = &lane;
    batch.hand = &mine;
    batch.count = count;
    batch.adopted = false;
    // The data is mapped twice, so a stride of at most an eighth of it stays inside.
    batch.stride = count >= look_ahead_from
                       ? static_cast<std::uint32_t>((span.end - position) * wire::unit_bytes)
                       : 0;
    open_batches_ |= 1U << free;
    // What is left is for others, now and not after our handlers: who leaves messages behind wakes
    // the next. relaxed: a sleeper that is missed looks around before it sleeps.
    if (doorbell_->sleepers.load(std::memory_order_relaxed) != 0) [[unlikely]] {
        if (lane.published(span.end)) wake_one(*doorbell_, descriptors_);
    }
    return &batch;
}

void Consumer::finish(Batch* batch) noexcept {
    StdHand& hand = *batch->hand;
    const std::uint32_t count = batch->count;
    ReaderLane& lane = *batch->lane;
    const Entry& last = batch->entries[count - 1];
    const std::uint64_t end = last.position + wire::units_of(last.meta);
    if (batch->adopted) [[unlikely]] {
        // relaxed: ours until it is cleared.
        hand.signal.store(0, std::memory_order_relaxed);
        clear(hand);
        std::erase_if(rescued_batches_, [&](const auto& held) { return held.get() == batch; });
    } else {
        clear(hand);
        open_batches_ &= ~(1U << (batch - batches_.data()));
        last_count_ = count;
        ++backlog_;
    }
    // seq_cst, behind the exchange in clear: see Writer::wait_for_room.
    const bool wanted =
        lane.parts().writer_page().wants_room.load(std::memory_order_seq_cst) != 0;
    if (wanted || end - lane.room_given >= lane.capacity_units() / 4) [[unlikely]]
        count_room(lane);
}

// Called before a take that follows two batches at once: there is a backlog. Batches grow while
// handlers are quick and shrink when they are slow, so that a slow consumer holds little.
void Consumer::adapt() noexcept {
    const std::uint64_t now = base::ticks();
    const std::uint64_t spent = now - stamp_;
    stamp_ = now;
    // As quick as a full batch may be? Compared, not divided: this stands between two batches.
    if (spent * most_entries <= fast_ticks_ * last_count_) [[likely]] {
        batch_limit_ = std::min(batch_limit_ * 2, most_entries);
    } else {
        const std::uint64_t each = spent / std::max(last_count_, 1U) + 1;
        batch_limit_ = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
            fast_ticks_ / each, 1, most_entries));
    }
}

void Consumer::count_room(ReaderLane& lane) noexcept {
    StdReaderPage& page = lane.parts().reader_page();
    const auto count_hands = [&] {
        // Acquire: a consumer is counted before it takes. Other end: replace_consumer.
        const std::uint32_t used = table_->consumers_used.load(std::memory_order_acquire);
        return std::min(used, most_consumers) * hands_each;
    };
    const std::uint64_t position =
        room<base::StdAtomics>(page.head, *reinterpret_cast<StdHands*>(hands_), count_hands,
                               lane.identity().lane_id);
    give_room(page.reclaim, position);
    lane.room_given = position;
    // relaxed: read after the room was given; a writer that starts to wish now counts by itself.
    if (lane.parts().writer_page().wants_room.load(std::memory_order_relaxed) != 0) {
        // RUNG: the room. Other end: Writer::wait_for_room.
        page.room_bell.fetch_add(1, std::memory_order_release);
        base::wake(page.room_bell, 1);
    }
}

void Consumer::poison(ReaderLane& lane, std::string_view why) noexcept {
    if (lane.poisoned) return;
    lane.poisoned = true;
    ++poisoned_;
    // relaxed: a hint to the writer; it changes nothing that is ordered.
    lane.parts().reader_page().poisoned.store(1, std::memory_order_relaxed);
    if (log_) {
        std::string text = "lane " + lane_file_name(lane.identity().lane_id) +
                           " is not read any more: ";
        text += why;
        log_(true, text);
    }
}

}  // namespace shmbus::lane
