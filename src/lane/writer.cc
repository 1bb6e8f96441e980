// The writing side of a lane, its slow half. See the header.
#include "lane/writer.h"

#include "base/barrier.h"
#include "base/figure.h"
#include "base/parking.h"
#include "lane/inbox_file.h"

namespace shmbus::lane {

namespace {

// Where a reader may believe that the barrier reaches it and this process may not call it.
constexpr std::chrono::nanoseconds unsure_wait = std::chrono::microseconds(200);

}  // namespace

Writer::Writer(const base::File& file)
    : parts_(file, LaneParts::Side::writer),
      data_(parts_.data()),
      mask_(parts_.identity().capacity - 1),
      salt_(parts_.identity().salt),
      limit_(parts_.identity().capacity / wire::unit_bytes),
      capacity_units_(limit_) {}

Writer::Writer(const base::File& file, std::uint64_t tail) : Writer(file) {
    at_.store(tail << 16, std::memory_order_relaxed);  // relaxed: nobody knows us yet
    reclaimed_ = tail - std::min(tail, capacity_units_);
    // ROOM, as in look_for_room.
    believe(parts_.reader_page().reclaim.load(std::memory_order_acquire));
    const Counted known = last_mark(parts_.writer_page());
    counted_ = known.messages;
    if (known.position < tail)
        counted_ += Sight(data_, parts_.identity()).count(known.position, tail).messages;
}

bool Writer::look_for_room(std::uint64_t units) noexcept {
    // At least once in a lap: see count.h.
    set_mark(parts_.writer_page(), {tail(), messages()});
    // ROOM: nobody reads below any more. Other end: give_room.
    believe(parts_.reader_page().reclaim.load(std::memory_order_acquire));
    return tail() + units <= limit_ && tail() < wire::last_position;
}

bool Writer::is_scribbled() const noexcept {
    // HELD, a hint: it only grows. What is not taken is not given back, so it stands there.
    const std::uint64_t next =
        position_in(parts_.reader_page().head.load(std::memory_order_acquire));
    if (next < reclaimed_ || next > tail()) return true;
    const auto& control = *reinterpret_cast<const Word*>(record_at(next));
    return next != tail() && !is_published(control, salt_, next);
}

bool Writer::count_room(const InboxView& inbox, std::uint64_t units) noexcept {
    const std::uint64_t free = room<base::StdAtomics>(
        parts_.reader_page().head, inbox.hands(), [&] { return inbox.hands_used(); }, lane_id());
    // What holds something may be gone from an inbox that was cut short, and still be read.
    if (!inbox.lost()) believe(free);
    return tail() + units <= limit_ && tail() < wire::last_position;
}

void Writer::wait_for_room(const InboxView& inbox, std::uint64_t units,
                           std::chrono::nanoseconds limit) noexcept {
    StdWriterPage& mine = parts_.writer_page();
    const auto& bell = parts_.reader_page().room_bell;
    // relaxed: the kernel compares it again.
    const std::uint32_t rung = bell.load(std::memory_order_relaxed);
    // WISHED. Either a reader that clears looks behind that at this word and sees the wish, or the
    // count below sees the cleared hand. Readers do not fence where the barrier reaches them. Other
    // end: is_room_wished.
    mine.wants_room.store(1, std::memory_order_seq_cst);
    const bool is_sure = base::global_barrier();
    if (!look_for_room(units) && !count_room(inbox, units))
        base::wait(base::watch(bell, rung), is_sure ? limit : std::min(limit, unsure_wait));
    // relaxed: a reader that still sees the wish rings once for nothing.
    mine.wants_room.store(0, std::memory_order_relaxed);
}

void Writer::note(Account what, std::uint64_t how_many) noexcept {
    StdWriterPage& mine = parts_.writer_page();
    Word* const words[] = {&mine.refused, &mine.dropped_newest, &mine.dropped_oldest, &mine.waits};
    base::add_alone(*words[static_cast<std::size_t>(what)], how_many);
}

// Killed after the first store: both words tell of the last record. After the second: no record
// stands at `lsn_at` yet, so `lsn_before` is the last. After the third: the same, until the record
// is committed; so what a killed daemon has noted last may be of no record. Each a release, so that
// the order is the program's.
void Writer::note_lsn(std::uint64_t lsn) noexcept {
    StdWriterPage& mine = parts_.writer_page();
    const std::uint64_t before = last_lsn(parts_, tail());
    // NOTED, all three: which record stands where. Other end: last_lsn.
    mine.lsn_before.store(before, std::memory_order_release);
    mine.lsn_at.store(tail(), std::memory_order_release);
    // The highest, not the last: behind a lane that was damaged lower ones follow.
    mine.lsn.store(std::max(lsn, before), std::memory_order_release);
}

std::uint64_t last_lsn(const LaneParts& parts, std::uint64_t tail) noexcept {
    const StdWriterPage& page = parts.writer_page();
    // NOTED, all three: its writer is dead, or asks itself. Other end: Writer::note_lsn.
    const std::uint64_t at = page.lsn_at.load(std::memory_order_acquire);
    return at < tail ? page.lsn.load(std::memory_order_acquire)
                     : page.lsn_before.load(std::memory_order_acquire);
}

bool reaches_what_was_written(const LaneParts& parts, std::uint64_t tail) noexcept {
    // NOTED: the last record, or where it was to stand. HELD: what was taken.
    const std::uint64_t last = parts.writer_page().lsn_at.load(std::memory_order_acquire);
    const std::uint64_t head =
        position_in(parts.reader_page().head.load(std::memory_order_acquire));
    return last <= tail && head <= tail;
}

void Writer::close() noexcept {
    StdWriterPage& mine = parts_.writer_page();
    // relaxed: carried by the next store.
    mine.end.store(tail(), std::memory_order_relaxed);
    // CLOSED: the end. Other ends: the reader that starts a successor, the daemon that retires.
    mine.closed.store(1, std::memory_order_release);
}

}  // namespace shmbus::lane
