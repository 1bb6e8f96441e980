// The writing side of a lane, its slow half. See the header.
#include "lane/writer.h"

#include "base/parking.h"
#include "lane/inbox_file.h"

namespace shmbus::lane {

Writer::Writer(const base::File& file)
    : parts_(file, LaneParts::Side::writer),
      data_(parts_.data()),
      mask_(parts_.identity().capacity - 1),
      salt_(parts_.identity().salt),
      limit_(parts_.identity().capacity / wire::unit_bytes),
      capacity_units_(limit_) {}

bool Writer::look_for_room(std::uint64_t units) noexcept {
    // ROOM: nobody reads below any more. Other end: give_room.
    believe(parts_.reader_page().reclaim.load(std::memory_order_acquire));
    return tail() + units <= limit_ && tail() < wire::last_position;
}

bool Writer::count_room(const InboxView& inbox, std::uint64_t units) noexcept {
    believe(room<base::StdAtomics>(
        parts_.reader_page().head, inbox.hands(), [&] { return inbox.hands_used(); },
        lane_id()));
    return tail() + units <= limit_ && tail() < wire::last_position;
}

void Writer::wait_for_room(const InboxView& inbox, std::uint64_t units,
                           std::chrono::nanoseconds limit) noexcept {
    StdWriterPage& mine = parts_.writer_page();
    const auto& bell = parts_.reader_page().room_bell;
    // relaxed: the kernel compares it again.
    const std::uint32_t rung = bell.load(std::memory_order_relaxed);
    // seq_cst, against the seq_cst exchange in clear and the seq_cst look at this word behind it:
    // either the reader that clears sees the wish, or the count below sees the cleared hand.
    mine.wants_room.store(1, std::memory_order_seq_cst);
    if (!look_for_room(units) && !count_room(inbox, units))
        base::wait(base::watch(bell, rung), limit);
    // relaxed: a reader that still sees the wish rings once for nothing.
    mine.wants_room.store(0, std::memory_order_relaxed);
}

void Writer::close() noexcept {
    StdWriterPage& mine = parts_.writer_page();
    // relaxed: carried by the next store.
    mine.end.store(tail(), std::memory_order_relaxed);
    // CLOSED: the end. Other ends: the reader that starts a successor, the daemon that retires.
    mine.closed.store(1, std::memory_order_release);
}

}  // namespace shmbus::lane
