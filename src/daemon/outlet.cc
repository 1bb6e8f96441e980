// The daemon's lanes into one endpoint. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/outlet.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <unistd.h>

#include "base/bytes.h"
#include "daemon/step.h"
#include "lane/reader_lane.h"
#include "wire/record_end.h"

namespace shmbus::daemon {

using directory::EndpointRow;
using directory::LaneRow;
using directory::RowState;
using journal::Outcome;

namespace {

[[nodiscard]] std::uint16_t flags_of(const Outbound& message) noexcept {
    const std::uint16_t flags = wire::Meta::of(message.meta).flags;
    return static_cast<std::uint16_t>(flags | wire::has_explicit_id |
                                      (message.is_again ? wire::is_again : 0));
}

[[nodiscard]] wire::Meta meta_out(const Outbound& message) noexcept {
    wire::Meta meta = wire::Meta::of(message.meta);
    meta.flags = flags_of(message);
    meta.extension_units = static_cast<std::uint8_t>(wire::extension_bytes(meta.flags) / 16);
    return meta;
}

}  // namespace

bool parse_kept(std::span<const std::byte> kept, MessageId id, Outbound& into) {
    if (kept.size() < sizeof(into.meta)) return false;
    std::memcpy(&into.meta, kept.data(), sizeof(into.meta));
    const wire::Meta meta = wire::Meta::of(into.meta);
    const std::size_t before = meta.payload_offset() - sizeof(std::uint64_t);
    if (kept.size() != before + meta.payload_bytes || (meta.flags & wire::has_durable) == 0 ||
        !wire::read_extensions(meta, kept.data() + sizeof(into.meta), into.extensions))
        return false;
    into.payload = kept.subspan(before);
    into.id = (meta.flags & wire::has_explicit_id) != 0 ? into.extensions.id : id;
    return true;
}

Outlet::Outlet(State& state, std::uint32_t endpoint, std::uint32_t generation,
               std::uint64_t durable_lsn)
    : state_(state),
      endpoint_(endpoint),
      generation_(generation),
      inbox_(state.inboxes().open(endpoint, generation)),
      bell_(lane::name_of(inbox_.identity())) {
    std::vector<std::uint64_t> left;
    for (const LaneRow& row : state.tables().rows<LaneRow>())
        if (row.state != RowState::free && row.writer == wire::daemon_reference &&
            row.endpoint == endpoint)
            left.push_back(row.id);
    std::ranges::sort(left);  // in the order in which they were made, and follow each other
    for (const std::uint64_t id : left) take_up(id, durable_lsn);
    if (lost_a_lane_) lost_to_ = durable_lsn;
    // Its daemon may have been killed between making a successor and saying so.
    succeeds_ = lanes_.size() > 1;
    if (succeeds_ && lanes_.back().writer->tail() != 0) close_followed();
}

// Not before the last lane carries something: a lane that is closed and drained goes, and then its
// successor alone tells the next daemon what was handled.
void Outlet::close_followed() noexcept {
    for (std::size_t i = 0; i + 1 < lanes_.size(); ++i) lanes_[i].writer->close();
    succeeds_ = false;
}

namespace {

[[noreturn]] void give_up(std::uint64_t lane_id, const char* why) {
    throw SetupError{"taking up a lane out of the journal", wire::lane_file(lane_id), 0, why};
}

}  // namespace

// Everything below the room was handled. From there to the tail stands what was not; the tail is
// where no record is published. Whoever can write to the lane can have written anything: it is
// believed as a whole or not at all.
void Outlet::take_up(std::uint64_t lane_id, std::uint64_t durable_lsn) {
    try {
        const base::File file = base::File::open_at(
            state_.home().lanes().fd(), wire::lane_file(lane_id), base::Access::read_write);
        const lane::ReaderLane reader(file);
        if (reader.parts().reader_page().poisoned.load(std::memory_order_relaxed) != 0)  // a hint
            give_up(lane_id, "its reader found it damaged");
        const std::uint64_t room = lane::room<base::StdAtomics>(
            reader.parts().reader_page().head, inbox_.hands(), [&] { return inbox_.hands_used(); },
            lane_id);
        if (inbox_.lost()) give_up(lane_id, "its inbox was cut short: nobody knows who holds what");
        std::uint64_t tail = room;
        std::map<std::uint64_t, Inherited> found;
        while (reader.published(tail)) {
            const std::uint64_t word = reader.meta(tail);
            const wire::Meta meta = wire::Meta::of(word);
            wire::Extensions extensions;
            const std::uint64_t units = wire::units_of(word);
            if (units > reader.most_units() || (meta.flags & wire::has_durable) == 0 ||
                !wire::read_extensions(meta, reader.record(tail) + wire::head_bytes, extensions))
                give_up(lane_id, "a record in it is none of ours: somebody wrote over it");
            tail += units;
            found[extensions.durable.lsn] = {lanes_.size(), tail};
        }
        if (!lane::reaches_what_was_written(reader.parts(), tail))
            give_up(lane_id, "records are missing in it: somebody wrote over them");
        const std::uint64_t last = std::max(lane::last_lsn(reader.parts(), tail),
                                            found.empty() ? 0 : found.rbegin()->first);
        if (last > durable_lsn) give_up(lane_id, "it carries what the journal does not have");
        lanes_.push_back({std::make_unique<lane::Writer>(file, tail), {}, 0});
        found.merge(inherited_);  // the younger lane's, where two carry the same
        inherited_ = std::move(found);
        inherited_to_ = std::max(inherited_to_, last);
    } catch (const SetupError& error) {
        if (is_for_want_of_room(error)) throw;
        // What it held is not settled: it is written once more, from the journal, and marked.
        lost_a_lane_ = true;
        state_.log(LogLevel::error, error.what());
    }
}

// ---- writing

bool Outlet::open_lane(std::uint64_t units) {
    const std::uint64_t predecessor = lanes_.empty() ? 0 : lanes_.back().writer->lane_id();
    const std::uint64_t least = std::bit_ceil(4 * units * wire::unit_bytes);
    const EndpointRow& row = state_.tables().row<EndpointRow>(endpoint_);
    std::uint32_t made = 0;
    try {
        made = state_.make_lane({.writer = wire::daemon_reference,
                                 .uid = ::geteuid(),
                                 .endpoint = endpoint_,
                                 .predecessor = predecessor,
                                 .capacity = std::max(row.lane_bytes, least),
                                 .token = 0});
        step("lane made");
        state_.tables().commit();
        step("lane committed");
        const std::uint64_t id = state_.tables().row<LaneRow>(made).id;
        lanes_.push_back({std::make_unique<lane::Writer>(base::File::open_at(
                              state_.home().lanes().fd(), wire::lane_file(id),
                              base::Access::read_write)),
                          {},
                          0});
        succeeds_ = predecessor != 0;
        said_no_lane_ = false;
        return true;
    } catch (const std::runtime_error& error) {
        if (!said_no_lane_)
            state_.log(LogLevel::error, "no lane from the journal into endpoint '" +
                                            std::string(name_in(row)) + "': " + error.what());
        said_no_lane_ = true;
        if (made != 0) state_.retire_lane(made);  // there would be one more with each try
        return false;
    }
}

bool Outlet::has_room(std::uint64_t units) {
    // A closed one: its successor is lost.
    if (lanes_.empty() || units > lanes_.back().writer->most_units() ||
        lanes_.back().writer->lost() || lanes_.back().writer->is_closed()) {
        if (!open_lane(units)) return false;
    }
    lane::Writer& writer = *lanes_.back().writer;
    return writer.claim(units) || writer.count_room(inbox_, units);
}

// Into room that was seen; nothing is published yet.
lane::Claim Outlet::copy_in(const Outbound& message) {
    lane::Writer& writer = *lanes_.back().writer;
    const wire::Meta meta = meta_out(message);
    const std::uint64_t units = wire::units_of(meta.word());
    wire::Extensions extensions = message.extensions;
    extensions.flags = meta.flags;
    extensions.id = message.id;
    extensions.durable = {endpoint_, generation_, message.lsn};
    if (message.is_again) {
        // Of another boot: the clock has started anew, and whoever asked is gone.
        extensions.time_sent = {};
        extensions.reply_to.generation = 0;
    }
    const lane::Claim claim = writer.claim(units);
    base::check(static_cast<bool>(claim), "room for a record was seen before it is written");
    std::byte* at = claim.record + wire::head_bytes;
    wire::write_extensions(extensions, at);
    at += wire::extension_bytes(meta.flags);
    base::copy_in_pieces(at, message.payload.data(), message.payload.size());
    wire::close_end(claim.record, wire::head_bytes + wire::extension_bytes(meta.flags) +
                                      message.payload.size());
    return claim;
}

void Outlet::publish(const lane::Claim& claim, const Outbound& message) {
    lane::Writer& writer = *lanes_.back().writer;
    const wire::Meta meta = meta_out(message);
    step("written");
    writer.note_lsn(message.lsn);
    step("noted");
    writer.commit(claim, meta.word(), lane::messages_in_record(claim.record, meta.word()));
    step("published");
    lanes_.back().carried.push_back({writer.tail(), message.lsn});
    rings_ = true;
    if (succeeds_) close_followed();
}

bool Outlet::pass_on(journal::Journal& journal, const Outbound& message) {
    const std::uint64_t units = wire::units_of(meta_out(message).word());
    if (behind_ || holds_ || !has_room(units)) {
        behind_ = true;
        return false;
    }
    const lane::Claim claim = copy_in(message);
    // Where the sender's lane was cut short there were zeros instead: the journal has the bytes.
    if ((message.source != nullptr && message.source->lost()) ||
        !journal.hand_out(number(), message.lsn)) {
        wire::abandon_record(claim.record, units);
        behind_ = true;
        return false;
    }
    publish(claim, message);
    return true;
}

// True when this message is in a lane already, or was handled there.
bool Outlet::inherit(std::uint64_t lsn) {
    if (lsn > inherited_to_) return false;
    const auto found = inherited_.find(lsn);
    if (found == inherited_.end()) {
        // Where a lane was lost nobody knows what stood in it.
        if (lost_a_lane_) return false;
        handled_.push_back(lsn);
        return true;
    }
    lanes_[found->second.lane].carried.push_back({found->second.end, lsn});
    inherited_.erase(found);
    return true;
}

bool Outlet::fill(journal::Journal& journal) {
    if (!behind_) return false;
    bool wrote = false;
    // Ends: with the lane's room, or with what the journal has.
    for (;;) {
        if (!holds_) {
            journal::Delivery delivery;
            const journal::Next next = journal.next(number(), delivery);
            if (next != journal::Next::message) {
                behind_ = next != journal::Next::nothing;
                return wrote;
            }
            if (inherit(delivery.lsn)) continue;
            held_.assign(delivery.payload.begin(), delivery.payload.end());
            held_message_ = {};
            held_message_.lsn = delivery.lsn;
            held_message_.is_again = delivery.lsn <= state_.tables().again_to() ||
                                     delivery.lsn <= lost_to_;
            if (!parse_kept(held_, delivery.id, held_message_)) {
                state_.log(LogLevel::error, "record " + std::to_string(delivery.lsn) +
                                                " of the journal is none that this version "
                                                "understands; it stays there");
                continue;
            }
            holds_ = true;
        }
        if (!has_room(wire::units_of(meta_out(held_message_).word()))) return wrote;
        publish(copy_in(held_message_), held_message_);
        holds_ = false;
        wrote = true;
    }
}

void Outlet::ring() noexcept {
    if (!rings_) return;
    rings_ = false;
    lane::ring(inbox_.doorbell(), true, &bell_);
}

// An earlier daemon's figure stands until this one has found out.
void Outlet::tell_on_disk(const journal::Journal& journal) {
    std::uint64_t beside = inherited_.size() + handled_.size() + settled_open_;
    for (const Lane& lane : lanes_) beside += lane.carried.size();
    const std::uint64_t waiting = behind_ || holds_ ? journal.backlog(number()) : 0;
    const std::uint64_t on_disk = waiting - std::min(waiting, beside);
    if (on_disk == told_on_disk_) return;
    auto* const inbox = state_.inboxes().admin_if_sound(endpoint_, generation_);
    if (inbox == nullptr) return;
    inbox->tell_on_disk(on_disk);
    told_on_disk_ = on_disk;
}

// ---- settling

void Outlet::look() {
    handled_seen_ = handled_.size();
    for (Lane& lane : lanes_) {
        if (lane.carried.empty()) continue;
        static_cast<void>(lane.writer->count_room(inbox_, 0));
        // Asked behind the room: a reader that finds a record damaged says so, and then gives the
        // room back without having handled it.
        if (!lane.writer->lost()) lane.done = lane.writer->known_done();
    }
}

// False: the open batch takes no more, and this one stays where it is.
bool Outlet::settle_one(journal::Journal& journal, const Causes& causes, std::uint64_t lsn,
                        std::size_t& settled) {
    const Outcome outcome =
        causes.contain(endpoint_, lsn) ? Outcome::too_large : journal.settle(number(), lsn);
    if (outcome == Outcome::ok) {
        ++settled;
        ++settled_open_;
        return true;
    }
    // Alone among many that are not settled, it would be a range too many: those come first.
    if (outcome != Outcome::too_large) return false;
    handled_.push_back(lsn);  // behind what was seen: for after the next look
    return true;
}

std::size_t Outlet::settle(journal::Journal& journal, const Causes& causes) {
    std::size_t settled = 0;
    // What the open batch does not take now stays for the next one.
    for (; handled_seen_ != 0; handled_.pop_front(), --handled_seen_)
        if (!settle_one(journal, causes, handled_.front(), settled)) return settled;
    for (Lane& lane : lanes_)
        for (; !lane.carried.empty() && lane.carried.front().end <= lane.done;
             lane.carried.pop_front())
            if (!settle_one(journal, causes, lane.carried.front().lsn, settled)) return settled;
    while (!succeeds_ && lanes_.size() > 1 && lanes_.front().carried.empty() && inherited_.empty())
        lanes_.pop_front();
    if (settled != 0) step("settled");
    return settled;
}

bool Outlet::has_lost_some() const noexcept {
    return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) {
        return !lane.carried.empty() && (lane.writer->lost() || lane.writer->is_scribbled());
    });
}

bool Outlet::may_forget(std::uint64_t lane_id) const noexcept {
    // Nobody would know any more that what is not settled yet was handled.
    if (behind_ || !handled_.empty()) return false;
    return std::none_of(lanes_.begin(), lanes_.end(), [&](const Lane& lane) {
        // A lost one may not know its name any more.
        return !lane.carried.empty() &&
               (lane.writer->lane_id() == lane_id || lane.writer->lost());
    });
}

bool Outlet::has_unsettled() const noexcept {
    return !handled_.empty() ||
           std::any_of(lanes_.begin(), lanes_.end(),
                       [](const Lane& lane) { return !lane.carried.empty(); });
}

}  // namespace shmbus::daemon
