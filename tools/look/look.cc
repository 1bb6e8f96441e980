// Looks at a bus without taking part in it.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/look.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <filesystem>
#include <set>

#include "directory/boot.h"
#include "look/convert.h"
#include "look/traces.h"

namespace shmbus::look {
namespace {

// How many times a tail is remembered per lane: more than any age that is told needs.
constexpr std::size_t most_tails = 512;
// Each takes a few of the process's mappings, and of the guards that watch over them.
constexpr std::size_t most_open_lanes = 4000;
// Of messages on their way into the journal: each is copied out.
constexpr std::size_t most_looked_at = 1024;
// Of a batch, in units of 64 bytes; in a longer one records are counted, not messages.
constexpr std::uint64_t most_units_in_hand = std::uint64_t{1} << 14;

void require(bool read, const std::string& path) {
    if (!read)
        throw SetupError{"reading the tables of a bus", path, EAGAIN,
                         "they kept changing, or their file was cut short; look again"};
}

// Holds nothing where there is no such folder.
[[nodiscard]] base::File open_if_folder(const std::string& path) {
    try {
        return base::File::open_directory(path);
    } catch (const SetupError&) {
        return {};
    }
}

[[nodiscard]] std::uint64_t since(std::uint64_t now, std::uint64_t then) {
    return now > then ? now - then : 0;
}

}  // namespace

Place place_of(const std::string& bus, const std::string& journal) {
    const detail::BusLocation location = detail::locate_bus(bus);
    Place place{location.directory, std::filesystem::path(location.directory).filename().string(),
                journal, !journal.empty()};
    if (place.journal.empty()) place.journal = detail::journal_here(location);
    return place;
}

Snapshot look(const Place& place, Apart apart) { return Looker(place).look(apart); }

void Looker::open_bus() {
    const std::string path = place_.directory + "/" + wire::directory_file;
    struct stat there {};
    if (::lstat(path.c_str(), &there) != 0) {
        tables_.reset();
        if (errno == EACCES)
            throw SetupError{"looking at a bus", place_.directory, EACCES,
                             "it belongs to another user: be that user or a member of its group"};
        throw NoBus{"looking for a bus", place_.directory, errno,
                    "no bus was made there, or its daemon has removed it; name another one with "
                    "--bus NAME or --dir DIRECTORY, or start one with 'shmbus run'"};
    }
    if (tables_ && there.st_ino == inode_ && !tables_->lost()) return;
    known_lanes_.clear();
    directory_ = base::File::open_directory(place_.directory);
    participants_ = base::File::open_directory(place_.directory + "/" + wire::participants_folder);
    inboxes_ = base::File::open_directory(place_.directory + "/" + wire::inboxes_folder);
    lanes_ = base::File::open_directory(place_.directory + "/" + wire::lanes_folder);
    const base::File file =
        base::File::open_at(directory_.fd(), wire::directory_file, base::Access::read_only);
    inode_ = file.facts().inode;
    tables_ = std::make_unique<directory::DirectoryReader>(file);
}

void Looker::look_at_identity(Snapshot& into) const {
    const directory::Identity& identity = tables_->identity();
    into.name = place_.name;
    into.directory = place_.directory;
    into.uuid = fmt::format("{:016x}{:016x}", identity.bus_high, identity.bus_low);
    into.created_ns = identity.created_ns;
    into.version = tables_->version();
    into.taken_ns = base::realtime_ns();
    into.monotonic_ns = base::now_ns();
    into.is_of_this_boot =
        directory::BootId{identity.boot_high, identity.boot_low} == directory::this_boot();
    into.daemon = find_daemon(directory_, place_.directory);
    into.memory = measure_memory(directory_, place_.directory);
}

void Looker::find_log(Daemon& daemon) {
    if (!daemon.pid || daemon.pid != log_of_) log_ = log_of_daemon(place_.directory, daemon);
    log_of_ = daemon.pid;
    daemon.log = log_;
}

void Looker::look_at_tables(Snapshot& into) const {
    std::vector<directory::Participant> participants;
    std::vector<directory::Endpoint> endpoints;
    std::vector<directory::Type> types;
    std::vector<directory::SubscriptionRow> subscriptions;
    require(tables_->participants(participants) && tables_->endpoints(endpoints) &&
                tables_->types(types) && tables_->subscriptions(subscriptions),
            place_.directory);
    for (const auto& row : participants) {
        Process process;
        process.reference = row.reference();
        process.name = row.name();
        process.pid = static_cast<pid_t>(row.row.host_pid != 0 ? row.row.host_pid : row.row.pid);
        process.uid = row.row.uid;
        process.is_leaving = row.row.state == directory::RowState::leaving;
        process.since_ns = row.row.since_ns;
        into.processes.push_back(std::move(process));
    }
    for (const auto& row : endpoints) {
        Endpoint endpoint;
        endpoint.reference = row.reference();
        endpoint.index = row.index;
        endpoint.name = row.name();
        endpoint.kind = row.row.kind;
        endpoint.owner = row.row.owner;
        endpoint.lane_bytes = row.row.lane_bytes;
        if (row.row.kind == directory::EndpointKind::journal) {
            into.journal.is_in_use = true;
            into.journal.condition = row.row.condition;
        }
        into.endpoints.push_back(std::move(endpoint));
    }
    for (const auto& row : types)
        into.types.push_back({.reference = row.reference(),
                              .index = row.index,
                              .name = std::string(row.name()),
                              .kind = row.row.kind,
                              .durability = row.row.durability,
                              .bytes = row.row.bytes,
                              .route = row.row.route});
    for (const auto& row : subscriptions)
        into.subscriptions.push_back(
            {.event = row.event, .endpoint = row.endpoint, .when_full = row.policy});
}

void Looker::look_at_disk(Endpoint& endpoint) const {
    try {
        const auto inbox = base::File::open_if_there(
            inboxes_.fd(), wire::numbered_file(endpoint.reference), base::Access::read_only);
        if (inbox) endpoint.on_disk = lane::on_disk(*inbox);
    } catch (const SetupError&) {
        // look_at_inbox() meets it again, and tells.
    }
}

void Looker::look_for_lanes(Snapshot& into) const {
    std::vector<directory::LaneRow> lanes;
    require(tables_->lanes(lanes), place_.directory);
    std::map<Reference, std::vector<Lane>> lanes_into;
    for (const directory::LaneRow& row : lanes) {
        Lane& lane =
            lanes_into[wire::make_reference(row.endpoint, row.endpoint_generation)].emplace_back();
        lane.id = row.id;
        lane.writer = row.writer;
        lane.predecessor = row.predecessor;
        lane.state = row.state;
        lane.capacity_bytes = row.capacity;
    }
    for (Endpoint& endpoint : into.endpoints)
        endpoint.lanes = std::move(lanes_into[endpoint.reference]);
}

void Looker::look_at_lane(Lane& into, std::uint64_t now_ns) {
    KnownLane& known = known_lanes_[into.id];
    known.is_wanted = true;
    try {
        if (!known.onlooker) {
            const auto file = base::File::open_if_there(lanes_.fd(), wire::lane_file(into.id),
                                                        base::Access::read_only);
            if (!file) {
                into.sight = Sight::gone;
                return;
            }
            known.onlooker = std::make_unique<lane::LaneOnlooker>(*file);
        }
        // In this order what is counted twice while it moves is more, never less.
        const auto where = known.onlooker->where();
        const auto count = known.onlooker->count();
        into.head = into.handled = where.head;
        into.reclaim = where.reclaim;
        into.receipt = where.receipt;
        into.is_closed = where.is_closed;
        into.is_poisoned = where.is_poisoned;
        into.wants_room = where.wants_room;
        into.tail = count.tail;
        into.messages = count.messages;
        into.waiting = count.waiting;
        into.is_exact = count.is_exact;
        into.refused = count.refused;
        into.dropped_newest = count.dropped_newest;
        into.dropped_oldest = count.dropped_oldest;
        into.waits = count.waits;
        if (into.is_poisoned)
            into.trouble = "its readers have given it up: a record in it is not sound";
        look_at_age(known, into, now_ns);
        const bool is_lost = known.onlooker->lost();
        if (is_lost || known_lanes_.size() > most_open_lanes) known.onlooker.reset();
        if (!is_lost) return;
        into.trouble = "its file was cut short";
    } catch (const SetupError& error) {
        into.trouble = error.tried();
    }
    into.sight = Sight::damaged;
    known.onlooker.reset();
}

void Looker::look_at_age(KnownLane& known, Lane& lane, std::uint64_t now_ns) const {
    auto& tails = known.tails;
    std::erase_if(tails, [&](const auto& seen) { return seen.second <= lane.head; });
    if (lane.waiting > 0 && !tails.empty()) {
        lane.oldest_ns = since(now_ns, tails.front().first);
        lane.oldest_is_at_least = true;
    }
    if (tails.size() < most_tails && lane.tail > lane.head &&
        (tails.empty() || tails.back().second != lane.tail))
        tails.emplace_back(now_ns, lane.tail);
    if (lane.waiting == 0) return;
    lane::SeenRecord record;
    wire::Extensions extensions;
    if (known.onlooker->look(lane.head, record) && record.extensions(extensions) &&
        (extensions.flags & wire::has_time_sent) != 0) {
        lane.oldest_ns =
            since(now_ns, static_cast<std::uint64_t>(extensions.time_sent.monotonic_ns));
        lane.oldest_is_at_least = false;
    }
}

const lane::LaneOnlooker* Looker::onlooker_of(std::uint64_t lane) const {
    const auto known = known_lanes_.find(lane);
    return known == known_lanes_.end() ? nullptr : known->second.onlooker.get();
}

namespace {

[[nodiscard]] bool is_done(const Hand& hand, std::uint64_t record) {
    return record < 64 && (hand.done_records >> record & 1U) != 0;
}

}  // namespace

// A record may be many messages, and only the record itself tells.
void Looker::look_into_hand(Hand& hand, Endpoint& endpoint) const {
    hand.count = hand.records;
    hand.done = static_cast<std::uint64_t>(std::popcount(hand.done_records));
    const lane::LaneOnlooker* const lane = onlooker_of(hand.lane);
    if (hand.is_taking || lane == nullptr || hand.end - hand.from > most_units_in_hand) return;
    std::uint64_t messages = 0;
    std::uint64_t done = 0;
    std::uint64_t position = hand.from;
    lane::SeenRecord record;
    for (std::uint64_t at = 0; at < hand.records; ++at, position += record.units) {
        // Cleared meanwhile, and written over.
        if (position >= hand.end || !lane->look(position, record)) return;
        messages += record.messages();
        if (is_done(hand, at))
            done += record.messages();
        else
            endpoint.types_in_hand[record.meta.type] += record.messages();
    }
    hand.count = messages;
    hand.done = done;
}

void Looker::look_at_hands(const lane::InboxOnlooker& inbox, Endpoint& endpoint) const {
    const std::uint64_t now = base::ticks();
    for (const auto& seen : inbox.hands()) {
        Hand hand;
        hand.index = seen.index;
        hand.owner = seen.owner;
        hand.is_taking = seen.state == lane::HandState::taking;
        hand.lane = seen.lane;
        hand.from = seen.from;
        hand.end = seen.end;
        if (seen.since_ticks != 0 && seen.since_ticks <= now)
            hand.held_ns = ticks_.to_ns(now - seen.since_ticks);
        for (const Consumer& consumer : endpoint.consumers)
            if (consumer.slot == hand.owner) hand.process = consumer.process;
        hand.done_records = seen.done_records;
        hand.records = seen.count;
        look_into_hand(hand, endpoint);
        endpoint.hands.push_back(hand);
    }
}

void Looker::look_at_inbox(Endpoint& endpoint, Journal& journal, Apart apart) const {
    try {
        // Not kept open: there may be more of them than a process may have open.
        const auto file = base::File::open_if_there(
            inboxes_.fd(), wire::numbered_file(endpoint.reference), base::Access::read_only);
        if (!file) {
            endpoint.sight = Sight::gone;
            return;
        }
        const lane::InboxOnlooker inbox(*file);
        if (endpoint.kind == directory::EndpointKind::journal) {
            add_journal(inbox, journal);
            return;
        }
        for (const auto& seen : inbox.consumers())
            endpoint.consumers.push_back({.slot = seen.slot,
                                          .process = seen.participant,
                                          .sleeps = seen.sleeps,
                                          .metrics = metrics_of(inbox.metrics(seen.slot))});
        look_at_hands(inbox, endpoint);
        endpoint.find_handled();
        endpoint.settled = inbox.settled();
        endpoint.metrics = all_metrics_of(inbox);
        if (apart.at(endpoint.reference)) add_times_apart(inbox, endpoint);
        const auto gone = inbox.gone();
        endpoint.gone_refused = gone.refused;
        endpoint.gone_dropped_newest = gone.dropped_newest;
        endpoint.gone_dropped_oldest = gone.dropped_oldest;
        endpoint.gone_waits = gone.waits;
        endpoint.gone_bytes = gone.units * wire::unit_bytes;
    } catch (const SetupError& error) {
        endpoint.sight = Sight::damaged;
        endpoint.trouble = error.tried();
        endpoint.on_disk = 0;  // a stranger's number, perhaps
    }
}

std::vector<Message> Looker::messages(const Snapshot& seen, const Endpoint& endpoint,
                                      std::size_t most) const {
    std::vector<Message> found;
    const base::File types = open_if_folder(place_.directory + "/" + wire::types_folder);
    const auto add = [&](const Lane& lane, Reference holder, std::uint64_t from, std::uint64_t end,
                         std::uint64_t done) {
        const lane::LaneOnlooker* const onlooker = onlooker_of(lane.id);
        lane::SeenRecord record;
        // Taken and written over meanwhile: what follows it in this lane is as well.
        for (std::uint64_t position = from; onlooker != nullptr && position < end &&
                                            found.size() < most && onlooker->look(position, record);
             position += record.units) {
            const bool is_past = (done & 1U) != 0;
            done >>= 1U;
            if (is_past) continue;
            found.push_back(message_of(record, lane.id, seen, types));
            found.back().sender = lane.writer;
            found.back().holder = holder;
        }
    };
    for (const Hand& hand : endpoint.hands)
        for (const Lane& lane : endpoint.lanes)
            if (lane.id == hand.lane && !hand.is_taking && hand.done < hand.count)
                add(lane, hand.process, hand.from, hand.end, hand.done_records);
    for (const Lane& lane : endpoint.lanes) add(lane, 0, lane.head, lane.tail, 0);
    return found;
}

void Looker::look_at_journal(Snapshot& into) const {
    std::string path;
    if (!place_.is_journal_told && into.daemon.pid) path = journal_of_daemon(*into.daemon.pid);
    find_journal(path.empty() ? place_.journal : path, into.journal);
    for (Endpoint& endpoint : into.endpoints) {
        if (endpoint.kind != directory::EndpointKind::journal) continue;
        for (const Lane& lane : endpoint.lanes) {
            // The daemon needs no hands: what is behind the head has left.
            endpoint.settled += lane.messages - std::min(lane.waiting, lane.messages);
            if (lane.receipt >= lane.tail) continue;
            into.journal.lag += lane.waiting;
            if (lane.oldest_ns)
                into.journal.lag_ns = std::max(into.journal.lag_ns.value_or(0), *lane.oldest_ns);
        }
        share_out_lag(endpoint, into);
    }
}

void Looker::share_out_lag(const Endpoint& journal, Snapshot& into) const {
    lane::SeenRecord record;
    wire::Extensions extensions;
    std::size_t looked_at = 0;
    for (const Lane& lane : journal.lanes) {
        const lane::LaneOnlooker* const known = onlooker_of(lane.id);
        if (known == nullptr) continue;
        for (std::uint64_t position = std::max(lane.head, lane.receipt); position < lane.tail;
             position += record.units) {
            if (++looked_at > most_looked_at || !known->look(position, record)) break;
            if (!record.extensions(extensions) || (extensions.flags & wire::has_durable) == 0)
                continue;
            for (Endpoint& endpoint : into.endpoints)
                if (endpoint.reference == wire::make_reference(extensions.durable.endpoint,
                                                               extensions.durable.generation))
                    ++endpoint.journal_lag;
        }
    }
}

void Looker::drop_what_went(Snapshot& into) const {
    std::vector<directory::LaneRow> lanes;
    std::vector<directory::Endpoint> endpoints;
    require(tables_->lanes(lanes) && tables_->endpoints(endpoints), place_.directory);
    std::set<std::uint64_t> named;
    for (const auto& row : lanes) named.insert(row.id);
    for (const auto& row : endpoints) named.insert(row.reference());
    const auto judge = [&](auto& thing, std::uint64_t id) {
        if (thing.sight != Sight::gone) return false;
        if (named.count(id) == 0) return true;
        thing.sight = Sight::damaged;
        thing.trouble = "its file is missing";
        return false;
    };
    std::erase_if(into.endpoints, [&](Endpoint& one) { return judge(one, one.reference); });
    for (Endpoint& endpoint : into.endpoints)
        std::erase_if(endpoint.lanes, [&](Lane& one) { return judge(one, one.id); });
}

void Looker::forget_unwanted() {
    std::erase_if(known_lanes_, [](const auto& known) { return !known.second.is_wanted; });
    for (auto& [id, known] : known_lanes_) known.is_wanted = false;
}

namespace {

void add_up(Snapshot& into) {
    std::map<std::uint32_t, std::uint64_t> handled;
    std::map<std::uint32_t, Troubles> troubles;
    std::map<std::uint32_t, Times> times;
    for (const Endpoint& endpoint : into.endpoints) {
        for (const auto& [type, each] : endpoint.metrics.times) times[type].add(each);
        for (const auto& [type, count] : endpoint.metrics.handled) handled[type] += count;
        for (const auto& [type, counts] : endpoint.metrics.troubles) troubles[type] += counts;
        for (const Lane& lane : endpoint.lanes)
            for (Process& process : into.processes)
                if (process.reference == lane.writer) {
                    ++process.lanes;
                    process.sent += lane.messages;
                }
    }
    for (Type& type : into.types) {
        type.handled = handled[type.index];
        type.troubles = troubles[type.index];
        type.times = std::move(times[type.index]);
    }
    for (Subscription& subscription : into.subscriptions) {
        const Endpoint* const endpoint = into.endpoint_at(subscription.endpoint);
        subscription.is_orphaned =
            !endpoint || std::none_of(endpoint->consumers.begin(), endpoint->consumers.end(),
                                      [&](const Consumer& consumer) {
                                          const Process* const process =
                                              into.process(consumer.process);
                                          return process && process->life != Life::dead;
                                      });
    }
}

}  // namespace

// A message goes from the disk into a lane, which may be made for it, from there into a hand, and
// is gone. It is in its next place before it leaves the last one, and the places are looked at in
// its direction: the disk, which lanes there are, a lane, the hands. So what moves meanwhile may be
// counted twice, but what was there before and stays until after is in the depth: it is a moment's
// excess for people, and never too little for who takes out as much as the depth says (cli/stock).
Snapshot Looker::look(Apart apart) {
    open_bus();
    Snapshot snapshot;
    snapshot.apart = apart;
    look_at_identity(snapshot);
    find_log(snapshot.daemon);
    look_at_tables(snapshot);
    for (Process& process : snapshot.processes) find_process(participants_, process);
    for (Endpoint& endpoint : snapshot.endpoints) look_at_disk(endpoint);
    look_for_lanes(snapshot);
    for (Endpoint& endpoint : snapshot.endpoints) {
        for (Lane& lane : endpoint.lanes) look_at_lane(lane, snapshot.monotonic_ns);
        look_at_inbox(endpoint, snapshot.journal, apart);
    }
    drop_what_went(snapshot);
    look_at_journal(snapshot);
    add_up(snapshot);
    forget_unwanted();
    return snapshot;
}

}  // namespace shmbus::look
