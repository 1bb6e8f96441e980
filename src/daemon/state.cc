// What the daemon works on, and the steps that keep rows and files in agreement.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/state.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include <unistd.h>

#include <shmbus/message.h>
#include <shmbus/result.h>

#include "lane/inbox_file.h"
#include "lane/lane_file.h"

namespace shmbus::daemon {

using directory::EndpointKind;
using directory::EndpointRow;
using directory::LaneRow;
using directory::ParticipantRow;
using directory::PublicationRow;
using directory::RowState;
using directory::SubscriptionRow;
using directory::TypeRow;

namespace {

template <class Row>
[[nodiscard]] std::uint32_t find_named(const directory::DirectoryWriter& tables,
                                       std::string_view name, auto&& fits) {
    const std::uint32_t hash = directory::name_hash(name);
    for (std::uint32_t index = 1; index < tables.used<Row>(); ++index) {
        const Row& row = tables.row<Row>(index);
        if (row.state != RowState::free && row.hash == hash && name_in(row) == name && fits(row))
            return index;
    }
    return 0;
}

}  // namespace

bool is_for_want_of_room(const SetupError& error) noexcept {
    const int why = error.system_error();
    return why == EMFILE || why == ENFILE || why == ENOMEM;
}

void require_lane_bytes(std::uint64_t bytes, std::uint64_t most) {
    if (lane::is_lane_capacity(bytes) && bytes <= most) return;
    throw Refusal(wire::ReplyCode::not_allowed,
                  "lanes of " + std::to_string(bytes) +
                      " bytes were asked for; lanes are powers of two from 4096 to " +
                      std::to_string(most));
}

State::State(Home home, const Config& config, Log log)
    : home_(std::move(home)),
      config_(config),
      log_(std::move(log)),
      tables_(home_.take_up_directory(config_)),
      inboxes_(home_),
      pages_(home_) {
    require_own_layout();
    reconcile();
}

// The directory may be one that this version reads, and inboxes and lanes not: to us they would be
// damaged, and what nobody can read is cleared away. One of ours, and the others are damaged.
void State::require_own_layout() const {
    std::string found;
    const auto is_ours = [&](auto&& read) {
        try {
            read();
            return true;
        } catch (const lane::OtherLayout& error) {
            found = error.tried();
        } catch (const SetupError&) {  // damaged, missing, or not to be had now
        }
        return false;
    };
    for (std::uint32_t index = 1; index < tables_.used<EndpointRow>(); ++index) {
        const EndpointRow& row = tables_.row<EndpointRow>(index);
        if (row.state != RowState::free && is_ours([&] {
                static_cast<void>(
                    lane::read_inbox_identity(inboxes_.open(index, row.generation)));
            }))
            return;
    }
    for (const LaneRow& row : tables_.rows<LaneRow>())
        if (row.state != RowState::free && is_ours([&] {
                static_cast<void>(lane::read_lane_identity(base::File::open_at(
                    home_.lanes().fd(), wire::lane_file(row.id), base::Access::read_only)));
            }))
            return;
    if (!found.empty())
        throw SetupError{"taking up a bus of another version: " + found, home_.path(), 0,
                         "use the version of shmbus that made it; if no process uses this bus any "
                         "more, remove its directory"};
}

const EndpointRow& State::endpoint(std::uint32_t index, std::uint32_t generation) const {
    if (has_endpoint(wire::make_reference(index, generation)))
        return tables_.row<EndpointRow>(index);
    throw Refusal(wire::ReplyCode::unknown, "there is no endpoint " + std::to_string(index) +
                                                " of generation " + std::to_string(generation) +
                                                " (any more)");
}

const TypeRow& State::type(std::uint32_t index, std::uint8_t kind) const {
    if (index == 0 || index >= tables_.used<TypeRow>() ||
        tables_.row<TypeRow>(index).state != RowState::live)
        throw Refusal(wire::ReplyCode::unknown,
                      "there is no message type " + std::to_string(index));
    const TypeRow& row = tables_.row<TypeRow>(index);
    if (row.kind != kind)
        throw Refusal(wire::ReplyCode::conflict,
                      "'" + std::string(name_in(row)) + "' is not " +
                          (kind == static_cast<std::uint8_t>(shmbus::Kind::event) ? "an event"
                                                                          : "a command"));
    return row;
}

std::uint32_t State::find_endpoint(std::string_view name) const {
    return find_named<EndpointRow>(
        tables_, name, [](const auto& row) { return !directory::is_private(row.kind); });
}
std::uint32_t State::find_type(std::string_view name) const {
    return find_named<TypeRow>(tables_, name, [](const auto&) { return true; });
}

// Types name bases that were there before them, so the walk ends; the list keeps it from visiting
// one twice.
bool State::descends(std::uint32_t type, std::uint32_t from) const {
    std::vector<std::uint32_t> line{type};
    for (std::size_t next = 0; next < line.size(); ++next) {
        if (line[next] == from) return true;
        const TypeRow& row = tables_.row<TypeRow>(line[next]);
        for (std::uint32_t base = 0; base < row.base_count; ++base)
            if (std::find(line.begin(), line.end(), row.bases[base]) == line.end())
                line.push_back(row.bases[base]);
    }
    return false;
}

const Quota& State::quota_of(std::uint32_t uid) const noexcept {
    return uid == ::geteuid() ? config_.owner : config_.others;
}

namespace {

template <class Row>
[[nodiscard]] bool is_live_row(const directory::DirectoryWriter& tables, wire::Reference wanted) {
    const std::uint32_t index = wire::index_of(wanted);
    return index > 0 && index < tables.used<Row>() &&
           tables.row<Row>(index).state == RowState::live &&
           tables.row<Row>(index).generation == wire::generation_of(wanted);
}

}  // namespace

bool State::is_live(wire::Reference participant) const {
    return is_live_row<ParticipantRow>(tables_, participant);
}
bool State::has_endpoint(wire::Reference endpoint) const {
    return is_live_row<EndpointRow>(tables_, endpoint);
}

std::uint32_t State::make_lane(const LaneWish& wish) {
    const EndpointRow& endpoint = tables_.row<EndpointRow>(wish.endpoint);
    const std::uint64_t capacity = wish.capacity != 0 ? wish.capacity : endpoint.lane_bytes;
    // What the endpoint was made with stays, whatever the limit is by now; and what is on disk is
    // handed out in any case.
    require_lane_bytes(capacity, wish.writer == wire::daemon_reference
                                     ? lane::most_capacity
                                     : std::max(config_.most_lane_bytes, endpoint.lane_bytes));
    const std::uint32_t row = take_row<LaneRow>(wish.uid, "lanes", &Quota::lanes);
    std::uint64_t held_bytes = 0;
    for (std::uint32_t at = 1; at < tables_.used<LaneRow>(); ++at) {
        const LaneRow& other = tables_.row<LaneRow>(at);
        if (other.state != RowState::free && other.uid == wish.uid) held_bytes += other.capacity;
    }
    const std::uint64_t allowed = quota_of(wish.uid).lane_bytes;
    if (held_bytes > allowed || capacity > allowed - held_bytes)
        throw Refusal(wire::ReplyCode::over_quota,
                      "lanes of user " + std::to_string(wish.uid) + " hold " +
                          std::to_string(held_bytes) + " bytes; the quota 'lane_bytes' is " +
                          std::to_string(allowed));
    lane::InboxAdmin& inbox = inboxes_.admin(wish.endpoint, endpoint.generation);
    // Before the file: where no memory is left for this, there is none.
    LaneRow& made = tables_.change<LaneRow>(row);
    const std::uint64_t id = tables_.new_lane_id();
    const base::File file = lane::create_lane_file(
        home_.lanes().fd(), {.lane_id = id,
                             .capacity = capacity,
                             .writer = wish.writer,
                             .predecessor = wish.predecessor,
                             .endpoint = wish.endpoint,
                             .endpoint_generation = endpoint.generation,
                             .writer_uid = wish.uid,
                             .mode = home_.file_mode(),
                             .group = home_.group()});
    if (!inbox.add_lane(id)) {
        base::unlink_at(home_.lanes().fd(), wire::lane_file(id));
        throw Refusal(wire::ReplyCode::no_room,
                      "the inbox of '" + std::string(name_in(endpoint)) + "' has no place for "
                      "another lane: " + std::to_string(lane::most_lanes) + " lead there");
    }
    made = {.id = id,
            .writer = wish.writer,
            .endpoint = wish.endpoint,
            .endpoint_generation = endpoint.generation,
            .predecessor = wish.predecessor,
            .capacity = capacity,
            .token = wish.token,
            .uid = wish.uid,
            .state = wish.state,
            .spare = {}};
    return row;
}

bool State::make_lane_ahead(wire::Reference writer, std::uint32_t uid, std::uint32_t endpoint) {
    for (std::uint32_t index = 1; index < tables_.used<LaneRow>(); ++index) {
        const LaneRow& row = tables_.row<LaneRow>(index);
        const bool usable = row.state == RowState::live || row.state == RowState::pending;
        if (usable && row.writer == writer && row.endpoint == endpoint) return false;
    }
    make_lane({.writer = writer, .uid = uid, .endpoint = endpoint, .state = RowState::pending});
    return true;
}

std::uint32_t State::make_endpoint(const EndpointRow& wanted, std::string_view name) {
    const std::uint32_t index =
        take_row<EndpointRow>(wanted.uid, "endpoints", &Quota::endpoints);
    EndpointRow row = wanted;
    set_name(row, name);
    row.generation = std::max(tables_.row<EndpointRow>(index).generation + 1, 1U);
    row.state = RowState::live;
    // Before the file: where no memory is left for this, there is none.
    EndpointRow& made = tables_.change<EndpointRow>(index);
    make_inbox(index, row.generation);
    made = row;
    return index;
}

void State::make_inbox(std::uint32_t endpoint, std::uint32_t generation) const {
    static_cast<void>(
        lane::create_inbox_file(home_.inboxes().fd(), {.endpoint = endpoint,
                                                       .endpoint_generation = generation,
                                                       .bus_high = tables_.identity().bus_high,
                                                       .bus_low = tables_.identity().bus_low,
                                                       .mode = home_.file_mode(),
                                                       .group = home_.group()}));
}

std::vector<State::GoingLane> State::going(const std::vector<std::uint32_t>& rows) {
    std::vector<GoingLane> lanes;
    for (const std::uint32_t at : rows) {
        const LaneRow& row = tables_.row<LaneRow>(at);
        lanes.push_back({row.id, inboxes_.admin_if_sound(row.endpoint, row.endpoint_generation),
                         wire::lane_file(row.id)});
    }
    return lanes;
}

void State::remove_files(const std::vector<GoingLane>& lanes) {
    for (const GoingLane& lane : lanes) {
        if (lane.inbox != nullptr) lane.inbox->remove_lane(lane.id);
        base::unlink_at(home_.lanes().fd(), lane.file);
    }
}

void State::retire_lane(std::uint32_t row, const lane::LaneParts* drained) {
    const std::vector<GoingLane> lane = going({row});
    tables_.make_room_for(1);
    // An inbox knows of one lane that it was counted: so nothing can come in between.
    if (lane[0].inbox != nullptr && drained != nullptr)
        lane[0].inbox->keep_account(lane[0].id, *drained);
    tables_.clear<LaneRow>(row);
    // Killed from here on: reconcile() takes the rest out of the inboxes and sweeps the files.
    tables_.commit();
    remove_files(lane);
}

void State::retire_endpoint(std::uint32_t index) {
    const auto leads_here = [&](const auto& row) {
        return row.state != RowState::free && row.endpoint == index;
    };
    const auto lane_rows = tables_.rows_that<LaneRow>(leads_here);
    const auto subscriptions = tables_.rows_that<SubscriptionRow>(leads_here);
    const auto routes =
        tables_.rows_that<TypeRow>([&](const TypeRow& row) { return row.route == index; });
    const std::vector<GoingLane> lanes = going(lane_rows);
    const std::string inbox =
        wire::numbered_file(index, tables_.row<EndpointRow>(index).generation);
    tables_.make_room_for(lane_rows.size() + subscriptions.size() + routes.size() + 1);
    for (const std::uint32_t row : lane_rows) tables_.clear<LaneRow>(row);
    for (const std::uint32_t row : subscriptions) tables_.clear<SubscriptionRow>(row);
    for (const std::uint32_t row : routes) tables_.change<TypeRow>(row).route = 0;
    tables_.clear<EndpointRow>(index);
    // One commit for the endpoint and all that leads to it.
    tables_.commit();
    remove_files(lanes);
    inboxes_.forget(index);
    base::unlink_at(home_.inboxes().fd(), inbox);
}

void State::retire_participant(std::uint32_t index) {
    const std::string page =
        wire::numbered_file(index, tables_.row<ParticipantRow>(index).generation);
    tables_.clear<ParticipantRow>(index);
    tables_.commit();
    pages_.remove(page);
}

std::uint32_t State::row_of_dead_writer(std::optional<std::uint32_t> uid) {
    const auto has_only_lanes = [&](wire::Reference participant) {
        bool is_hindered = false;
        for (std::uint32_t at = 1; at < tables_.used<EndpointRow>(); ++at) {
            const EndpointRow& endpoint = tables_.row<EndpointRow>(at);
            if (endpoint.state == RowState::free) continue;
            if (endpoint.owner == participant) return false;
            const auto* inbox = inboxes_.admin_if_sound(at, endpoint.generation, is_hindered);
            if (inbox && !inbox->consumers_of(participant).empty()) return false;
        }
        return !is_hindered;
    };
    std::uint32_t first = 0;
    for (std::uint32_t index = 1; index < tables_.used<ParticipantRow>(); ++index) {
        const ParticipantRow& row = tables_.row<ParticipantRow>(index);
        if (row.state != RowState::leaving || (uid && row.uid != *uid)) continue;
        if (first != 0 && row.since_ns >= tables_.row<ParticipantRow>(first).since_ns) continue;
        if (has_only_lanes(wire::make_reference(index, row.generation))) first = index;
    }
    return first;
}

// After the death of a daemon: rows are the truth, inbox tables and folders follow.
void State::reconcile() {
    for (std::uint32_t index = 1; index < tables_.used<EndpointRow>(); ++index)
        if (tables_.row<EndpointRow>(index).state != RowState::free) reconcile_inbox(index);
    const std::size_t swept = home_.sweep(tables_);
    if (swept > 0)
        log(LogLevel::warning, "removed " + std::to_string(swept) +
                                   " files that an interrupted daemon had left");
}

void State::reconcile_inbox(std::uint32_t endpoint) {
    const EndpointRow& row = tables_.row<EndpointRow>(endpoint);
    auto* inbox = inboxes_.admin_if_sound(endpoint, row.generation);
    if (!inbox) {
        log(LogLevel::error, "the inbox of endpoint '" + std::string(name_in(row)) +
                                 "' is missing or damaged; nobody can attach to it until it "
                                 "was removed (shmbus endpoint rm) and made anew");
        return;
    }
    std::set<std::uint64_t> wanted;
    for (const LaneRow& lane : tables_.rows<LaneRow>())
        if (lane.state != RowState::free && lane.endpoint == endpoint) wanted.insert(lane.id);
    for (const std::uint64_t id : inbox->lanes())
        if (!wanted.contains(id)) inbox->remove_lane(id);
    for (const std::uint64_t id : wanted) inbox->add_lane(id);
}

}  // namespace shmbus::daemon
