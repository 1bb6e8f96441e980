// Clears away after participants that are gone.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/reaper.h"

#include <algorithm>
#include <vector>

#include <shmbus/result.h>

#include "base/clock.h"

namespace shmbus::daemon {

using directory::EndpointKind;
using directory::EndpointRow;
using directory::LaneRow;
using directory::ParticipantRow;
using directory::PublicationRow;
using directory::RowState;

namespace {

// How long a process that was registering when the daemon was restarted has to come back. Not a
// proof of anything: what has not taken its page cannot hold a message.
constexpr std::uint64_t registering_ns = 10'000'000'000;

}  // namespace

Reaper::Reaper(State& state) : state_(state), started_ns_(base::now_ns()) {
    for (std::uint32_t index = 1; index < participants_used(); ++index)
        inherited_.insert(live_reference(index));
}

std::uint32_t Reaper::participants_used() const noexcept {
    return state_.tables().used<ParticipantRow>();
}

wire::Reference Reaper::live_reference(std::uint32_t index) const noexcept {
    const ParticipantRow& row = state_.tables().row<ParticipantRow>(index);
    return row.state == RowState::live ? wire::make_reference(index, row.generation) : 0;
}

bool Reaper::is_leaving(std::uint32_t index) const noexcept {
    return state_.tables().row<ParticipantRow>(index).state == RowState::leaving;
}

// Null when the page is missing or damaged: then there is nobody to be seen alive.
base::Witness* Reaper::witness(wire::Reference participant, bool& is_hindered) {
    const std::uint32_t index = wire::index_of(participant);
    const auto known = witnesses_.find(index);
    if (known != witnesses_.end() && known->second.reference == participant)
        return &known->second.witness;
    if (known != witnesses_.end()) witnesses_.erase(known);
    try {
        const auto [made, inserted] = witnesses_.emplace(
            index, Watched{participant, base::Witness(state_.home().participants().fd(),
                                                      wire::numbered_file(participant),
                                                      wire::life_mark_at)});
        return &made->second.witness;
    } catch (const SetupError& error) {
        is_hindered = is_for_want_of_room(error);
        complain(LogLevel::warning, error);
        return nullptr;
    }
}

bool Reaper::is_gone(wire::Reference participant, bool is_connected) {
    bool is_hindered = false;
    const base::Witness* mark = witness(participant, is_hindered);
    if (is_hindered) return false;
    const bool may_be_registering =
        inherited_.contains(participant) && base::now_ns() - started_ns_ < registering_ns;
    if (!mark) return !is_connected;
    if (mark->has_left()) return true;
    if (!mark->is_ready()) return !is_connected && !may_be_registering;
    return mark->proved_dead();
}

void Reaper::begin_leaving(std::uint32_t index) {
    auto& tables = state_.tables();
    const ParticipantRow& row = tables.row<ParticipantRow>(index);
    const wire::Reference reference = wire::make_reference(index, row.generation);
    bool is_hindered = false;
    const base::Witness* mark = witness(reference, is_hindered);
    const std::string said = "participant " + wire::numbered_file(reference) + " '" +
                             std::string(name_in(row)) + "' (process " +
                             std::to_string(row.host_pid) + ") " +
                             (mark && mark->has_left() ? "has left" : "is dead");
    const auto publications =
        tables.rows_that<PublicationRow>([&](const PublicationRow& publication) {
            return publication.state != RowState::free && publication.participant == reference;
        });
    std::vector<lane::InboxAdmin*> beside;
    for (std::uint32_t at = 1; at < tables.used<EndpointRow>(); ++at) {
        const EndpointRow& endpoint = tables.row<EndpointRow>(at);
        if (endpoint.state == RowState::free) continue;
        auto* inbox = state_.inboxes().admin_if_sound(at, endpoint.generation);
        if (inbox && !inbox->consumers_of(reference).empty()) beside.push_back(inbox);
    }
    tables.make_room_for(1 + publications.size());
    // Takes no memory from here on: a row that says leaving is not looked at again.
    tables.change<ParticipantRow>(index).state = RowState::leaving;
    for (const std::uint32_t at : publications) tables.clear<PublicationRow>(at);
    tables.commit();
    // Whoever sleeps beside it looks around: what it held is to be adopted.
    for (lane::InboxAdmin* const inbox : beside) inbox->ring_all();
    state_.log(LogLevel::info, said);
}

void Reaper::clear_away() {
    auto& tables = state_.tables();
    for (std::uint32_t index = 1; index < participants_used(); ++index) {
        if (!is_leaving(index)) continue;
        const wire::Reference reference =
            wire::make_reference(index, tables.row<ParticipantRow>(index).generation);
        remove_reply_inboxes(reference);
        bool some_left = false;
        free_places(reference, some_left);
        // By number: an earlier process with the same row may have left lanes too.
        for (const LaneRow& lane : tables.rows<LaneRow>())
            some_left = some_left || (lane.state != RowState::free &&
                                      wire::index_of(lane.writer) == index);
        if (some_left) continue;
        witnesses_.erase(index);
        state_.retire_participant(index);
    }
}

// Hands that still hold something wait for a survivor, or for whoever attaches next.
void Reaper::free_places(wire::Reference participant, bool& some_left) {
    const auto& tables = state_.tables();
    for (std::uint32_t at = 1; at < tables.used<EndpointRow>(); ++at) {
        const EndpointRow& endpoint = tables.row<EndpointRow>(at);
        if (endpoint.state == RowState::free) continue;
        // What cannot be looked at now may be his.
        auto* inbox = state_.inboxes().admin_if_sound(at, endpoint.generation, some_left);
        if (!inbox) continue;
        for (const std::uint16_t slot : inbox->consumers_of(participant)) {
            if (inbox->holds_nothing(slot)) inbox->free_consumer(slot);
            else some_left = true;
        }
    }
}

// Nobody else reads it; writers of lanes into it see by its generation that it is gone.
void Reaper::remove_reply_inboxes(wire::Reference participant) {
    const auto& tables = state_.tables();
    for (std::uint32_t at = 1; at < tables.used<EndpointRow>(); ++at) {
        const EndpointRow& endpoint = tables.row<EndpointRow>(at);
        if (endpoint.state != RowState::free && endpoint.owner == participant)
            state_.retire_endpoint(at);
    }
}

// A writer goes on in a lane's successor whether a daemon runs or not, so it says so in the lane.
void Reaper::notice_closed_lanes() {
    auto& tables = state_.tables();
    std::set<std::uint64_t> followed;
    for (const LaneRow& lane : tables.rows<LaneRow>())
        if (lane.state != RowState::free && lane.predecessor != 0)
            followed.insert(lane.predecessor);
    if (followed.empty()) return;
    for (std::uint32_t at = 1; at < tables.used<LaneRow>(); ++at) {
        const LaneRow& lane = tables.row<LaneRow>(at);
        if (lane.state != RowState::live || !followed.contains(lane.id)) continue;
        bool is_hindered = false;
        const lane::LaneParts* parts = watch(lane, is_hindered);
        if (is_hindered) continue;
        // CLOSED. Other end: Writer::close.
        if (!parts || parts->writer_page().closed.load(std::memory_order_acquire) != 0)
            tables.change<LaneRow>(at).state = RowState::leaving;
    }
    tables.commit();
}

void Reaper::retire_lanes(const MayForget& may_forget) {
    auto& tables = state_.tables();
    std::vector<std::uint32_t> done;
    for (std::uint32_t at = 1; at < tables.used<LaneRow>(); ++at) {
        const LaneRow& lane = tables.row<LaneRow>(at);
        if (lane.state == RowState::free) continue;
        const bool closed = lane.state == RowState::leaving;
        // Its row may be another process's by now.
        const bool is_gone =
            lane.writer != wire::daemon_reference && !state_.is_live(lane.writer);
        if (!closed && !is_gone) continue;
        if (may_go(lane, may_forget)) done.push_back(at);
    }
    for (const std::uint32_t at : done) {
        const LaneRow lane = tables.row<LaneRow>(at);
        bool is_hindered = false;
        state_.retire_lane(at, watch(lane, is_hindered));
        lanes_.erase(lane.id);
    }
    // Lanes that went with their endpoint are not to be watched any longer.
    std::erase_if(lanes_, [&](const auto& watched) {
        return std::none_of(tables.rows<LaneRow>().begin(), tables.rows<LaneRow>().end(),
                            [&](const LaneRow& row) {
                                return row.state != RowState::free && row.id == watched.first;
                            });
    });
}

void Reaper::complain(LogLevel level, const SetupError& error) {
    const bool is_new = complaints_now_.insert(error.what()).second;
    if (is_new && !complaints_.contains(error.what())) state_.log(level, error.what());
}

// Null when nothing can be read from it any more, by anybody; or not now, by us.
const lane::LaneParts* Reaper::watch(const LaneRow& lane, bool& is_hindered) {
    std::unique_ptr<lane::LaneParts>& parts = lanes_[lane.id];
    try {
        if (!parts)
            parts = std::make_unique<lane::LaneParts>(
                base::File::open_at(state_.home().lanes().fd(), wire::lane_file(lane.id),
                                    base::Access::read_write),
                lane::LaneParts::Side::reader);
    } catch (const SetupError& error) {
        is_hindered = is_for_want_of_room(error);
        complain(LogLevel::error, error);
    }
    return parts.get();
}

// Drained is asked before hands: what was taken in between stands in a hand.
bool Reaper::may_go(const LaneRow& lane, const MayForget& may_forget) {
    bool is_hindered = false;
    const lane::LaneParts* parts = watch(lane, is_hindered);
    if (is_hindered) return false;
    const bool is_lost = !parts || parts->lost();
    // Its row alone tells the next daemon that something was lost.
    if (is_lost && lane.writer == wire::daemon_reference && !may_forget(lane)) return false;
    if (!parts) return true;
    if (!is_lost && !is_drained(*parts)) return false;
    const auto* inbox = state_.inboxes().admin_if_sound(lane.endpoint, lane.endpoint_generation,
                                                        is_hindered);
    return inbox ? inbox->in_nobodys_hand(lane.id) : !is_hindered;
}

std::uint32_t Reaper::alive() const {
    std::uint32_t count = 0;
    for (std::uint32_t index = 1; index < participants_used(); ++index)
        count += live_reference(index) != 0 ? 1 : 0;
    return count;
}

bool Reaper::nobody_left() const { return state_.tables().live_rows<ParticipantRow>() == 0; }

}  // namespace shmbus::daemon
