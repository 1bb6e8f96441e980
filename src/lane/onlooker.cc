// Looking at lanes and inboxes without taking part. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "lane/onlooker.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "lane/inbox_file.h"

namespace shmbus::lane {

namespace {

// Copies of words in private memory: nobody else writes them. relaxed for that reason.
template <class T>
[[nodiscard]] T read(const base::StdAtomics::word<T>& word) noexcept {
    return word.load(std::memory_order_relaxed);
}

[[nodiscard]] Metrics::Times read_all(const StdTimes& times) noexcept {
    Metrics::Times copy;
    for (std::size_t which = 0; which < timed; ++which)
        for (std::size_t i = 0; i < buckets; ++i) copy[which][i] = read(times[which][i]);
    return copy;
}

}  // namespace

// ---- a record

std::span<const std::byte> SeenRecord::payload() const noexcept {
    return std::span(block).subspan(std::min(block.size(), std::size_t{meta.extension_units} * 16));
}

bool SeenRecord::extensions(wire::Extensions& into) const noexcept {
    return block.size() >= std::size_t{meta.extension_units} * 16 &&
           wire::read_extensions(meta, block.data(), into);
}

std::uint64_t SeenRecord::messages() const noexcept {
    if ((meta.flags & wire::is_packed) == 0 || payload().size() < 16) return 1;
    std::uint32_t count = 0;
    std::memcpy(&count, payload().data(), sizeof(count));
    return std::clamp(count, 1U, wire::most_packed);
}

// ---- a lane

LaneOnlooker::LaneOnlooker(const base::File& file)
    : parts_(file, LaneParts::Side::onlooker), sight_(parts_.data(), parts_.identity()) {}

LaneOnlooker::Where LaneOnlooker::where() const noexcept {
    const StdReaderPage& reader = parts_.reader_page();
    const StdWriterPage& writer = parts_.writer_page();
    // HELD, a hint: it only grows.
    const std::uint64_t head = reader.head.load(std::memory_order_acquire);
    Where where;
    where.head = position_in(head);
    where.hand = hand_in(head);
    // relaxed, all: for display.
    where.reclaim = reader.reclaim.load(std::memory_order_relaxed);
    where.receipt = reader.receipt.load(std::memory_order_relaxed);
    where.is_poisoned = reader.poisoned.load(std::memory_order_relaxed) != 0;
    where.is_closed = writer.closed.load(std::memory_order_relaxed) != 0;
    where.wants_room = writer.wants_room.load(std::memory_order_relaxed) != 0;
    return where;
}

bool LaneOnlooker::look(std::uint64_t position, SeenRecord& into) const {
    const std::uint64_t meta = sight_.meta_at(position);
    if (meta == 0) return false;
    into.position = position;
    into.units = wire::units_of(meta);
    into.meta = wire::Meta::of(meta);
    into.block.resize(std::size_t{into.meta.extension_units} * 16 + into.meta.payload_bytes);
    std::memcpy(into.block.data(), sight_.record(position) + wire::head_bytes, into.block.size());
    // What was copied is of this record only if its room was not given back: its control word stays
    // until the record that overwrites it is published. The fence keeps the copy before the look.
    // ROOM. Other end: give_room.
    base::StdAtomics::fence(std::memory_order_acquire);
    const bool is_kept = parts_.reader_page().reclaim.load(std::memory_order_acquire) <= position;
    return is_kept && sight_.is_there(position) && !parts_.lost();
}

LaneOnlooker::Count LaneOnlooker::count() const noexcept {
    const StdWriterPage& page = parts_.writer_page();
    const Counted mark = last_mark(page);
    const std::uint64_t head = where().head;
    const Counted behind_mark = sight_.count(mark.position);
    const Counted waiting = sight_.count(head);
    const Counted later = last_mark(page);
    Count count;
    // Nothing behind a mark is overwritten before the next one is made.
    count.is_exact = later.position == mark.position;
    count.messages = count.is_exact ? mark.messages + behind_mark.messages : later.messages;
    count.tail = std::max({behind_mark.position, waiting.position, later.position});
    count.waiting = waiting.messages;
    // relaxed, all: for display.
    count.refused = page.refused.load(std::memory_order_relaxed);
    count.dropped_newest = page.dropped_newest.load(std::memory_order_relaxed);
    count.dropped_oldest = page.dropped_oldest.load(std::memory_order_relaxed);
    count.waits = page.waits.load(std::memory_order_relaxed);
    return count;
}

// ---- an inbox

std::uint64_t on_disk(const base::File& inbox) {
    std::uint64_t records = 0;
    if (inbox.read_all(std::as_writable_bytes(std::span(&records, 1)),
                       consumers_page_at + offsetof(StdConsumers, on_disk)) != sizeof(records))
        return 0;
    // BROUGHT: lanes, and the rows that tell of them, are looked at behind this; the kernel has
    // loaded the word. Other end: InboxAdmin::tell_on_disk.
    base::StdAtomics::fence(std::memory_order_acquire);
    return records;
}

InboxOnlooker::InboxOnlooker(const base::File& file)
    : file_(file.duplicate()),
      identity_(read_inbox_identity(file)),
      bytes_(inbox_bytes + alignof(StdHand)) {
    void* begin = bytes_.data();
    std::size_t space = bytes_.size();
    begin_ = static_cast<std::byte*>(std::align(alignof(StdHand), inbox_bytes, begin, space));
    refresh();
}

bool InboxOnlooker::refresh() {
    const std::size_t got = file_.read_all({begin_, inbox_bytes}, 0);
    if (got == inbox_bytes) return true;
    std::memset(begin_, 0, inbox_bytes);
    return false;
}

const StdHands& InboxOnlooker::all_hands() const noexcept {
    return *reinterpret_cast<const StdHands*>(begin_ + hands_at);
}

const StdConsumers& InboxOnlooker::table() const noexcept {
    return *reinterpret_cast<const StdConsumers*>(begin_ + consumers_page_at);
}

std::uint32_t InboxOnlooker::hands_used() const noexcept {
    return std::min(read(table().consumers_used), most_consumers) * hands_each;
}

std::vector<std::uint64_t> InboxOnlooker::lanes() const {
    std::vector<std::uint64_t> found;
    for (const auto& lane : *reinterpret_cast<const LaneTable*>(begin_ + lane_table_at))
        if (read(lane) != 0) found.push_back(read(lane));
    return found;
}

std::vector<InboxOnlooker::Consumer> InboxOnlooker::consumers() const {
    const auto& doorbell = *reinterpret_cast<const StdDoorbell*>(begin_ + doorbell_page_at);
    std::vector<Consumer> found;
    for (std::uint16_t slot = 0; slot < most_consumers; ++slot)
        if (const std::uint64_t participant = read(table().consumers[slot]); participant != 0)
            found.push_back({slot, participant, (read(doorbell.sleepers) >> slot & 1U) != 0});
    return found;
}

std::vector<InboxOnlooker::HandSeen> InboxOnlooker::hands() const {
    std::vector<HandSeen> found;
    for (std::uint32_t i = 0; i < hands_used(); ++i) {
        const StdHand& hand = all_hands()[i];
        const std::uint64_t word = read(hand.word);
        if (state_in(word) == HandState::idle) continue;
        HandSeen seen{static_cast<std::uint16_t>(i),
                      owner_in(word),
                      state_in(word),
                      read(hand.lane),
                      read(hand.from),
                      read(hand.end),
                      read(hand.since),
                      std::min(records_in(read(hand.count)), most_entries),
                      0,
                      0};
        for (std::uint32_t at = 0; at < seen.count; ++at)
            if (progress_of(hand, at).done != 0) seen.done_records |= std::uint64_t{1} << at;
        while (seen.done < seen.count && progress_of(hand, seen.done).done != 0) ++seen.done;
        found.push_back(seen);
    }
    return found;
}

std::uint64_t InboxOnlooker::settled_by(std::uint16_t slot) const noexcept {
    std::uint64_t messages = 0;
    for (std::uint32_t i = slot * hands_each; i < (slot + 1U) * hands_each; ++i) {
        const StdHand& hand = all_hands()[i];
        const std::uint64_t settled = read(hand.settled);
        messages += messages_in(settled);
        const std::uint32_t count = read(hand.count);
        if (state_in(read(hand.word)) != HandState::taken ||
            is_of_filling(settled, filling_in(count)))
            continue;
        for (std::uint32_t at = 0; at < std::min(records_in(count), most_entries); ++at)
            messages += progress_of(hand, at).done != 0 ? 1 : 0;
    }
    return messages;
}

std::uint64_t InboxOnlooker::settled() const noexcept {
    std::uint64_t messages = 0;
    for (std::uint16_t slot = 0; slot < most_consumers; ++slot) messages += settled_by(slot);
    return messages;
}

InboxOnlooker::Gone InboxOnlooker::gone() const noexcept {
    const auto& kept = table().kept;
    return {read(kept[0]), read(kept[1]), read(kept[2]), read(kept[3]), read(table().kept_units)};
}

Metrics InboxOnlooker::metrics(std::uint16_t slot) const {
    const auto block = std::make_unique<StdMetrics>();
    Metrics metrics;
    if (slot >= most_consumers) return metrics;
    // A hole reads as zeros; a file that was cut short gives less, which stays zero.
    static_cast<void>(file_.read_all(
        {reinterpret_cast<std::byte*>(block.get()), sizeof(StdMetrics)}, metrics_at(slot)));
    for (std::size_t i = 0; i < counters; ++i) metrics.counts_[i] = read(block->counts[i]);
    for (std::size_t row = 0; row < most_counted_types; ++row)
        if (const std::uint64_t type = read(block->types[row].type); type != 0)
            metrics.types_.push_back({static_cast<std::uint32_t>(type - 1),
                                      read(block->types[row].handled), row});
    metrics.other_types_ = read(block->other_types);
    const auto add = [&](std::uint64_t type, const auto& counts) {
        Metrics::TypeTrouble told{static_cast<std::uint32_t>(type), {}};
        for (std::size_t i = 0; i < troubles; ++i) told.counts[i] = read(counts[i]);
        metrics.troubled_.push_back(told);
    };
    for (const auto& row : block->troubled)
        if (const std::uint64_t type = read(row.type); type != 0) add(type - 1, row.counts);
    add(0, block->other_troubled);
    for (std::size_t row = 0; row < most_timed_lanes; ++row)
        if (const std::uint64_t lane = read(block->timed_lanes[row]); lane != 0)
            metrics.timed_lanes_.push_back({lane, row});
    metrics.times_ = read_all(block->times);
    return metrics;
}

Metrics::Times InboxOnlooker::times_of_row(std::uint16_t slot, std::size_t row) const {
    if (slot >= most_consumers || row >= most_timed_types) return {};
    return times_at(type_times_at(slot, row));
}

Metrics::Times InboxOnlooker::times_of_lane(std::uint16_t slot, Metrics::TimedLane which) const {
    if (slot >= most_consumers || which.row >= most_timed_lanes) return {};
    // NAMED: the row's name was read before its times, by metrics(), and is once more behind them:
    // a row that is emptied for another lane has lost it by then. Other end: name_row.
    base::StdAtomics::fence(std::memory_order_acquire);
    const Metrics::Times times = times_at(lane_times_at(slot, which.row));
    base::StdAtomics::fence(std::memory_order_acquire);
    std::uint64_t name = 0;
    const std::size_t at = metrics_at(slot) + offsetof(StdMetrics, timed_lanes) +
                           which.row * sizeof(name);
    static_cast<void>(file_.read_all(std::as_writable_bytes(std::span(&name, 1)), at));
    return name == which.lane ? times : Metrics::Times{};
}

Metrics::Times InboxOnlooker::times_at(std::size_t offset) const {
    const auto times = std::make_unique<StdTimes>();
    // As in metrics().
    static_cast<void>(file_.read_all(
        {reinterpret_cast<std::byte*>(times.get()), sizeof(StdTimes)}, offset));
    return read_all(*times);
}

}  // namespace shmbus::lane
