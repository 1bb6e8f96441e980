// Waiting for room in a lane: how long, for whom, and where to go on when it is held back.
//
// Used by the sending thread when its lane is full, which is the slow half of a send.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/outbound.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "bus/bus_core.h"
#include "bus/refusal.h"

namespace shmbus::detail {

using namespace std::chrono_literals;

namespace {

// Looks at a full lane before its writer sleeps, of 16 pauses each: some 20 to 100 us.
constexpr int spins_before_count = 128;
// So often a waiting writer looks around: for room that nobody rang for, and whether whom it waits
// for is still there.
constexpr std::chrono::nanoseconds longest_wait = 1ms;
// Messages that were all taken, and room that was held back for this long: the holder is stopped
// or very slow, and others could go on.
constexpr std::chrono::nanoseconds stopped_after = 50ms;
constexpr std::size_t most_successors = 4;
// A lane that has carried this part of its size is busy: it gets a successor ahead of need.
constexpr std::uint64_t busy_part = 16;
// Between two requests for a successor.
constexpr std::uint64_t ask_every_ns = 100'000'000;

}  // namespace

Patience Outbound::patience_of(WhenFull when_full, std::chrono::nanoseconds wait) {
    return {.wait = when_full == WhenFull::wait ? wait : 0ns};
}

// Everything was taken, yet a consumer that does not move holds room back.
bool Outbound::is_held_back(const Target& target) const {
    const lane::Writer& writer = *target.writer;
    // HELD, a hint: it only grows.
    const std::uint64_t taken = lane::position_in(
        writer.parts().reader_page().head.load(std::memory_order_acquire));
    if (taken != writer.tail()) return false;
    const lane::Holder holder = lane::oldest_holder(writer, target.inbox->view);
    return holder.participant != 0 && core_.age_of(holder.since_ticks) >= stopped_after;
}

Error Outbound::full(const Target& target) const {
    const lane::Holder holder = lane::oldest_holder(*target.writer, target.inbox->view);
    Refusal& details = fresh_refusal();
    details.endpoint = target.inbox->name;
    if (target.receipts != nullptr) details.reason = core_.why_journal_waits();
    details.message = wire::id_at(target.writer->lane_id(), holder.position, 0);
    if (holder.participant != 0) {
        if (const auto who = core_.directory().participant(wire::Reference{holder.participant}))
            details.holder_pid = static_cast<std::int64_t>(who->row.pid);
        details.since = core_.age_of(holder.since_ticks);
    }
    if (!target.why_none.empty() && is_held_back(target))
        details.reason = "it holds back all the room, and shmbusd could not be had to open another "
                         "lane: " + target.why_none;
    return Error(ErrorCode::full, &details);
}

// While no daemon answers this costs a sender its short wait now and then, and no more than that.
void Outbound::ask_for_successor(Target& target, bool is_needed) {
    const std::uint64_t now = base::now_ns();
    if (now - target.asked_ns < ask_every_ns) return;
    target.asked_ns = now;
    target.why_none.clear();
    const std::uint64_t capacity = target.writer->parts().identity().capacity;
    const auto there = core_.directory().endpoint(target.endpoint);
    // A private endpoint has one reader, so nobody could go on behind it.
    target.is_private = there && directory::is_private(there->row.kind);
    if (!there || target.is_private || target.before.size() >= most_successors ||
        (!is_needed && !core_.has_memory_to_spare(capacity)))
        return;
    Result<base::File> lane = core_.open_successor(target.endpoint, target.generation,
                                                   target.writer->lane_id(), capacity);
    if (lane) target.successor = std::move(*lane);
    else if (const Refusal* details = lane.error().details()) target.why_none = details->reason;
}

// The rest of the messages goes through a new lane, which is read when this one is drained.
bool Outbound::go_on_in_successor(Target& target, std::uint64_t units) {
    const bool worn_out = target.writer->tail() + units >= wire::last_position;
    if (!worn_out && !is_held_back(target)) return false;
    std::erase_if(target.before, [&](const auto& old) {
        return lane::oldest_holder(*old, target.inbox->view).position >= old->tail();
    });
    if (!target.successor) ask_for_successor(target, true);
    if (!target.successor) return false;
    try {
        {
            const std::lock_guard lock(counting_);
            settle_grants(target);
            target.writer = nullptr;
        }
        forget_quick_routes(target);
        std::unique_ptr<lane::Writer> old = std::move(target.current);
        // The daemon sees it closed, at once or when it is back.
        old->close();
        target.before.push_back(std::move(old));
        adopt_lane(target, std::move(target.successor), target.inbox);
        core_.log(LogLevel::warning, "a stopped consumer holds back a lane into endpoint " +
                                         std::string(target.inbox->name) +
                                         "; going on in a new one");
        return true;
    } catch (const std::exception& error) {
        core_.log(LogLevel::error, error.what());
        abandon(target);
        return false;
    }
}

// Whether somebody is there for what is waited for. When in doubt, yes.
bool Outbound::is_wanted(const Target& target, std::uint16_t event) const {
    const auto there = core_.directory().endpoint(target.endpoint);
    if (!there || there->row.generation != target.generation) return core_.directory().lost();
    if (event == 0) return true;
    std::vector<directory::Subscriber> subscribers;
    std::uint64_t version = 0;
    if (!core_.directory().subscribers(event, subscribers, version)) return true;
    return std::any_of(subscribers.begin(), subscribers.end(), [&](const auto& one) {
        return one.endpoint == target.endpoint && one.endpoint_generation == target.generation;
    });
}

Result<void> Outbound::make_room(Target& target, std::uint64_t units, Patience patience) {
    if (target.has_loan) return Error(ErrorCode::would_block);
    const auto fits = [&] { return static_cast<bool>(target.writer->claim(units)); };
    const std::uint64_t units_there = target.writer->most_units() * 4;
    if (!target.successor && !target.is_private &&
        target.writer->tail() * busy_part >= units_there)
        ask_for_successor(target, false);
    int spins = patience.wait > 0ns ? spins_before_count : 0;
    // 0: not yet. Who finds room at once has not looked at the clock.
    std::uint64_t deadline = patience.deadline_ns;
    std::uint64_t looked_at = 0;  // version of the directory
    bool has_waited = false;
    for (;;) {
        if (target.writer->lost() || target.writer->is_scribbled() || target.inbox->view.lost()) {
            Refusal& details = fresh_refusal();
            details.endpoint = target.inbox->name;
            if (target.inbox->view.lost())
                details.reason = "the file of its inbox was cut short, nobody takes from it";
            abandon(target);
            return Error(ErrorCode::lane_lost, &details);
        }
        if (fits()) return {};
        if (deadline == 0) deadline = base::deadline_in(patience.wait);
        // The readers give room back a quarter of the lane at a time. To count it ourselves means
        // to read their hands, which slows them down: first wait for them.
        for (; spins > 0; --spins) {
            for (int pause = 0; pause < 16; ++pause) base::cpu_relax();
            if (fits()) return {};
        }
        if (target.writer->count_room(target.inbox->view, units)) return {};
        if (go_on_in_successor(target, units)) continue;
        if (target.writer == nullptr) return Error(ErrorCode::lane_lost);
        if (patience.stop != nullptr && patience.stop->stop_requested())
            return Error(ErrorCode::stopped);
        const std::uint64_t now = base::now_ns();
        if (now >= deadline) {
            target.writer->note(lane::Writer::Account::refused);
            return full(target);
        }
        if (const std::uint64_t version = directory_version(); version != looked_at) {
            looked_at = version;
            if (!is_wanted(target, patience.event))
                return refuse(ErrorCode::no_endpoint, target.inbox->name);
        }
        const std::chrono::nanoseconds left(deadline - now);
        if (!std::exchange(has_waited, true)) target.writer->note(lane::Writer::Account::waits);
        target.writer->wait_for_room(target.inbox->view, units, std::min(left, longest_wait));
        core_.session().tend();
    }
}

std::uint64_t Outbound::drop_oldest(Target& target, std::uint64_t units) {
    std::uint64_t went = 0;
    try {
        if (!target.dropper) {
            const BusFolder& folder = core_.session().folder();
            target.dropper = std::make_unique<lane::Dropper>(
                base::File::open_at(folder.lanes().fd(),
                                    wire::lane_file(target.writer->lane_id()),
                                    base::Access::read_write),
                target.inbox->file);
        }
    } catch (const std::exception& error) {
        core_.log(LogLevel::error, error.what());
        return 0;
    }
    const std::uint64_t capacity = target.writer->capacity_units();
    if (units > capacity) return 0;
    const std::uint64_t end = target.writer->tail() + units;
    // Ends: each turn takes a record that nobody had taken, of which a lane has a bounded number.
    while (!target.writer->claim(units) &&
           !target.writer->count_room(target.inbox->view, units)) {
        const lane::Holder oldest = lane::oldest_holder(*target.writer, target.inbox->view);
        // What a consumer holds below keeps the room, whatever goes behind it.
        if (oldest.since_ticks != 0 && oldest.position + capacity < end) break;
        const std::uint64_t gone = target.dropper->drop_one(*target.writer);
        if (gone == 0) break;
        went += gone;
    }
    return went;
}

}  // namespace shmbus::detail
