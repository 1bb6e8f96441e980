// Opening, and the calls of the daemon.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/journal.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "journal/core.h"
#include "journal/crc32c.h"
#include "journal/open_batch.h"
#include "journal/recovery.h"
#include "journal/segment_file.h"
#include "journal/upkeep.h"

namespace shmbus::journal {

std::string words_of(int error) { return std::strerror(error); }

std::uint64_t Core::now_seconds() const {
    return options.now_seconds ? options.now_seconds() : base::realtime_ns() / 1'000'000'000U;
}

namespace {

[[nodiscard]] std::uint64_t uptime_seconds(const Options& options) {
    return options.uptime_seconds ? options.uptime_seconds()
                                  : base::clock_ns(CLOCK_BOOTTIME) / 1'000'000'000U;
}

}  // namespace

void Core::start_clock(std::uint64_t own_seconds) {
    own_from = own_seconds;
    uptime_from = uptime_seconds(options);
}

std::uint64_t Core::own_seconds() const { return own_from + uptime_seconds(options) - uptime_from; }

std::uint64_t Core::random() const {
    return options.random ? options.random() : base::random_u64();
}

SegmentHead Core::next_segment_head() const {
    SegmentHead head;
    head.journal_id = superblock.journal_id;
    head.number = head.covers_to = newest_segment + 1;
    head.salt = random();
    head.file_bytes = segment_bytes();
    return head;
}

Feed* Core::feed(Endpoint endpoint) {
    const auto found = feeds.find(endpoint);
    if (found != feeds.end()) return &found->second;
    const auto settled = ledger.endpoints.find(endpoint);
    if (settled == ledger.endpoints.end()) return nullptr;
    Cursor cursor(superblock.journal_id, options.read_ahead_bytes);
    return &feeds
                .try_emplace(endpoint, endpoint, std::move(cursor), settled->second,
                             Feed::Limits{options.most_handed_out, options.most_ranges})
                .first->second;
}

struct Journal::Inside {
    Inside(Storage& storage, const Options& options)
        : core(storage, options), batch(core), upkeep(core) {}

    void open();
    void sync_everything();
    void make_new();
    void take_over(Recovered& recovered);
    void begin_service();
    void accept_losses();

    Core core;
    OpenBatch batch;
    Upkeep upkeep;
};

namespace {

[[noreturn]] void fail(Storage& storage, const char* tried, int error, const char* helps) {
    throw SetupError{tried, storage.path_of(""), error, helps};
}

void check_options(Storage& storage, const Options& options) {
    if (options.segment_bytes % block_bytes != 0 || options.segment_bytes < 8 * block_bytes ||
        options.segment_bytes > std::uint64_t{4} << 30)
        fail(storage, "making a journal", 0, "a segment has 32 KiB to 4 GiB, a multiple of 4 KiB");
}

}  // namespace

// What a killed daemon had written may be in memory only. It must be on disk before it is served,
// or a power cut could take back what somebody has seen.
void Journal::Inside::sync_everything() {
    Storage& storage = core.storage;
    static constexpr const char* helps = "the disk does not answer; see the kernel's log";
    if (const int error = storage.sync_directory())
        fail(storage, "syncing the journal's directory", error, helps);
    std::vector<std::string> names;
    if (const int error = storage.list(names))
        fail(storage, "listing the journal's directory", error, helps);
    for (const std::string& name : names) {
        if (!name.starts_with(segment_prefix) && !name.starts_with(CheckpointFiles::prefix) &&
            name != SuperblockFile::name)
            continue;
        int error = 0;
        const auto file = storage.open(name, error);
        if (!file)
            throw SetupError{"opening a file of the journal", storage.path_of(name), error,
                             "it must be a regular file of this user that nobody else may write"};
        if ((error = file->sync()) != 0)
            throw SetupError{"syncing a file of the journal", storage.path_of(name), error, helps};
        static_cast<void>(file->forget_cached());
    }
}

void Journal::Inside::make_new() {
    core.superblock.journal_id = core.random();
    core.superblock.segment_bytes = core.options.segment_bytes;
    core.superblock.end.chain = crc32c(0, bytes_of(core.superblock.journal_id));
    core.superblock.seconds = core.now_seconds();
    core.start_clock(core.superblock.seconds);
    if (const int error = SuperblockFile::make(core.storage, core.superblock))
        fail(core.storage, "making a journal", error,
             "the directory must be on a writable file system with some room");
    core.superblock.generation = 2;
    core.end = core.superblock.end;
    core.current_is_finished = true;
    core.why_next = SegmentBegin::Why::first;
}

void Journal::Inside::take_over(Recovered& recovered) {
    core.superblock = recovered.superblock;
    core.ledger = std::move(recovered.ledger);
    // A journal without a batch has been made and no more. A second later than the last batch, so
    // that what comes now is told from what was known before.
    core.start_clock(core.ledger.seconds != 0 ? core.ledger.seconds + 1 : core.superblock.seconds);
    core.end = recovered.report.end;
    core.newest_segment = recovered.newest_segment;
    core.files.insert(recovered.files.begin(), recovered.files.end());
    core.checkpoints = recovered.checkpoints;
    core.newest_checkpoint = recovered.newest_checkpoint;
    const auto open_segment = [&](std::uint64_t number) {
        std::vector<Damage> ignored;
        SegmentFile file =
            look_at_segment(core.storage, number, core.superblock.journal_id, ignored);
        return file.head ? Spare{*file.head, std::move(file.file)} : Spare{};
    };
    for (const std::uint64_t number : recovered.spares)
        if (Spare spare = open_segment(number); spare.file) core.spares.push_back(std::move(spare));
    // A log that was closed in peace goes on where it stopped; any other in a fresh segment, so
    // that what stands behind its end can never count again.
    core.current_is_finished = true;
    core.why_next = core.end.number == 0 ? SegmentBegin::Why::first : SegmentBegin::Why::recovered;
    const auto segment = core.ledger.segments.find(core.end.number);
    if (!core.report.was_clean || segment == core.ledger.segments.end() || segment->second.closed)
        return;
    core.current = open_segment(core.end.number);
    core.current_is_finished = core.current.file == nullptr;
    if (!core.current_is_finished) core.why_next = SegmentBegin::Why::full;
}

void Journal::Inside::accept_losses() {
    for (const Range& range : core.options.accepted_losses.all()) {
        if (core.ledger.accepted_losses.covers(range)) continue;
        RecordHead head;
        head.kind = Kind::loss;
        head.first = range.first;
        head.second = range.last;
        if (batch.append(head, {}) != Outcome::ok)
            core.stop("there is no room to write down that a loss was accepted");
    }
}

void Journal::Inside::begin_service() {
    if (const int error = core.superblock_file.open(core.storage))
        fail(core.storage, "opening the journal's superblock", error, "see the system's answer");
    // A new journal has all its room from the first. For one that is taken up again somebody waits:
    // what it has left will do to begin with, and the rest is made while it serves.
    const std::size_t spares = core.report.is_new ? Upkeep::wanted_spares : 1;
    upkeep.make_spares(spares);
    accept_losses();
    // Says where the log ended; without room for that it is said with the first batch.
    if (core.current_is_finished || !batch.is_empty())
        if (!core.spares.empty() || !core.current_is_finished)
            static_cast<void>(batch.commit(true));
    upkeep.make_spares(spares);
    static_cast<void>(upkeep.write_superblock(true));
    if (const int error = CheckpointFiles::reserve(core.storage, 0))
        core.trouble = "reserving room for a checkpoint: " + words_of(error);
}

void Journal::Inside::open() {
    Storage& storage = core.storage;
    check_options(storage, core.options);
    if (const int error = storage.lock())
        fail(storage, "locking the journal", error,
             error == EWOULDBLOCK ? "another daemon uses it"
                                  : "it must be this user's, on a writable disk that answers");
    sync_everything();
    Recovered recovered = recover(storage, core.options.ledger, Depth::since_checkpoint,
                                  core.options.accepted_losses);
    core.report = recovered.report;
    for (const std::string& name : recovered.leftovers) {
        if (core.report.stops_service()) break;
        if (const int error = storage.unlink(name))
            fail(storage, "removing an unfinished file of the journal", error,
                 "the directory must be writable");
        if (const auto number = number_of(name, segment_prefix))
            std::erase(recovered.files, *number);
    }
    if (recovered.report.is_new) {
        make_new();
    } else {
        take_over(recovered);
    }
    if (core.report.stops_service()) {
        core.stop("acknowledged records are damaged or missing, and nobody has accepted that:\n" +
                  core.report.text());
        return;
    }
    begin_service();
}

Journal::Journal(Storage& storage, const Options& options) : inside_(new Inside(storage, options)) {
    inside_->open();
}

Journal::~Journal() = default;

void Journal::close() {
    Core& core = inside_->core;
    // In a segment that is finished something may stand behind the end.
    if (core.stopped.empty() && inside_->batch.is_empty() && !core.current_is_finished)
        static_cast<void>(inside_->upkeep.write_superblock(true, true));
    core.stop("it was closed");
}

const Report& Journal::report() const noexcept { return inside_->core.report; }
const std::string& Journal::why_stopped() const noexcept { return inside_->core.stopped; }
const Ledger& Journal::ledger() const noexcept { return inside_->core.ledger; }

Status Journal::status() const {
    const Core& core = inside_->core;
    Status status;
    status.durable_lsn = core.end.lsn;
    for (const auto& [number, segment] : core.ledger.segments) {
        status.journal_bytes += segment.file_bytes;
        status.live_bytes += core.ledger.live_bytes(segment);
    }
    status.journal_bytes += core.spares.size() * core.segment_bytes();
    status.segments = static_cast<std::uint32_t>(core.ledger.segments.size());
    status.spares = static_cast<std::uint32_t>(core.spares.size());
    status.checkpoint_lsn = core.checkpoints.empty() ? 0 : core.checkpoints.back().place.lsn;
    // A message names its endpoints beside it, at most as many as 64 KiB name.
    const std::uint64_t quarter = core.segment_bytes() / 4;
    status.most_payload_bytes = quarter - std::min<std::uint64_t>(quarter / 2, 65'536);
    status.failed_writes = core.failed_writes;
    status.ids_pushed_out = core.ledger.ids.pushed_out();
    status.trouble = core.trouble;
    return status;
}

Appended Journal::publish(const Message& message) { return inside_->batch.publish(message); }

Outcome Journal::settle(Endpoint endpoint, std::uint64_t lsn) {
    return inside_->batch.settle(endpoint, lsn);
}

Outcome Journal::put(ItemKey key, std::span<const std::byte> bytes) {
    RecordHead head;
    head.kind = Kind::item;
    head.type = key.type;
    head.first = key.key;
    return inside_->batch.append(head, bytes);
}

Outcome Journal::erase(ItemKey key) {
    RecordHead head;
    head.kind = Kind::erase;
    head.type = key.type;
    head.first = key.key;
    return inside_->batch.append(head, {});
}

Outcome Journal::forget(Endpoint endpoint) {
    RecordHead head;
    head.kind = Kind::forget;
    head.first = endpoint;
    return inside_->batch.append(head, {});
}

Outcome Journal::up_to(std::uint64_t lane, std::uint64_t position) {
    return inside_->batch.up_to(lane, position);
}

Outcome Journal::lane_gone(std::uint64_t lane) {
    RecordHead head;
    head.kind = Kind::lane_gone;
    head.first = lane;
    return inside_->batch.append(head, {});
}

bool Journal::takes_messages() const { return inside_->batch.takes_messages(); }
int Journal::spare_error() const noexcept { return inside_->upkeep.spare_error(); }
Journal::Mark Journal::mark() const noexcept { return inside_->batch.mark(); }
void Journal::take_back(const Mark& to) { inside_->batch.take_back(to); }
Committed Journal::commit() {
    Core& core = inside_->core;
    try {
        return inside_->batch.commit();
    } catch (const std::bad_alloc&) {
        // Anywhere in it. So short that it takes no memory either.
        core.stop("no memory left");
        return {.outcome = Outcome::stopped, .why = core.stopped};
    }
}

bool Journal::is_settled(Endpoint endpoint, std::uint64_t lsn) const {
    const Feed* const feed = inside_->core.feed(endpoint);
    return feed == nullptr || feed->is_settled(lsn);
}

bool Journal::was_seen(MessageId id) const { return inside_->core.ledger.ids.contains(id); }

bool Journal::is_doubted(MessageId id) const { return inside_->core.ledger.is_doubted(id); }

bool Journal::is_doubted_lane(std::uint64_t lane) const {
    return inside_->core.ledger.is_doubted_lane(lane);
}

std::uint64_t Journal::consumed_of(std::uint64_t lane) const {
    return inside_->batch.consumed_of(lane);
}

std::uint64_t Journal::backlog(Endpoint endpoint) const {
    return inside_->core.ledger.backlog(endpoint);
}

Next Journal::next(Endpoint endpoint, Delivery& delivery) {
    Core& core = inside_->core;
    Feed* const feed = core.feed(endpoint);
    if (feed == nullptr || core.report.stops_service()) return Next::nothing;
    if (feed->is_full()) return Next::full;
    Cursor::Found found;
    switch (feed->next(core.storage, core.ledger, core.end, found)) {
        case Cursor::Answer::end:
            return Next::nothing;
        case Cursor::Answer::unreadable:
            core.trouble = "reading a message back: " + words_of(feed->error());
            return Next::unreadable;
        case Cursor::Answer::damaged:
            core.report.damages.push_back(feed->damage());
            core.stop("a message cannot be read back: " + feed->damage().text());
            return Next::damaged;
        case Cursor::Answer::record:
            break;
    }
    delivery.lsn = found.head.lsn;
    delivery.type = found.head.type;
    delivery.id = {found.head.first, found.head.second};
    delivery.payload = found.payload;
    return Next::message;
}

bool Journal::hand_out(Endpoint endpoint, std::uint64_t lsn) {
    Core& core = inside_->core;
    Feed* const feed = core.feed(endpoint);
    if (feed == nullptr || feed->is_full() || lsn <= core.ledger.batch_begin_lsn) return false;
    if (feed->caught_up_before != core.ledger.batch_begin_lsn) {
        if (feed->handed_out_to() < core.ledger.last_before_for(endpoint)) return false;
        feed->caught_up_before = core.ledger.batch_begin_lsn;
    }
    feed->hand_out(lsn);
    return true;
}

void Journal::begin_again(Endpoint endpoint) {
    base::check(inside_->batch.is_empty(), "a feed begins again between two batches");
    inside_->core.feeds.erase(endpoint);
}

bool Journal::maintain(bool idle) { return inside_->upkeep.step(idle, !inside_->batch.is_empty()); }

Report inspect(Storage& storage, const OnRecord& on_record) {
    return recover(storage, {}, Depth::everything, {}, on_record).report;
}

}  // namespace shmbus::journal
