// Durable messages, the daemon's side. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/durable.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include <dirent.h>
#include <unistd.h>

#include <shmbus/message.h>

#include "daemon/journal_meter.h"
#include "daemon/journal_owner.h"
#include "daemon/kept_rows.h"
#include "daemon/step.h"

namespace shmbus::daemon {

using namespace std::chrono_literals;
using directory::DirectoryWriter;
using directory::EndpointKind;
using directory::EndpointRow;
using directory::LaneRow;
using directory::RowState;
using directory::SubscriptionRow;
using directory::Table;
using directory::TypeRow;
using journal::Outcome;

namespace {

constexpr auto lingers = 50us;
// A batch may wait for more to come for this part of what the last commit took, and no longer than
// that behind a disk that has stalled.
constexpr int most_of_a_commit = 2;
constexpr auto gathers_at_most = 1ms;
// What was handled is written down with the next batch of messages, or alone after this.
constexpr auto settles_alone_after = 100ms;
constexpr std::chrono::microseconds least_look = 1ms;
constexpr std::chrono::microseconds most_look = 50ms;
constexpr auto rest_after = 1s;
// That one boot makes behind its last lane into the journal.
constexpr std::uint64_t most_other_lanes = std::uint64_t{1} << 28;
// So short that a string of it takes none.
constexpr const char* no_memory = "no memory left";

[[nodiscard]] std::unique_ptr<journal::Storage> storage_on_disk(const std::string& path) {
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    return std::make_unique<journal::RealStorage>(path);
}

// Not by the standard library's iterators: they end the process where no memory is left.
[[nodiscard]] bool is_there(const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
    if (directory == nullptr) return false;
    while (const dirent* const entry = ::readdir(directory.get()))
        if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0)
            return true;
    return false;
}

// From the sender's lane.
[[nodiscard]] Outbound outbound_of(const Fresh& fresh) noexcept {
    const wire::Meta meta = wire::Meta::of(fresh.meta);
    Outbound message;
    message.meta = fresh.meta;
    message.id = fresh.id;
    message.lsn = fresh.lsn;
    message.source = fresh.source;
    message.payload = {fresh.record + meta.payload_offset(), meta.payload_bytes};
    // Cannot be refused: it was compared when it came in.
    static_cast<void>(
        wire::read_extensions(meta, fresh.record + wire::head_bytes, message.extensions));
    return message;
}

}  // namespace

struct Durable::Service {
    Service(std::unique_ptr<journal::Storage> where, const journal::Options& options)
        : storage(std::move(where)), journal(*storage, options) {}

    std::unique_ptr<journal::Storage> storage;
    journal::Journal journal;
    std::optional<Intake> intake;
    std::map<journal::Endpoint, Outlet> outlets;
    std::set<journal::Endpoint> missing;  // outlets that could not be made yet
    std::unique_ptr<JournalMeter> meter;
};

Durable::Durable(State& state, MakeStorage storage)
    : state_(state), make_storage_(std::move(storage)) {
    const std::string& path = state.config().journal;
    wanted_ = state.tables().is_kept() || make_storage_ || is_there(path) || has_durable_type();
    is_on_disk_ = !make_storage_;
    if (is_on_disk_) make_storage_ = [path] { return storage_on_disk(path); };
    // A bus that has one keeps to that until this one is taken up.
    if (is_on_disk_ && !state.tables().is_kept()) note_journal(path);
    // What an earlier daemon has told stands there until something else is told.
    if (const std::uint32_t index = find_journal_row(); index != 0)
        condition_ = static_cast<Condition>(state.tables().row<EndpointRow>(index).condition);
    if (wanted_) try_to_open();
}

Durable::~Durable() = default;

// ---- opening

std::uint32_t Durable::find_journal_row() const {
    const auto& tables = state_.tables();
    for (std::uint32_t index = 1; index < tables.used<EndpointRow>(); ++index) {
        const EndpointRow& row = tables.row<EndpointRow>(index);
        if (row.state == RowState::live && row.kind == EndpointKind::journal) return index;
    }
    return 0;
}

Durable::Address Durable::journal_endpoint() {
    const auto& tables = state_.tables();
    std::uint32_t index = find_journal_row();
    if (index == 0) {
        EndpointRow row{};
        row.kind = EndpointKind::journal;
        row.lane_bytes = state_.config().journal_lane_bytes;
        row.uid = ::geteuid();
        row.condition = static_cast<std::uint8_t>(condition_);
        index = state_.make_endpoint(row, directory::journal_endpoint_name);
    }
    return {index, tables.row<EndpointRow>(index).generation};
}

void Durable::gone() const {
    throw SetupError{"taking up the journal of a bus", state_.config().journal, 0,
                     "it is gone, and with it what was acknowledged; put it back, or stop all "
                     "processes of the bus and remove its directory"};
}

void Durable::take_back_rows(Service& service) {
    auto& tables = state_.tables();
    if (is_on_disk_)
        require_own_journal(service.journal.ledger(), state_, service.storage->path_of(""));
    // The clock may have been set back: a lane under an id that the journal knows would be taken
    // for read as far as that one was. Those of another boot that led elsewhere it does not know,
    // but the ids of what was sent for their messages are made from theirs.
    const auto& lanes = service.journal.ledger().lanes;
    if (!lanes.empty())
        tables.lane_ids_above(lanes.rbegin()->first + (tables.is_kept() ? 0 : most_other_lanes));
    if (tables.is_kept()) {
        if (service.journal.report().is_new) gone();
        return;
    }
    // Before the rows: it takes memory where the journal has trouble to tell of.
    const std::uint64_t durable_lsn = service.journal.status().durable_lsn;
    if (!service.journal.ledger().items.empty()) {
        for (const DirectoryWriter::Changed row : kept_rows(tables))
            if (row.table != Table::endpoints ||
                !directory::is_private(tables.row<EndpointRow>(row.index).kind))
                throw SetupError{
                    "taking up the journal of a bus", state_.config().journal, 0,
                    "the bus was used while its journal could not be read, so endpoints are not "
                    "where the journal has them; stop all processes of the bus, remove its "
                    "directory in shared memory, and it comes back with the journal"};
        restore_rows(service.journal.ledger(), state_);
    }
    tables.set_kept(durable_lsn);
}

// Endpoints that were removed, and lanes that went, when no journal could be told.
void Durable::drop_gone(Service& service) {
    const auto& tables = state_.tables();
    const journal::Ledger& ledger = service.journal.ledger();
    std::set<journal::Endpoint> known;
    for (const auto& [number, settled] : ledger.endpoints) known.insert(number);
    for (const auto& [number, audience] : ledger.audiences)
        known.insert(audience.endpoints.begin(), audience.endpoints.end());
    for (const journal::Endpoint number : known)
        if (!state_.has_endpoint(number)) static_cast<void>(service.journal.forget(number));
    std::set<std::uint64_t> lanes;
    for (const LaneRow& row : tables.rows<LaneRow>())
        if (row.state != RowState::free) lanes.insert(row.id);
    for (const auto& [lane, watermark] : ledger.lanes)
        if (watermark.gone == 0 && !lanes.contains(lane))
            static_cast<void>(service.journal.lane_gone(lane));
}

// Without the note the journal serves as well.
void Durable::note_journal(const std::string& path) const {
    try {
        state_.home().note_journal(path);
    } catch (const SetupError& error) {
        state_.log(LogLevel::warning, error.what());
    }
}

void Durable::open_service() {
    journal::Options options;
    options.segment_bytes = state_.config().journal_segment_bytes;
    if (is_on_disk_ && !is_there(state_.config().journal)) {
        if (state_.tables().is_kept()) gone();
        // The row first: files of a journal that the bus has no row for look like one that could
        // not be taken up.
        static_cast<void>(journal_endpoint());
        state_.tables().commit();
    }
    options.checkpoint_bytes = std::max<std::uint64_t>(options.segment_bytes, 4U << 20);
    auto service = std::make_unique<Service>(make_storage_(), options);
    step("journal opened");
    // Damaged or not, it says which endpoints there are: messages that are left name them.
    try {
        take_back_rows(*service);
    } catch (const SetupError&) {
        // Tried again each second, and what is not closed goes on in another segment.
        service->journal.close();
        throw;
    }
    if (!service->journal.why_stopped().empty()) {
        // In its row it is told that the journal is out of service.
        static_cast<void>(journal_endpoint());
        state_.tables().commit();
        throw SetupError{"taking up the journal", state_.config().journal, 0,
                         service->journal.why_stopped()};
    }
    const Address at = journal_endpoint();
    step("rows taken back");
    state_.tables().commit();
    step("rows committed");
    if (is_on_disk_) note_journal(service->storage->path_of(""));
    service->intake.emplace(state_, at.endpoint, at.generation);
    service->meter = std::make_unique<JournalMeter>(state_, at.endpoint, at.generation);
    static_cast<void>(state_.tables().take_changes());
    for (const DirectoryWriter::Changed row : kept_rows(state_.tables()))
        pending_rows_.insert(row);
    owner_pending_ = is_on_disk_;
    service_ = std::move(service);
    drop_gone(*service_);
    ++bell_number_;
    // Each has lanes of an earlier daemon to take up, or messages to get.
    std::set<journal::Endpoint> due;
    const auto& tables = state_.tables();
    for (const LaneRow& row : tables.rows<LaneRow>())
        if (row.state != RowState::free && row.writer == wire::daemon_reference)
            due.insert(wire::make_reference(row.endpoint, row.endpoint_generation));
    for (std::uint32_t index = 1; index < tables.used<EndpointRow>(); ++index) {
        const journal::Endpoint number =
            wire::make_reference(index, tables.row<EndpointRow>(index).generation);
        if (service_->journal.backlog(number) != 0) due.insert(number);
        if (due.contains(number)) continue;
        // An earlier daemon may have said otherwise.
        auto* const inbox = state_.inboxes().admin_if_sound(index, wire::generation_of(number));
        if (inbox != nullptr) inbox->tell_on_disk(0);
    }
    for (const journal::Endpoint number : due) static_cast<void>(outlet(number));
}

void Durable::try_to_open() noexcept {
    next_try_ = Clock::now() + try_again_after;
    try {
        open_service();
        const bool kept = keep_pending() == Outcome::ok && commit();
        if (service_ == nullptr) return;  // which was told
        if (!kept)
            state_.log(LogLevel::warning, "the journal takes no changes of the directory yet");
        tell_of_room(Outcome::ok);
    } catch (const std::bad_alloc&) {
        stop_service(no_memory);
    } catch (const std::exception& error) {
        stop_service(error.what());
    }
}

bool Durable::has_durable_type() const {
    return std::ranges::any_of(state_.tables().rows<TypeRow>(), [](const TypeRow& row) {
        return row.state != RowState::free &&
               row.durability == static_cast<std::uint8_t>(Durability::durable);
    });
}

void Durable::want() noexcept {
    if (!std::exchange(wanted_, true)) try_to_open();
}

Durable::Address Durable::address() {
    wanted_ = true;
    if (service_ == nullptr) try_to_open();
    if (service_ == nullptr)
        throw Refusal(wire::ReplyCode::failed, "durable messages cannot be sent now: " + trouble_);
    return journal_endpoint();
}

std::uint64_t Durable::most_lane_bytes() const {
    if (service_ == nullptr) return 0;
    // A record has at most a quarter of its lane.
    return std::bit_floor(service_->journal.status().most_payload_bytes * 4);
}

// ---- trouble

void Durable::tell(Condition condition, const std::string& why) {
    if (trouble_ != why && !why.empty()) state_.log(LogLevel::error, why);
    if (!trouble_.empty() && why.empty())
        state_.log(LogLevel::info, "the journal is in service again, after: " + trouble_);
    trouble_ = why;
    if (condition == condition_) return;
    auto& tables = state_.tables();
    if (const std::uint32_t index = find_journal_row(); index != 0)
        tables.change<EndpointRow>(index).condition = static_cast<std::uint8_t>(condition);
    tables.commit();
    condition_ = condition;
}

void Durable::tell_of_room(Outcome hinders) {
    if (hinders != Outcome::no_space && service_->journal.takes_messages())
        return tell(Condition::in_service, {});
    const int error = service_->journal.spare_error();
    if (error == 0) return;  // the next segment is only being made
    const bool is_full = error == ENOSPC || error == EDQUOT;
    tell(is_full ? Condition::disk_full : Condition::stopped,
         std::string(is_full ? "the journal's disk is full: " : "the journal takes no message: ") +
             state_.config().journal + ": " + service_->journal.status().trouble);
}

// Whatever stands in the lanes stays there, and what the journal has on disk is there as well: it
// is taken up again as after a death.
void Durable::stop_service(std::string_view why) {
    settled_ = 0;
    next_try_ = Clock::now() + try_again_after;
    try {
        // Before the service goes: it may be its own words.
        const std::string said = "no durable message goes in or out: " + std::string(why);
        service_.reset();
        tell(Condition::stopped, said);
    } catch (const std::bad_alloc&) {
        service_.reset();
        trouble_ = no_memory;  // and it is logged when there is some
    }
}

// ---- the directory

bool Durable::concerns_durable(DirectoryWriter::Changed row) const {
    const auto& tables = state_.tables();
    const auto is_durable = [&](std::uint32_t type) {
        return tables.row<TypeRow>(type).durability ==
               static_cast<std::uint8_t>(Durability::durable);
    };
    if (row.table != Table::subscriptions) return false;
    const SubscriptionRow& subscription = tables.row<SubscriptionRow>(row.index);
    return subscription.state != RowState::free && is_durable(subscription.event);
}

Outcome Durable::keep_pending() {
    // First of all: whoever finds a row there finds whose it is.
    if (owner_pending_) {
        const Outcome outcome =
            keep_owner(service_->journal, state_, service_->storage->path_of(""));
        if (outcome != Outcome::ok) return outcome;
        owner_pending_ = false;
    }
    for (auto row = pending_rows_.begin(); row != pending_rows_.end();) {
        const Outcome outcome = keep_row(service_->journal, state_, *row);
        if (outcome == Outcome::batch_full) {
            if (!commit()) return Outcome::no_space;
            continue;
        }
        if (outcome != Outcome::ok) return outcome;
        row = pending_rows_.erase(row);
    }
    return Outcome::ok;
}

void Durable::keep_changes() {
    if (!wanted_) return;
    bool durable_ones = false;
    std::set<DirectoryWriter::Changed> changes = state_.tables().take_changes();
    std::erase_if(changes, [](const DirectoryWriter::Changed& row) {
        return row.table != Table::endpoints && row.table != Table::types &&
               row.table != Table::subscriptions;
    });
    // Takes no memory: what is in neither list any more would not come back after a reboot.
    pending_rows_.merge(changes);
    if (pending_rows_.empty()) return;
    const std::set<DirectoryWriter::Changed> due = pending_rows_;
    if (service_ != nullptr && keep_pending() == Outcome::ok && commit()) return;
    pending_rows_.insert(due.begin(), due.end());
    for (const DirectoryWriter::Changed row : due)
        durable_ones = durable_ones || concerns_durable(row);
    if (durable_ones)
        throw Refusal(wire::ReplyCode::failed,
                      "this is done, but not kept over a reboot as long as the journal is out of "
                      "service: " + trouble_);
}

// ---- a turn

// What the last batch holds for this endpoint, and what it has in store.
Outlet* Durable::outlet(journal::Endpoint number) {
    const auto known = service_->outlets.find(number);
    if (known != service_->outlets.end()) return &known->second;
    return service_->missing.contains(number) ? nullptr : make_outlet(number);
}

// Null: what is for it stays in the journal until it is there.
Outlet* Durable::make_outlet(journal::Endpoint number) {
    try {
        Outlet& made = service_->outlets
                           .try_emplace(number, state_, wire::index_of(number),
                                        wire::generation_of(number),
                                        service_->journal.status().durable_lsn)
                           .first->second;
        service_->missing.erase(number);
        return &made;
    } catch (const SetupError& error) {
        if (service_->missing.insert(number).second) state_.log(LogLevel::error, error.what());
        return nullptr;
    }
}

void Durable::make_missing_outlets() {
    if (service_->missing.empty() || Clock::now() < next_try_) return;
    next_try_ = Clock::now() + try_again_after;
    for (const journal::Endpoint number : std::set(service_->missing)) {
        if (state_.has_endpoint(number)) {
            make_outlet(number);
        } else if (service_->journal.forget(number) == Outcome::ok) {
            service_->missing.erase(number);
            ++settled_;
        }
    }
}

bool Durable::commit() {
    step("to be committed");
    const auto begin = Clock::now();
    const journal::Committed committed = service_->journal.commit();
    committed_at_ = Clock::now();
    last_commit_ = committed_at_ - begin;
    last_batch_ = service_->intake->fresh().size();
    settled_ = 0;
    if (committed.outcome == Outcome::ok) {
        step("committed");
        for (auto& [number, outlet] : service_->outlets) outlet.committed();
        if (committed.bytes != 0) service_->meter->count(committed);
        return true;
    }
    // Room for it was seen before each part of it was taken, so this is never for want of it.
    stop_service(committed.why);
    return false;
}

std::string Durable::why_needed(journal::Endpoint number) {
    if (!wanted_) return {};
    if (service_ == nullptr)
        return "the journal cannot be asked whether messages for it are on disk" +
               (trouble_.empty() ? std::string() : ": " + trouble_);
    const std::uint64_t left = service_->journal.backlog(number);
    if (left == 0 && service_->intake->may_have(number, service_->journal))
        return "durable messages for it were sent and are not on disk yet; once they are, handle, "
               "move or purge them";
    if (left == 0) return {};
    return std::to_string(left) + " durable messages for it are not handled yet; handle, move or "
                                  "purge them first";
}

void Durable::hand_out() {
    for (const Fresh& fresh : service_->intake->fresh()) {
        std::optional<Outbound> message;  // the same for all, whatever its sender writes meanwhile
        for (const journal::Endpoint number : *fresh.to) {
            Outlet* const to = outlet(number);
            if (to == nullptr || to->is_behind()) continue;  // the journal brings it in its turn
            if (fresh.record == nullptr) {
                to->leave_to_fill();
                continue;
            }
            if (!message) message = outbound_of(fresh);
            static_cast<void>(to->pass_on(service_->journal, *message));
        }
        step("handed out");
    }
    for (auto& [number, outlet] : service_->outlets) outlet.ring();
}

// What was handled is settled in no earlier batch than what its handlers have sent is published
// in: a power cut between the two would take both. So the lanes are marked behind the look, and
// settle() comes when what stood in them has been read.
void Durable::look_at_room() {
    for (auto& [number, outlet] : service_->outlets) outlet.look();
    service_->intake->mark(service_->journal);
}

std::size_t Durable::settle() {
    std::size_t settled = 0;
    for (auto at = service_->outlets.begin(); at != service_->outlets.end();) {
        if (!state_.has_endpoint(at->first)) {
            static_cast<void>(service_->journal.forget(at->first));
            ++settled;
            at = service_->outlets.erase(at);
            continue;
        }
        settled += at->second.settle(service_->journal, service_->intake->causes());
        ++at;
    }
    settled_ += settled;
    return settled;
}

// Between two batches. What lies in a lane that was damaged would wait there for ever.
void Durable::replace_lost() {
    for (const auto& [known, there] : service_->outlets) {
        if (!there.has_lost_some()) continue;
        const journal::Endpoint number = known;
        if (!commit()) return;
        state_.log(LogLevel::error, "a lane into endpoint " + wire::numbered_file(number) +
                                        " was damaged; what it carried is sent once more, marked");
        service_->journal.begin_again(number);
        service_->outlets.erase(number);
        static_cast<void>(outlet(number));
        return;  // another one in the next turn
    }
}

bool Durable::may_forget(const LaneRow& lane) const noexcept {
    if (service_ == nullptr) return false;
    const auto known =
        service_->outlets.find(wire::make_reference(lane.endpoint, lane.endpoint_generation));
    return known != service_->outlets.end() && known->second.may_forget(lane.id);
}

bool Durable::fill() {
    bool wrote = false;
    for (auto& [number, outlet] : service_->outlets) {
        if (!outlet.is_behind()) continue;
        wrote = outlet.fill(service_->journal) || wrote;
        outlet.ring();
        step("filled");
    }
    return wrote;
}

bool Durable::turn() {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        stop_service(no_memory);
        next_try_ = Clock::now();
        return true;
    }
}

bool Durable::work() {
    if (service_ == nullptr) {
        if (wanted_ && Clock::now() >= next_try_) try_to_open();
        if (service_ == nullptr) return false;
    }
    const auto now = Clock::now();
    const bool looks = now >= next_look_;
    std::size_t handled = 0;
    if (!service_->intake->is_marked() && (looks || service_->intake->anything_there())) {
        handled = settle();  // what a batch that was full did not take
        look_at_room();
    }
    // Rows that found no room first: a message may name one of them.
    const bool keeps_rows = !pending_rows_.empty();
    const Outcome rows = keep_pending();
    if (service_ == nullptr) return false;
    const bool came = rows == Outcome::ok && service_->intake->collect(service_->journal);
    if (looks) make_missing_outlets();
    if (came) {
        const Clock::duration most = last_commit_ / most_of_a_commit;
        service_->intake->gather(service_->journal, last_batch_,
                                 Clock::now() + std::min<Clock::duration>(most, gathers_at_most));
    }
    const Outcome hinders = rows == Outcome::ok ? service_->intake->obstacle() : rows;
    if (service_->intake->has_read(hinders == Outcome::no_space)) handled += settle();
    const bool commits =
        came || keeps_rows || (settled_ != 0 && now - committed_at_ >= settles_alone_after);
    if (commits) {
        if (!commit()) return false;
        service_->intake->give_receipts();
        step("receipts given");
        hand_out();
        service_->intake->release();
        step("room given");
    }
    if (hinders == Outcome::stopped) {
        stop_service(service_->journal.why_stopped());
        return false;
    }
    tell_of_room(hinders);
    if (looks) replace_lost();
    if (service_ == nullptr) return false;
    const bool filled = (came || looks) && fill();
    // Behind what went into lanes, and before any request is answered: see lane::on_disk.
    if (commits || looks)
        for (auto& [number, outlet] : service_->outlets) outlet.tell_on_disk(service_->journal);
    const bool works = came || filled || handled != 0;
    if (looks) {
        look_every_ = works ? least_look : std::min(2 * look_every_, most_look);
        next_look_ = now + look_every_;
    }
    if (works) {
        worked_at_ = Clock::now();
        rested_ = false;
    }
    const bool rests = !rested_ && now - worked_at_ >= rest_after;
    const bool upkeep = service_->journal.maintain(rests);
    if (rests && !upkeep) rested_ = true;
    if (!service_->journal.why_stopped().empty()) {
        stop_service(service_->journal.why_stopped());
        return false;
    }
    const bool waits_for_segment =
        hinders == Outcome::no_space && service_->journal.spare_error() == 0;
    return came || filled || upkeep || waits_for_segment;
}

// ---- waiting

bool Durable::linger() const noexcept {
    if (service_ == nullptr) return false;
    const auto until = worked_at_ + lingers;
    // Ends: at that time.
    while (Clock::now() < until)
        if (service_->intake->anything_there()) return true;
    return false;
}

std::chrono::milliseconds Durable::announce() noexcept {
    const auto in = [](Clock::time_point when) {
        return std::clamp(std::chrono::ceil<std::chrono::milliseconds>(when - Clock::now()), 1ms,
                          1000ms);
    };
    if (service_ == nullptr) return wanted_ ? in(next_try_) : 1000ms;
    // What the journal takes no message of is not asked for all the time.
    if (!service_->intake->announce() && condition_ == Condition::in_service) return 0ms;
    std::chrono::milliseconds limit = rested_ ? 1000ms : in(worked_at_ + rest_after);
    const bool waits = std::any_of(
        service_->outlets.begin(), service_->outlets.end(), [](const auto& entry) {
            return entry.second.is_behind() || entry.second.has_unsettled();
        });
    if (waits || settled_ != 0) limit = std::min(limit, in(next_look_));
    if (condition_ != Condition::in_service) limit = std::min(limit, 100ms);
    return limit;
}

void Durable::withdraw() noexcept {
    if (service_ != nullptr) service_->intake->withdraw();
}

int Durable::bell_fd() const noexcept {
    return service_ == nullptr ? -1 : service_->intake->bell_fd();
}

void Durable::close() noexcept {
    if (service_ == nullptr) return;
    try {
        next_look_ = Clock::now();
        static_cast<void>(work());
        if (service_ == nullptr) return;
        if (service_->journal.commit().outcome == Outcome::ok) service_->journal.close();
    } catch (const std::exception& error) {
        state_.log(LogLevel::error, error.what());
    }
    service_.reset();
}

}  // namespace shmbus::daemon
