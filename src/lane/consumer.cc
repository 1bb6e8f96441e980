// One consumer of an inbox: taking and giving back. Finding lanes, rescuing and sleeping are in
// consumer_slow.cc.
#include "lane/consumer.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "lane/reader_lane.h"

namespace shmbus::lane {

namespace {

constexpr std::uint32_t quiet_until_cold = 4096;
// Takes between two looks at peers, the clock and new lanes.
constexpr std::uint32_t takes_between_looks = 64;
constexpr std::size_t cold_looks = 8;

// Records of several lines that are taken at once. A walk over them looks at the first line of each
// before the first one is handled: further ahead than so many lines it makes the handlers slower
// (bench: oneway --bytes 256, by a third and more between near cores and far ones).
[[nodiscard]] constexpr std::uint32_t most_walked(std::uint64_t units_each) noexcept {
    constexpr std::uint64_t lines = 24;
    constexpr std::uint64_t least = 4;
    return static_cast<std::uint32_t>(units_each == 1 ? most_entries
                                                      : std::max(lines / units_each, least));
}

}  // namespace

// Everything that need not be looked at by every take.
Batch* Consumer::look_around() noexcept {
    until_look_ = takes_between_looks;
    look_at_clock();
    // TABLES: lanes and consumers that came or went. Other end: InboxAdmin::changed.
    if (table_->version.load(std::memory_order_acquire) != known_version_) refresh();
    rescue();
    start_successors();
    look_at_cold();
    if (rescued_.empty()) return nullptr;
    until_look_ = 1;
    return take_rescued();
}

Batch* Consumer::take_in_turn(std::uint32_t limit, std::uint32_t least) noexcept {
    if (--until_look_ == 0) [[unlikely]] {
        if (Batch* batch = look_around()) return batch;
    }
    const std::size_t warm_lanes = warm_.size();
    for (std::size_t i = 0; i < warm_lanes; ++i) {
        if (warm_next_ >= warm_lanes) warm_next_ = 0;
        ReaderLane& lane = *warm_[warm_next_];
        ++warm_next_;
        // HELD: who took last. Other end: take.
        const std::uint64_t head = lane.head().load(std::memory_order_acquire);
        if (lane.published(position_in(head))) {
            ask_for_answers_line();
            const std::uint32_t count = std::max(batch_size_.next(limit), least);
            if (Batch* batch = take_from(lane, head, count)) return batch;
        } else if (++lane.quiet > quiet_until_cold) [[unlikely]] {
            lane.quiet = 0;
            if (warm_lanes > 1) return cool_down(--warm_next_);
        }
    }
    batch_size_.found_nothing();
    if (!cold_.empty()) return take_from_cold(limit, least);
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

Batch* Consumer::take_from_cold(std::uint32_t limit, std::uint32_t least) noexcept {
    for (std::size_t i = 0; i < 2; ++i) {
        if (cold_next_ >= cold_.size()) cold_next_ = 0;
        ReaderLane& lane = *cold_[cold_next_];
        // HELD: who took last. Other end: take.
        const std::uint64_t head = lane.head().load(std::memory_order_acquire);
        if (lane.published(position_in(head))) {
            warm(lane);
            return take_from(lane, head, std::max(batch_size_.next(limit), least));
        }
        ++cold_next_;
    }
    return nullptr;
}

// Moves the warm lane at `place`, which was quiet for long, to those looked at in turn.
Batch* Consumer::cool_down(std::size_t place) noexcept {
    ReaderLane* lane = warm_[place];
    expected_ = {};
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

// A record longer than any writer may make is a stranger's, and its lane poisoned; unless others
// have taken it meanwhile and its bytes are those of a later lap. While the head stands here they
// are what the writer committed.
void Consumer::doubt(ReaderLane& lane, std::uint64_t position) noexcept {
    // HELD, a hint. Other end: take.
    if (position_in(lane.head().load(std::memory_order_acquire)) == position)
        poison(lane, "a record is longer than any may be");
}

// Looks at the published record at `position`, the first of a batch. False: it is not to be
// believed.
[[gnu::always_inline]] inline bool Consumer::begin_with(ReaderLane& lane, std::uint64_t position,
                                                        Batch& into) noexcept {
    const std::uint64_t meta = lane.meta(position);
    const std::uint64_t units = wire::units_of(meta);
    if (units > lane.most_units()) [[unlikely]] {
        doubt(lane, position);
        return false;
    }
    into.first = {position, meta, lane.record(position)};
    into.units_each = static_cast<std::uint32_t>(units);
    into.end = position + units;
    return true;
}

// Finds published records from `position` on, at most `limit`, checked; how many. The first one
// must be there. 0: it is not to be believed.
std::uint32_t Consumer::walk(ReaderLane& lane, std::uint64_t position, std::uint64_t end_limit,
                             std::uint32_t limit, Batch& into) noexcept {
    if (!begin_with(lane, position, into)) [[unlikely]] return 0;
    const std::uint64_t meta = into.first.meta;
    const std::uint64_t units = into.units_each;
    limit = std::min(limit, most_walked(units));
    // As long as all are alike the next position is known before this record is read, so that the
    // processor asks for several lines at once. The data is mapped twice: no record wraps, and none
    // before end_limit does.
    const std::size_t step = units * wire::unit_bytes;
    const std::byte* record = into.first.record + step;
    const std::byte* const last =
        into.first.record + std::min<std::uint64_t>(limit * step, (end_limit - position) *
                                                                      wire::unit_bytes);
    std::uint64_t next = position + units;
    std::uint32_t count = 1;
    for (; record < last && lane.published_at(record, next); record += step, next += units) {
        if (lane.meta_at(record) != meta) [[unlikely]]
            return walk_on(lane, next, end_limit, limit, count, into);
        ++count;
    }
    into.end = next;
    return count;
}

// The same from the record at `position`, the first that is not like the `count` before it.
std::uint32_t Consumer::walk_on(ReaderLane& lane, std::uint64_t position, std::uint64_t end_limit,
                                std::uint32_t limit, std::uint32_t count, Batch& into) noexcept {
    for (std::uint32_t i = 0; i < count; ++i) into.listed[i] = into.entry(i);
    into.units_each = 0;
    while (count < limit && position < end_limit && lane.published(position)) {
        const std::uint64_t meta = lane.meta(position);
        const std::uint64_t units = wire::units_of(meta);
        if (units > lane.most_units()) break;  // judged when it is the first of a batch
        into.listed[count] = {position, meta, lane.record(position)};
        position += units;
        ++count;
    }
    into.end = position;
    return count;
}

// One of our hands that is free, or hands_each. A hand may be busy without an open batch: an
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

Batch* Consumer::take_from(ReaderLane& lane, std::uint64_t head, std::uint32_t limit) noexcept {
    if (lane.poisoned || lane.parts().lost()) [[unlikely]] {
        if (!lane.poisoned) poison(lane, "its file was cut short");
        return nullptr;
    }
    const std::uint32_t free = idle_hand();
    // The look at the hands comes first: it notices that they are not there any more.
    if (free == hands_each || is_lost()) [[unlikely]] return nullptr;
    expected_ = {};
    const auto index = static_cast<std::uint16_t>(slot_ * hands_each + free);
    StdHand& mine = hands_[index];
    Batch& batch = batches_[free];
    const std::uint64_t position = position_in(head);
    const std::uint64_t end_limit = position + lane.capacity_units() / 8;
    // What comes alone is waited for: the shortest way.
    const std::uint32_t count = limit == 1 ? (begin_with(lane, position, batch) ? 1 : 0)
                                           : walk(lane, position, end_limit, limit, batch);
    if (count == 0) [[unlikely]] return nullptr;
    const std::uint16_t former = hand_in(head);
    if (former / hands_each != slot_ && former < most_hands) [[unlikely]]
        help(hands_[former], lane.lane_id(), position);
    const std::uint64_t end = batch.end;
    if (!lane::take<base::StdAtomics>(lane.head(), head, mine, index, slot_,
                                      {lane.lane_id(), position, end, count, stamp_}))
        return nullptr;
    batch.lane = &lane;
    batch.hand = &mine;
    batch.count = count;
    batch.adopted = false;
    batch_size_.took(count);
    open_batches_ |= 1U << free;
    lane.quiet = 0;
    wake_for_what_is_left(lane, end);
    return &batch;
}

// Known without looking at the records.
static bool is_one_a_record(const Batch& batch) noexcept {
    return batch.units_each != 0 && (batch.first.meta >> 52 & wire::is_packed) == 0;
}

void Consumer::expect_another(const Batch& batch) noexcept {
    const bool is_expected = &batch == batches_.data() && batch.count == 1 &&
                             is_one_a_record(batch) &&
                             open_batches_ == 0 && warm_.size() == 1 && cold_.empty() &&
                             !batch.lane->poisoned;
    expected_ = {};
    if (!is_expected) return;
    expected_.lane = batch.lane;
    expected_.record = batch.lane->record(batch.end);
}

// Messages of a batch that is not one message a record.
std::uint64_t Consumer::count_messages(const Batch& batch) noexcept {
    std::uint64_t messages = 0;
    for (std::uint32_t i = 0; i < batch.count; ++i) {
        const Entry entry = batch.entry(i);
        messages += messages_in_record(entry.record, entry.meta);
    }
    return messages;
}

void Consumer::finish_usual(Batch* batch) noexcept {
    StdHand& hand = *batch->hand;
    ReaderLane& lane = *batch->lane;
    count_settled(hand, is_one_a_record(*batch) ? batch->count : count_messages(*batch));
    const std::uint64_t end = batch->end;
    if (batch->adopted) [[unlikely]] {
        // relaxed: ours until it is cleared.
        hand.signal.store(0, std::memory_order_relaxed);
        clear(hand);
        std::erase_if(rescued_batches_, [&](const auto& held) { return held.get() == batch; });
    } else {
        clear(hand);
        open_batches_ &= ~(1U << (batch - batches_.data()));
        expect_another(*batch);
    }
    give_room_if_due(lane, end);
}

void Consumer::count_room(ReaderLane& lane) noexcept {
    StdReaderPage& page = lane.parts().reader_page();
    const auto count_hands = [&] { return consumers_used() * hands_each; };
    const std::uint64_t position =
        room<base::StdAtomics>(page.head, *reinterpret_cast<StdHands*>(hands_), count_hands,
                               lane.identity().lane_id);
    if (is_lost()) return;
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
    expected_ = {};
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
