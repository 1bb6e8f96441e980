// The way of nearly all messages through a batch. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/fast_path.h"

#include <algorithm>

namespace shmbus::detail {

namespace {

// relaxed, in all of this file: only the holder of the hand writes its progress; an adopter reads
// it after the kernel has proved that the holder is gone.
template <class Word>
[[gnu::always_inline]] inline void note(Word& progress, std::uint32_t done,
                                        std::uint8_t starts) noexcept {
    progress.store(lane::Progress{static_cast<std::uint16_t>(done), 0, starts}.word(),
                   std::memory_order_relaxed);
}

}  // namespace

// The attempt failed: Attempt::go_on makes the next one, keeps the message or gives it up. Returns
// how many of the run were handled before.
std::size_t FastPath::fail(const Run& run, std::string_view why) noexcept {
    const std::uint8_t failures = delivery_.daemon_missed() ? 0 : 1;
    attempt_.complaint.say(why);
    attempt_.tallies.threw.add(failures);
    delivery_.drop();
    const Place place = delivery_.in_hand().place;
    run.batch->set(place.record(), {static_cast<std::uint16_t>(place.item()), failures, 0});
    return run.is_packed ? place.item() - run.from.item() : place.record() - run.from.record();
}

// One message. False: the handler was not called; Attempt finds the same and gives it up.
[[gnu::always_inline]] inline bool FastPath::call(Delivery& delivery,
                                                  const Dispatcher::Quick& quick,
                                                  const std::byte* payload, Place place) {
    delivery.aim_next(place);
    const FailureReason reason =
        quick.call(quick.callable, {payload, quick.bytes}, delivery.context());
    if (delivery.has_outputs()) [[unlikely]] delivery.flush_or_throw();
    return reason == FailureReason::none;
}

std::size_t FastPath::handle_plain(const Run& run) {
    Delivery& delivery = delivery_;
    const Dispatcher::Quick quick = run.quick;
    const std::size_t step = run.step;
    const std::size_t ahead = run.batch->stride;
    const std::byte* payload = run.payload;
    auto* progress = &run.batch->hand->progress[run.from.record()];
    Place place = run.from;
    // Ends: a run is not empty, and `count` records long.
    for (auto* const end = progress + run.count; progress != end; ++progress) {
        // The record that stands in this one's place in the next batch: its line travels while
        // handlers run. Worth half as much throughput again between distant cores.
        __builtin_prefetch(payload + ahead, 0, 2);
        note(*progress, 0, 1);
        if (!call(delivery, quick, payload, place)) [[unlikely]] {
            note(*progress, 0, 0);
            return place.record() - run.from.record();
        }
        note(*progress, 1, 0);
        payload += step;
        place = place.next_record();
    }
    return run.count;
}

std::size_t FastPath::handle_packed(const Run& run) {
    Delivery& delivery = delivery_;
    const Dispatcher::Quick quick = run.quick;
    auto& progress = run.batch->hand->progress[run.from.record()];
    const std::byte* payload = run.payload;
    Place place = run.from;
    std::size_t handled = 0;
    for (; handled != run.count; ++handled) {
        // Done up to here and this one begun: one store for each.
        note(progress, place.item(), 1);
        if (!call(delivery, quick, payload, place)) [[unlikely]] break;
        payload += quick.bytes;
        place = place.next_item();
    }
    note(progress, place.item(), 0);
    return handled;
}

bool FastPath::find_packed(std::size_t limit, Run& run) {
    Attempt::Items items;
    const Record record{run.batch, run.from.record(), run.batch->lane->lane_id(), false};
    if (!attempt_.find_items(record, items) || items.bytes != run.quick.bytes) return false;
    // A packed record's progress is a number of its own; a stranger's may be anything.
    if (run.from.item() >= items.count) return false;
    run.is_packed = true;
    run.payload = items.first + items.bytes * run.from.item();
    run.left = items.count - run.from.item();
    run.count = std::min(run.left, limit);
    return true;
}

bool FastPath::find_run(std::size_t limit, Run& run) {
    const lane::Entry entry = run.batch->entry(run.from.record());
    const Dispatcher::Quick* quick =
        dispatcher_.quick(static_cast<std::uint16_t>(entry.meta >> 32));
    if (quick == nullptr || !extensions_fit(entry.meta)) [[unlikely]] return false;
    run.quick = *quick;
    if ((entry.meta >> 52 & wire::is_packed) != 0) [[unlikely]] return find_packed(limit, run);
    if (quick->bytes != static_cast<std::uint32_t>(entry.meta)) [[unlikely]] return false;
    run.is_packed = false;
    run.payload = entry.record + wire::Meta::of(entry.meta).payload_offset();
    run.step = std::size_t{run.batch->units_each} * wire::unit_bytes;
    const std::size_t left = run.batch->count - run.from.record();
    run.count = std::min<std::size_t>(limit, run.batch->units_each != 0 ? left : 1);
    return true;
}

std::size_t FastPath::handle(lane::Batch& batch, std::uint32_t& next, std::size_t limit) {
    delivery_.aim_at(batch);
    Run run;
    run.batch = &batch;
    std::size_t handled = 0;
    // Ends: each turn handles something or breaks.
    while (next < batch.count && handled < limit) {
        run.from = Place::at(next, batch.progress(next).done);
        if (!find_run(limit - handled, run)) break;
        std::size_t now = 0;
        try {
            now = run.is_packed ? handle_packed(run) : handle_plain(run);
        } catch (const std::exception& error) {
            now = fail(run, error.what());
        } catch (...) {
            now = fail(run, "an exception that is no std::exception");
        }
        handled += now;
        if (!run.is_packed) next += static_cast<std::uint32_t>(now);
        else if (now == run.left) ++next;
        if (now != run.count) break;
    }
    attempt_.tallies.handled.add(handled);
    return handled;
}

}  // namespace shmbus::detail
