// The way of nearly all messages through a batch. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/fast_path.h"

#include <algorithm>
#include <cstring>

#include "base/clock.h"

namespace shmbus::detail {

namespace {

// What the cursor says behind a place: its message is begun.
constexpr std::uint64_t begun_mark = lane::cursor_word(0, {0, 0, 1});
static_assert(Place::at(7, 9).word() == lane::cursor_word(7, {9, 0, 0}));

// relaxed: only the holder of the hand writes its cursor; an adopter reads it after the kernel has
// proved that the holder is gone.
template <class Word>
[[gnu::always_inline]] inline void note(Word& cursor, std::uint64_t word) noexcept {
    cursor.store(word, std::memory_order_relaxed);
}

}  // namespace

// The attempt failed: Attempt::go_on makes the next one, keeps the message or gives it up. Returns
// its place.
Place FastPath::fail(lane::Batch& batch, std::string_view why) noexcept {
    const std::uint8_t failures = delivery_.daemon_missed() ? 0 : 1;
    attempt_.complaint.say(why);
    const Place place = delivery_.in_hand().place;
    if (failures != 0)
        attempt_.count(attempt_.tallies.threw, lane::Counter::threw, batch.entry(place.record()));
    delivery_.drop();
    batch.set(place.record(), {static_cast<std::uint16_t>(place.item()), failures, 0});
    return place;
}

// Handles the message at `place`. False: it has to go the other way.
[[gnu::always_inline]] inline bool FastPath::handle_one(lane::Batch& batch, Place place,
                                                        std::span<const std::byte> payload,
                                                        Call call, void* callable) {
    // Done up to here and this one begun: one store.
    note(batch.hand->cursor, place.word() | begun_mark);
    delivery_.aim_next(place);
    const FailureReason reason = call(callable, payload, delivery_.context());
    if (delivery_.has_outputs()) [[unlikely]] delivery_.flush_or_throw();
    // Attempt finds the same and gives it up.
    return reason == FailureReason::none;
}

// Handles `count` messages from `place` on, each `step` bytes and the distance `each` behind the
// one before. Returns the place where it ended: an earlier one when that has to go the other way.
[[gnu::always_inline]] inline Place FastPath::handle_each(lane::Batch& batch, Place place,
                                                          Place each, std::size_t count,
                                                          const std::byte* payload,
                                                          std::size_t step,
                                                          const Dispatcher::Quick& quick) {
    // Copies: handlers may change handlers.
    const Call call = quick.call;
    void* const callable = quick.callable;
    const std::size_t bytes = quick.bytes;
    for (; count != 0; --count) {
        if (!handle_one(batch, place, {payload, bytes}, call, callable)) [[unlikely]] break;
        payload += step;
        place = place.plus(each);
    }
    note(batch.hand->cursor, place.word());
    return place;
}

// The same in one call, as long as they send nothing.
[[gnu::always_inline]] inline Place FastPath::handle_run(lane::Batch& batch, Place place,
                                                         Place each, std::size_t count,
                                                         const std::byte* payload,
                                                         std::size_t step,
                                                         const Dispatcher::Quick& quick) {
    if (count == 1 || quick.call_run == nullptr)
        return handle_each(batch, place, each, count, payload, step, quick);
    // A copy: handlers may change handlers.
    const Dispatcher::Quick known = quick;
    const std::uint64_t end = place.word() + each.word() * count;
    MessageRun run;
    run.payload = payload;
    run.bytes = known.bytes;
    run.step = step;
    run.place = place.word();
    run.each = each.word();
    run.begun = begun_mark;
    run.cursor = &batch.hand->cursor.standard();
    delivery_.follow(run, end);
    const FailureReason reason = known.call_run(known.callable, run, delivery_.context());
    if (delivery_.has_outputs()) [[unlikely]] delivery_.flush_or_throw();
    const Place reached = Place::of(run.place);
    if (run.place == end || reason != FailureReason::none) [[likely]] {
        note(batch.hand->cursor, run.place);
        return reached;
    }
    // Those behind one that has sent something most likely do so too.
    const std::size_t left = (end - run.place) / each.word();
    return handle_each(batch, reached, each, left, run.payload, step, known);
}

// The same, the first of them timed.
[[gnu::noinline, gnu::cold]] Place FastPath::handle_sampled(lane::Batch& batch, Place place,
                                                            Place each, std::size_t count,
                                                            const std::byte* payload,
                                                            std::size_t step,
                                                            Dispatcher::Quick quick) {
    const std::uint64_t begin = base::ticks();
    const Place reached = handle_each(batch, place, each, 1, payload, step, quick);
    if (reached == place) return place;
    const std::uint64_t spent = base::ticks() - begin;
    attempt_.sampler.took(attempt_.meter, {quick.counted, batch.lane->lane_id()}, spent);
    if (count == 1) return reached;
    return handle_run(batch, reached, each, count - 1, payload + step, step, quick);
}

// Out of line: the loop gets all registers.
[[gnu::noinline]] Place FastPath::handle_timed(lane::Batch& batch, Place place, Place each,
                                               std::size_t count, const std::byte* payload,
                                               std::size_t step,
                                               const Dispatcher::Quick& quick) {
    if (attempt_.sampler.is_due(count)) [[unlikely]]
        return handle_sampled(batch, place, each, count, payload, step, quick);
    return handle_run(batch, place, each, count, payload, step, quick);
}

// Counts `handled` messages of one type. The word outlives what a handler does to the handlers.
[[gnu::always_inline]] inline void FastPath::count(Meter::Word* counted,
                                                   std::size_t handled) noexcept {
    attempt_.tallies.handled.add(handled);
    if (handled != 0) attempt_.meter.add(*counted, handled);
}

FastPath::Reached FastPath::handle_packed(lane::Batch& batch, Place from, std::size_t limit,
                                          const Dispatcher::Quick* quick) {
    Attempt::Items items;
    // A packed record's progress is a number of its own; a stranger's may be anything.
    if (quick == nullptr || (batch.entry(from.record()).meta >> 52 & wire::is_packed) == 0 ||
        !attempt_.find_items({&batch, from.record(), batch.lane->lane_id(), false}, items) ||
        items.bytes != quick->bytes || from.item() >= items.count)
        return {from, false};
    const std::size_t count = std::min<std::size_t>(items.count - from.item(), limit);
    const Place reached =
        handle_timed(batch, from, Place::at(0, 1), count,
                     items.first + items.bytes * from.item(), items.bytes, *quick);
    return {reached, reached.item() == items.count};
}

// Records that tell when they were sent, one in a thousand as a rule.
[[gnu::noinline]] FastPath::Reached FastPath::handle_told(lane::Batch& batch, Place from,
                                                          const Dispatcher::Plain& plain) {
    const std::byte* const record = batch.entry(from.record()).record;
    const std::byte* const payload = record + plain.payload_offset;
    wire::TimeSent sent{};
    std::memcpy(&sent, record + plain.time_sent_at, sizeof(sent));
    // A copy: handlers may change handlers.
    const Meter::Origin origin{plain.handler.counted, batch.lane->lane_id()};
    const std::uint64_t begin_ns = base::now_ns();
    const Place reached =
        handle_timed(batch, from, Place::at(1, 0), 1, payload, 0, plain.handler);
    if (reached == from) return {reached, false};
    attempt_.meter.handled_since(origin, static_cast<std::uint64_t>(sent.monotonic_ns), begin_ns,
                                 base::now_ns());
    return {reached, true};
}

[[gnu::always_inline]] inline FastPath::Reached FastPath::handle_plain(
    lane::Batch& batch, Place from, std::size_t limit, const Dispatcher::Plain& plain) {
    if (plain.time_sent_at != 0 && attempt_.meter.is_on()) [[unlikely]]
        return handle_told(batch, from, plain);
    const std::byte* const payload = batch.entry(from.record()).record + plain.payload_offset;
    const std::size_t alike = batch.units_each != 0 ? batch.count - from.record() : 1;
    const std::size_t count = std::min(alike, limit);
    const Place reached =
        handle_timed(batch, from, Place::at(1, 0), count, payload,
                     std::size_t{batch.units_each} * wire::unit_bytes, plain.handler);
    return {reached, reached.record() - from.record() == count};
}

bool FastPath::handle_single(lane::Batch& batch) {
    const Dispatcher::Plain* const plain = dispatcher_.plain(batch.first.meta);
    if (plain == nullptr) [[unlikely]] return false;
    Meter::Word* const counted = plain->handler.counted;
    delivery_.aim_at(batch);
    Place reached;
    try {
        constexpr Place first = Place::at(0, 0);
        constexpr Place each = Place::at(1, 0);
        const std::byte* const payload = batch.first.record + plain->payload_offset;
        if (plain->time_sent_at != 0 && attempt_.meter.is_on()) [[unlikely]]
            reached = handle_told(batch, first, *plain).place;
        else if (attempt_.sampler.is_due(1)) [[unlikely]]
            reached = handle_sampled(batch, first, each, 1, payload, 0, plain->handler);
        else reached = handle_each(batch, first, each, 1, payload, 0, plain->handler);
    } catch (const std::exception& error) {
        fail(batch, error.what());
    } catch (...) {
        fail(batch, "an exception that is no std::exception");
    }
    if (reached.record() == 0) [[unlikely]] return false;
    count(counted, 1);
    return true;
}

std::size_t FastPath::handle(lane::Batch& batch, std::uint32_t& next, std::size_t limit) {
    delivery_.aim_at(batch);
    std::size_t handled = 0;
    // Ends: each turn handles something or breaks.
    while (next < batch.count && handled < limit) {
        const std::uint64_t meta = batch.entry(next).meta;
        const Dispatcher::Plain* const plain = dispatcher_.plain(meta);
        const Dispatcher::Quick* const quick =
            plain != nullptr ? &plain->handler
                             : dispatcher_.quick(static_cast<std::uint16_t>(meta >> 32));
        Meter::Word* const counted = quick != nullptr ? quick->counted : nullptr;
        const Place from =
            Place::at(next, plain != nullptr ? std::uint16_t{0} : batch.progress(next).done);
        Reached reached;
        try {
            reached = plain != nullptr ? handle_plain(batch, from, limit - handled, *plain)
                                       : handle_packed(batch, from, limit - handled, quick);
        } catch (const std::exception& error) {
            reached.place = fail(batch, error.what());
        } catch (...) {
            reached.place = fail(batch, "an exception that is no std::exception");
        }
        // Of the one kind the record moves on, of the other the item in it.
        next = reached.place.record();
        const std::size_t done =
            (next - from.record()) + (reached.place.item() - from.item());
        count(counted, done);
        handled += done;
        if (!reached.goes_on) break;
        if (plain == nullptr) ++next;
    }
    return handled;
}

}  // namespace shmbus::detail
