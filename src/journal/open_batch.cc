// Appending and committing.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/open_batch.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "base/clock.h"
#include "base/check.h"

namespace shmbus::journal {

namespace {

[[nodiscard]] constexpr std::uint64_t bytes_of_acknowledgement(std::uint64_t ranges) noexcept {
    return sizeof(RecordHead) + 8 + ranges * sizeof(Range);
}

// So many more can be added without asking for memory.
template <class T>
void make_place(std::vector<T>& list, std::size_t more) {
    const std::size_t needed = list.size() + more;
    if (needed > list.capacity()) list.reserve(std::max(needed, 2 * list.capacity()));
}

}  // namespace

OpenBatch::OpenBatch(Core& core) : core_(core) { clear(); }

OpenBatch::~OpenBatch() { wait_for_early_writes(); }

void OpenBatch::clear() {
    bytes_.resize(begin_bytes);
    records_ = 0;
    settled_.clear();
    settling_.clear();
    settled_bytes_ = 0;
    positions_.clear();
    moving_.clear();
    audiences_.clear();
    sequences_.clear();
    latest_.audience = 0;
}

bool OpenBatch::is_empty() const noexcept {
    return records_ == 0 && settled_.empty() && positions_.empty();
}

// What the batch takes on disk with `more` bytes of records, a segment's begin included.
std::uint64_t OpenBatch::total_bytes(std::uint64_t more) const noexcept {
    const std::uint64_t positions =
        moving_.empty() ? 0 : record_bytes(moving_.size() * 2 * sizeof(std::uint64_t));
    return base::round_up(bytes_.size() + more + settled_bytes_ + positions + least_end_bytes,
                          block_bytes);
}

bool OpenBatch::needs_segment(std::uint64_t more) const noexcept {
    return core_.current_is_finished || core_.end.offset + total_bytes(more) > core_.data_end();
}

// Messages leave the last spare segment alone: when the disk is full, what makes room on it
// (settling, forgetting) must still be written down.
Outcome OpenBatch::room_for(std::uint64_t bytes, Class what) const {
    if (!core_.stopped.empty()) return Outcome::stopped;
    if (bytes > core_.segment_bytes() / 4) return Outcome::too_large;
    const std::uint64_t total = total_bytes(bytes);
    // A message may be longer than a batch usually is: then it is the only record. Before it there
    // may be what was settled and read, which without it is bounded like anything else.
    const std::uint64_t most = what == Class::message && records_ == 0
                                   ? core_.data_end() - first_batch_offset
                                   : core_.most_batch();
    if (!is_empty() && total > most) return Outcome::batch_full;
    const std::uint64_t left =
        core_.spares.size() + (needs_segment(bytes) ? 0 : 1);  // the current one included
    return left > (what == Class::message ? 1U : 0U) ? Outcome::ok : Outcome::no_space;
}

bool OpenBatch::takes_messages() const {
    const Outcome outcome = room_for(record_bytes(0) + record_bytes(sizeof(Endpoint)),
                                     Class::message);
    return outcome == Outcome::ok || outcome == Outcome::batch_full;
}

// Where there is no memory it throws, as all that appends does, and the batch is as it was.
void OpenBatch::add(RecordHead head, std::span<const std::byte> payload,
                    std::span<const std::byte> before) {
    head.payload_bytes = static_cast<std::uint32_t>(before.size() + payload.size());
    head.lsn = core_.end.lsn + 1 + records_;
    const auto raw = bytes_of(head);
    keep_place(record_bytes(head.payload_bytes));
    ++records_;
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
    bytes_.insert(bytes_.end(), before.begin(), before.end());
    bytes_.insert(bytes_.end(), payload.begin(), payload.end());
    bytes_.resize(begin_bytes + base::round_up(bytes_.size() - begin_bytes, 8U));
}

Outcome OpenBatch::append(RecordHead head, std::span<const std::byte> payload) {
    const Outcome outcome = room_for(record_bytes(payload.size()), Class::upkeep);
    if (outcome == Outcome::ok) add(head, payload);
    return outcome;
}

std::uint32_t OpenBatch::audience_of(std::span<const Endpoint> to) {
    std::vector<Endpoint> sorted(to.begin(), to.end());
    std::ranges::sort(sorted);
    if (const std::uint32_t known = core_.ledger.find_audience(sorted)) return known;
    for (const auto& [endpoints, number] : audiences_)
        if (endpoints == sorted) return number;
    const std::uint32_t number =
        core_.ledger.next_audience + static_cast<std::uint32_t>(audiences_.size());
    RecordHead head;
    head.kind = Kind::audience;
    head.number = number;
    make_place(audiences_, 1);
    add(head, std::as_bytes(std::span(sorted)));
    audiences_.emplace_back(std::move(sorted), number);
    return number;
}

void OpenBatch::address(std::span<const Endpoint> to) {
    if (latest_.audience != 0 && std::ranges::equal(to, latest_.to)) return;
    latest_.audience = 0;
    const std::uint32_t number = audience_of(to);
    const auto known = core_.ledger.audiences.find(number);
    const std::uint32_t last =
        known == core_.ledger.audiences.end() ? 0 : known->second.sequence;
    latest_.sequence = &sequences_.try_emplace(number, last).first->second;
    latest_.to.assign(to.begin(), to.end());
    latest_.audience = number;
}

Appended OpenBatch::publish(const Message& message) {
    base::check(!message.to.empty(), "a message is published to somebody");
    const std::uint64_t bytes =
        record_bytes(message.head.size() + message.payload.size()) +
        record_bytes(message.to.size_bytes());
    if (const Outcome outcome = room_for(bytes, Class::message); outcome != Outcome::ok) {
        core_.messages_wait = core_.messages_wait || outcome == Outcome::no_space;
        return {outcome, 0};
    }
    RecordHead head;
    head.kind = Kind::publish;
    head.flags = message.keep_id ? keep_id : 0;
    head.type = message.type;
    address(message.to);
    head.number = latest_.audience;
    head.sequence = *latest_.sequence + 1;
    head.first = message.id.high;
    head.second = message.id.low;
    add(head, message.payload, message.head);
    *latest_.sequence = head.sequence;
    try {
        write_early();
    } catch (const std::bad_alloc&) {  // then it is written with the rest
    }
    return {Outcome::ok, core_.end.lsn + records_};
}

Outcome OpenBatch::settle(Endpoint endpoint, std::uint64_t lsn) {
    Feed* const feed = core_.feed(endpoint);
    if (feed == nullptr) return core_.stopped.empty() ? Outcome::ok : Outcome::stopped;
    Settling& own = settling_[endpoint];
    make_place(settled_, 1);
    if (!feed->settle(lsn)) return Outcome::ok;
    try {
        const bool is_first = own.count == 0;
        std::uint64_t ranges = is_first ? feed->range_count() : own.ranges + 1;
        // An upper bound until now, which is quickly had.
        if (ranges > most_ranges()) ranges = feed->settled().above.all().size();
        const std::uint64_t before = is_first ? 0 : bytes_of_acknowledgement(own.ranges);
        const std::uint64_t after = bytes_of_acknowledgement(ranges);
        Outcome outcome = room_for(after - std::min(after, before), Class::upkeep);
        if (ranges > most_ranges()) outcome = Outcome::too_large;
        if (outcome != Outcome::ok) {
            feed->take_back(lsn);
            return outcome;
        }
        settled_bytes_ += after - before;
        own.ranges = ranges;
    } catch (const std::bad_alloc&) {
        feed->take_back(lsn);
        throw;
    }
    settled_.emplace_back(endpoint, lsn);
    ++own.count;
    return Outcome::ok;
}

// In the record that tells of an endpoint, as long as any may be.
std::uint64_t OpenBatch::most_ranges() const noexcept {
    return (core_.segment_bytes() / 4 - bytes_of_acknowledgement(0)) / sizeof(Range);
}

Outcome OpenBatch::up_to(std::uint64_t lane, std::uint64_t position) {
    if (!core_.stopped.empty()) return Outcome::stopped;
    if (const auto known = moving_.find(lane); known != moving_.end()) {
        if (position <= known->second.position) return Outcome::ok;
    } else {
        // The head of the record that tells of all of them, and this one's place in it.
        const std::uint64_t bytes = sizeof(RecordHead) + 2 * sizeof(std::uint64_t);
        if (const Outcome outcome = room_for(bytes, Class::upkeep); outcome != Outcome::ok)
            return outcome;
    }
    make_place(positions_, 1);
    Moving& own = moving_[lane];
    positions_.push_back({lane, own.position});
    ++own.count;
    own.position = position;
    return Outcome::ok;
}

std::uint64_t OpenBatch::consumed_of(std::uint64_t lane) const {
    std::uint64_t position = 0;
    if (const auto found = core_.ledger.lanes.find(lane); found != core_.ledger.lanes.end())
        position = found->second.position;
    if (const auto found = moving_.find(lane); found != moving_.end())
        position = std::max(position, found->second.position);
    return position;
}

Journal::Mark OpenBatch::mark() const noexcept {
    return {bytes_.size(), records_, settled_.size(), positions_.size(), audiences_.size()};
}

void OpenBatch::take_back(const Journal::Mark& to) {
    // Sequences first: they are read off the records that go.
    for (std::uint64_t at = to.bytes; at < bytes_.size();) {
        const auto head = read_as<RecordHead>(bytes_, at);
        if (head.kind == Kind::publish) --sequences_[head.number];
        at += record_bytes(head.payload_bytes);
    }
    if (early_sums_ && to.bytes < early_sums_->made_to()) spoil_segment();
    bytes_.resize(to.bytes);
    records_ = to.records;
    while (settled_.size() > to.settled) {
        const auto [endpoint, lsn] = settled_.back();
        if (Feed* const feed = core_.feed(endpoint)) feed->take_back(lsn);
        if (--settling_[endpoint].count == 0) settling_.erase(endpoint);
        settled_.pop_back();
    }
    if (settled_.empty()) settled_bytes_ = 0;
    for (; positions_.size() > to.positions; positions_.pop_back()) {
        const auto own = moving_.find(positions_.back().lane);
        own->second.position = positions_.back().before;
        if (--own->second.count == 0) moving_.erase(own);
    }
    audiences_.resize(to.audiences);
    latest_.audience = 0;
}

void OpenBatch::add_settled() {
    for (const auto& [endpoint, settling] : settling_) {
        const Feed* const feed = core_.feed(endpoint);
        if (feed == nullptr || settling.count == 0) continue;
        const Settled settled = feed->settled();
        std::vector<std::byte> payload(8 + settled.above.all().size() * sizeof(Range));
        std::ranges::copy(bytes_of(settled.count), payload.begin());
        std::ranges::copy(std::as_bytes(std::span(settled.above.all())), payload.begin() + 8);
        RecordHead head;
        head.kind = Kind::acknowledge;
        head.first = endpoint;
        head.second = settled.low;
        add(head, payload);
    }
}

void OpenBatch::add_positions() {
    if (moving_.empty()) return;
    std::vector<std::uint64_t> list;
    for (const auto& [lane, own] : moving_) list.insert(list.end(), {lane, own.position});
    RecordHead head;
    head.kind = Kind::up_to;
    add(head, std::as_bytes(std::span(list)));
}

BatchEnd OpenBatch::finish(const Seed& seed, std::uint64_t begin, std::uint64_t offset) {
    BatchEnd tail;
    tail.first_lsn = core_.end.lsn + 1;
    tail.durable_before = core_.end.lsn;
    tail.seconds = core_.own_seconds();
    RecordHead last;
    last.lsn = core_.end.lsn + records_;
    last.number = static_cast<std::uint32_t>(records_);
    keep_place(block_bytes + least_end_bytes);
    if (early_sums_) return early_sums_->finish(bytes_, tail, last);
    return BatchSums(seed, begin, offset, core_.end.chain).finish(bytes_, tail, last);
}

void OpenBatch::write_early() {
    const std::uint64_t least = core_.options.early_write_bytes;
    const std::uint64_t most = core_.most_batch();
    if (!early_sums_) {
        // From here on it grows to `most`, or stays as long as it is.
        if (bytes_.size() < begin_bytes + least || needs_segment(0) ||
            core_.end.offset + most + block_bytes > core_.data_end())
            return;
        const SegmentHead& segment = core_.current.head;
        early_sums_.emplace(Seed(segment.journal_id, segment.number, segment.salt), begin_bytes,
                            core_.end.offset, core_.end.chain);
        early_to_ = begin_bytes;
        bytes_.reserve(begin_bytes + most + block_bytes);
    }
    if (bytes_.size() < early_to_ + least) return;
    early_sums_->make(bytes_, bytes_.size());
    const std::uint64_t to =
        begin_bytes + (bytes_.size() - begin_bytes) / block_bytes * block_bytes;
    core_.current.file->start_write(std::span(bytes_).subspan(early_to_, to - early_to_),
                                    core_.end.offset + early_to_ - begin_bytes);
    early_to_ = to;
}

// Before bytes_ grows by as much: early writes read from where the bytes are now.
void OpenBatch::keep_place(std::uint64_t more) {
    if (bytes_.size() + more > bytes_.capacity()) wait_for_early_writes();
    make_place(bytes_, more);
}

void OpenBatch::wait_for_early_writes() {
    if (!early_sums_) return;
    const int error = core_.current.file->finish_writes();
    if (early_error_ == 0) early_error_ = error;
}

void OpenBatch::spoil_segment() {
    wait_for_early_writes();
    early_sums_.reset();
    early_error_ = 0;
    core_.current_is_finished = true;
    core_.why_next = SegmentBegin::Why::failed;
}

void OpenBatch::take_segment() {
    core_.current = std::move(core_.spares.front());
    core_.spares.pop_front();
    core_.current_is_finished = false;
    const SegmentBegin begin{core_.end, core_.why_next, 0};
    RecordHead head;
    head.kind = Kind::begin;
    head.lsn = core_.end.lsn;
    head.payload_bytes = sizeof begin;
    std::memcpy(bytes_.data(), &head, sizeof head);
    std::memcpy(bytes_.data() + sizeof head, &begin, sizeof begin);
}

// Of a batch that is complete: what was not written early.
int OpenBatch::write_rest(std::span<const std::byte> all, std::uint64_t offset) {
    StorageFile& file = *core_.current.file;
    if (!early_sums_) {
        if (all.size() <= core_.options.early_write_bytes) return write_all(file, all, offset);
        file.start_write(all, offset);
        return file.finish_writes();
    }
    const std::uint64_t written = early_to_ - begin_bytes;
    file.start_write(all.subspan(written), offset + written);
    wait_for_early_writes();
    early_sums_.reset();
    return std::exchange(early_error_, 0);
}

int OpenBatch::write(bool fresh_segment) {
    const std::uint64_t records_end = bytes_.size();
    if (fresh_segment) {
        if (core_.spares.empty()) return ENOSPC;
        take_segment();
    }
    const std::uint64_t begin = fresh_segment ? 0 : begin_bytes;
    const std::uint64_t offset = fresh_segment ? first_batch_offset : core_.end.offset;
    const SegmentHead& segment = core_.current.head;
    const BatchEnd tail =
        finish(Seed(segment.journal_id, segment.number, segment.salt), begin, offset);
    const std::span<const std::byte> all = std::span(bytes_).subspan(begin);
    int error = write_rest(all, offset);
    const std::uint64_t written_ns = base::now_ns();
    if (error == 0) error = core_.current.file->sync();
    sync_ns_ = base::now_ns() - written_ns;
    core_.last_batch_bytes = all.size();
    if (error != 0) {
        // Nothing of it may be believed from here on, and no second sync would say the truth.
        core_.current_is_finished = true;
        core_.why_next = SegmentBegin::Why::failed;
        ++core_.failed_writes;
        bytes_.resize(records_end);
        return error;
    }
    const Place before = core_.end;
    core_.end = {segment.number, offset + all.size(), core_.end.lsn + records_, tail.chain, 0};
    core_.why_next = SegmentBegin::Why::full;
    core_.written_since_checkpoint += all.size();
    fold(begin, records_end, before, tail.seconds);
    return 0;
}

void OpenBatch::fold(std::uint64_t begin, std::uint64_t end, const Place& before,
                     std::uint64_t seconds) {
    Ledger& ledger = core_.ledger;
    ledger.batch_begin_lsn = before.lsn;
    ledger.batch_begins(seconds);
    for (std::uint64_t at = begin; at < end;) {
        const auto head = read_as<RecordHead>(bytes_, at);
        const auto payload =
            std::span<const std::byte>(bytes_).subspan(at + sizeof head, head.payload_bytes);
        if (head.kind == Kind::begin)
            ledger.begin_segment(core_.current.head, read_as<SegmentBegin>(payload));
        base::check(ledger.apply(core_.end.number, head, payload),
                    "the ledger understands what the journal wrote");
        if (head.kind == Kind::forget) core_.feeds.erase(head.first);
        at += record_bytes(head.payload_bytes);
    }
    const std::uint64_t offset = begin == 0 ? first_batch_offset : before.offset;
    ledger.batch_done({core_.end.number, offset, before.lsn, 0, 0});
    for (const auto& [endpoint, how_many] : settling_)
        if (Feed* const feed = core_.feed(endpoint)) feed->advance();
}

Committed OpenBatch::commit(bool even_if_empty) {
    Committed done;
    done.why = core_.stopped;
    if (!core_.stopped.empty()) return done.outcome = Outcome::stopped, done;
    if (is_empty() && !even_if_empty) return done;
    if (needs_segment(0) && core_.spares.empty()) return done.outcome = Outcome::no_space, done;
    const bool fresh_segment = needs_segment(0);
    base::check(!fresh_segment || !early_sums_, "what is written early fits into its segment");
    add_settled();
    add_positions();
    done.first_lsn = core_.end.lsn + 1;
    int error = write(fresh_segment);
    if (error != 0) {
        const std::string first = words_of(error);
        done.rewritten = true;
        error = write(true);
        if (error != 0)
            core_.stop("writing the journal failed (" + first +
                       "), and so did writing the same batch to a fresh segment (" +
                       words_of(error) +
                       "); what of it is on disk shows when the journal is "
                       "opened again, once the disk is well");
    }
    done.last_lsn = core_.end.lsn;
    done.bytes = core_.last_batch_bytes;
    done.sync_ns = sync_ns_;
    if (error != 0) {
        done.outcome = Outcome::stopped;
        done.why = core_.stopped;
        return done;
    }
    clear();
    return done;
}

}  // namespace shmbus::journal
