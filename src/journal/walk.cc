// From batch to batch.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/walk.h"

#include <algorithm>

namespace shmbus::journal {

namespace {

[[nodiscard]] bool takes_lsn(const RecordHead& head) noexcept {
    return head.kind != Kind::begin && head.kind != Kind::batch_end;
}

[[nodiscard]] std::vector<std::byte> all_of(const SegmentFile& file, std::uint64_t from,
                                            std::uint64_t to) {
    std::vector<std::byte> bytes(to > from ? to - from : 0);
    file.read(bytes, from);
    return bytes;
}

[[nodiscard]] std::uint64_t behind(std::uint64_t offset, const RecordHead& head) noexcept {
    return offset + record_bytes(head.payload_bytes);
}

}  // namespace

Walk::Walk(Ledger& ledger, Report& report, const std::map<std::uint64_t, SegmentFile>& files,
           Place begin, const Known& known)
    : ledger_(ledger), report_(report), files_(files), place_(begin), known_(known) {}

Place Walk::run() {
    // Ends: the segment's number grows with every turn.
    while (step()) continue;
    look_for_missing();
    return place_;
}

bool Walk::step() {
    const auto here = files_.find(place_.number);
    const bool is_merged = here != files_.end() && here->second.is_merged();
    if (is_merged) {
        check_merged(here->second);
        place_ = here->second.head->end;
    }
    const Next next = find_next();
    const bool limited = next.previous != nullptr && next.previous->number == place_.number;
    if (here != files_.end() && here->second.head && !is_merged) {
        evidence_.reset();
        walk_segment(here->second, limited ? next.previous : nullptr);
        if (limited && known_.deep && next.file->begin &&
            next.file->begin->why == SegmentBegin::Why::full)
            check_behind(here->second, next.previous->offset);
    }
    if (next.file == nullptr) return false;
    if (next.previous == nullptr) {
        // What it follows stands in its damaged first batch; the numbers of its records tell.
        place_.number = next.file->number;
        place_.offset = first_batch_offset;
        return true;
    }
    if (next.previous->lsn > place_.lsn)
        lose_to(next.previous->lsn, place_.offset,
                limited ? "records are missing at the segment's end"
                        : "a segment or its head is missing");
    else if (chain_is_known_ && next.previous->chain != place_.chain)
        note(place_.offset, "the next segment follows other records than stand here");
    place_ = {next.file->number, first_batch_offset, next.previous->lsn, next.previous->chain, 0};
    chain_is_known_ = true;
    return true;
}

void Walk::look_for_missing() {
    if (known_.synced.lsn > place_.lsn) {
        lose_to(known_.synced.lsn, place_.offset, "the superblock knows of records that are gone");
        if (known_.synced.number == place_.number)
            place_.offset = std::max(place_.offset, known_.synced.offset);
    }
    for (std::uint64_t number = place_.number + 1; number <= known_.newest_segment; ++number)
        if (!files_.contains(number)) {
            lose_to(place_.lsn + 1, place_.offset,
                    "segment " + std::to_string(number) + " is missing; what it held is not known");
            return;
        }
    for (auto at = files_.lower_bound(place_.number); at != files_.end(); ++at)
        if (!at->second.head) {
            lose_to(place_.lsn + 1, place_.offset,
                    "segment " + std::to_string(at->first) + " cannot be read without its head");
            return;
        }
}

// The segment that says that it follows this one; after a failed write there may be a void one in
// between. Else one that cannot say it any more. When segments are missing, the first later one.
Walk::Next Walk::find_next() {
    Next exact;
    Next later;
    for (auto at = files_.upper_bound(place_.number); at != files_.end(); ++at) {
        const Place* const previous = at->second.previous();
        if (previous == nullptr) continue;
        if (previous->number == place_.number) exact = {&at->second, previous};
        if (later.file == nullptr) later = {&at->second, previous};
    }
    if (exact.file != nullptr) return exact;
    for (auto at = files_.upper_bound(place_.number);
         at != files_.end() && (later.file == nullptr || at->first < later.file->number); ++at)
        if (was_begun(at->second)) return {&at->second, nullptr};
    return later;
}

bool Walk::was_begun(const SegmentFile& file) {
    if (!file.head || file.is_merged() || file.begin) return false;
    for (const auto& [number, other] : files_)
        if (other.previous() != nullptr && other.previous()->number == file.number) return true;
    if (known_.synced.number == file.number) return true;
    // Closed in peace before it: then it holds nothing that counts.
    if (known_.is_clean && known_.synced.number == place_.number) return false;
    const std::vector<std::byte> bytes = all_of(file, first_batch_offset, file.data_end());
    const Stretch stretch{file.seed(), bytes, first_batch_offset};
    for (std::uint64_t at = first_batch_offset; at < stretch.end(); at += block_bytes)
        if (const auto head = head_at(stretch, at); head && takes_lsn(*head) && head->lsn > 0)
            if (read_batch(stretch, at, head->lsn - 1).valid) return true;
    return false;
}

void Walk::check_behind(const SegmentFile& file, std::uint64_t end) {
    window_.open(file, end, file.data_end());
    if (!window_.is_zero_from(end))
        note(end, "something stands behind the end of a closed segment");
}

void Walk::follow(const SegmentFile& file, std::uint64_t to) {
    window_.open(file, place_.offset, to);
    while (place_.offset < to) {
        const Batch batch = window_.batch(place_.offset, place_.lsn);
        if (!batch.valid || (chain_is_known_ && batch.tail.previous_chain != place_.chain)) return;
        fold(window_.stretch(), batch);
    }
}

void Walk::walk_segment(const SegmentFile& file, const Place* limit) {
    const std::uint64_t to =
        limit != nullptr ? std::min(limit->offset, file.data_end()) : file.data_end();
    follow(file, to);
    // What stands there instead may be told by anything behind it.
    const std::uint64_t from = place_.offset;
    const std::vector<std::byte> bytes = all_of(file, from, to);
    const Stretch stretch{file.seed(), bytes, from};
    // Ends: every turn moves the offset on, or leaves.
    while (place_.offset < to) {
        const Batch batch = read_batch(stretch, place_.offset, place_.lsn);
        if (batch.valid && (!chain_is_known_ || batch.tail.previous_chain == place_.chain)) {
            fold(stretch, batch);
        } else if (batch.valid) {
            note(place_.offset, "a batch does not follow the one before it");
            fold(stretch, batch);
        } else if (limit != nullptr || was_synced(stretch, batch)) {
            salvage(stretch, batch, limit);
        } else {
            count_torn(stretch, place_.offset);
            return;
        }
    }
    tail_is_zero_ = limit == nullptr;
}

void Walk::fold(const Stretch& stretch, const Batch& batch) {
    for (std::uint64_t at = batch.begin; at < batch.end;) {
        const auto head = read_as<RecordHead>(stretch.bytes, at - stretch.begin);
        fold_record(stretch, at, head);
        at = behind(at, head);
    }
    place_.offset = batch.end;
    place_.lsn = batch.last_lsn;
    place_.chain = batch.chain;
    chain_is_known_ = true;
    ++report_.batches;
}

void Walk::fold_record(const Stretch& stretch, std::uint64_t offset, const RecordHead& head) {
    if (head.kind == Kind::begin) begin_segment(stretch, offset, head);
    if (head.kind == Kind::batch_end && place_.lsn >= known_.lsn)
        ledger_.batch_done(place_, read_as<BatchEnd>(payload_at(stretch, offset, head)).seconds);
    if (!takes_lsn(head)) return;
    show(stretch, offset, head);
    ++report_.records;
    if (head.lsn <= known_.lsn) return;
    blame(head);
    if (!ledger_.apply(place_.number, head, payload_at(stretch, offset, head)))
        lose({head.lsn, head.lsn}, offset, "a record's content makes no sense");
}

void Walk::show(const Stretch& stretch, std::uint64_t offset, const RecordHead& head) const {
    if (known_.on_record != nullptr && *known_.on_record)
        (*known_.on_record)(place_.number, offset, head, payload_at(stretch, offset, head));
}

void Walk::begin_segment(const Stretch& stretch, std::uint64_t offset, const RecordHead& head) {
    if (ledger_.segments.contains(place_.number)) return;
    const auto begin = read_as<SegmentBegin>(payload_at(stretch, offset, head));
    ledger_.begin_segment(*files_.at(place_.number).head, begin);
}

void Walk::keep(const Stretch& stretch, const std::vector<Kept>& kept) {
    for (const Kept& record : kept) fold_record(stretch, record.offset, record.head);
}

void Walk::salvage(const Stretch& stretch, const Batch& batch, const Place* limit) {
    const std::uint64_t end = limit != nullptr ? limit->offset : stretch.end();
    std::vector<Kept> kept;
    bool lost_the_way = false;
    std::uint64_t bad_offset = batch.wrong_offset;
    // Ends: every turn goes on by eight bytes or more.
    for (std::uint64_t at = batch.begin; at < end;) {
        const auto head = head_at(stretch, at);
        const std::uint64_t due = place_.lsn + 1;
        const bool fits = head && (takes_lsn(*head) ? head->lsn >= due : head->lsn >= place_.lsn) &&
                          behind(at, *head) <= stretch.end();
        if (!fits) {
            if (!lost_the_way) bad_offset = at;
            lost_the_way = true;
            at += 8;
            continue;
        }
        // What is missing before it can be told by its number.
        const std::uint64_t before = takes_lsn(*head) ? head->lsn - 1 : head->lsn;
        if (before >= due)
            lose_to(before, bad_offset, "records are damaged");
        else if (lost_the_way)
            note(bad_offset, "the begin of a segment or the end of a batch is damaged");
        const bool may_begin = at % block_bytes == 0 && at > batch.begin && lost_the_way;
        if (may_begin && takes_lsn(*head)) {
            keep(stretch, kept);
            place_.offset = at;
            chain_is_known_ = false;
            return;
        }
        const bool right = payload_is_right(stretch, at, *head);
        if (takes_lsn(*head)) {
            if (right) kept.push_back({*head, at});
            if (!right) lose_to(head->lsn, at, "a record's payload is damaged");
            if (right) place_.lsn = head->lsn;
        } else if (head->kind == Kind::begin) {
            if (right) kept.push_back({*head, at});
            if (!right) note(at, "a segment's begin is damaged");
        } else {
            if (!right) note(at, "the end of a batch is damaged; its records are whole");
            kept.push_back({*head, at});
            if (!right) kept.pop_back();
            keep(stretch, kept);
            place_.offset = behind(at, *head);
            chain_is_known_ = right;
            if (right) place_.chain = read_as<BatchEnd>(payload_at(stretch, at, *head)).chain;
            return;
        }
        lost_the_way = false;
        at = behind(at, *head);
    }
    // Nothing whole behind it: what is known to have been synced is gone.
    const std::uint64_t last = limit != nullptr ? limit->lsn : evidence_.value_or(0);
    if (last > place_.lsn)
        lose_to(last, bad_offset, "records are damaged");
    else
        note(bad_offset, "the end of a batch is damaged; its records are whole");
    keep(stretch, kept);
    place_.offset = limit != nullptr ? limit->offset
                    : known_.synced.number == place_.number
                        ? std::max(known_.synced.offset, batch.begin + block_bytes)
                        : end;
    chain_is_known_ = false;
    if (limit != nullptr) place_.chain = limit->chain;
}

bool Walk::was_synced(const Stretch& stretch, const Batch& batch) {
    if (!evidence_) {
        evidence_ = known_.synced.number == place_.number ? known_.synced.lsn : 0;
        for (std::uint64_t at = base::round_up(batch.begin, block_bytes); at < stretch.end();
             at += block_bytes) {
            const auto head = head_at(stretch, at);
            if (!head || !takes_lsn(*head) || head->lsn == 0) continue;
            const Batch later = read_batch(stretch, at, head->lsn - 1);
            if (later.valid) evidence_ = std::max(*evidence_, later.tail.durable_before);
        }
    }
    return *evidence_ >= batch.first_lsn;
}

void Walk::count_torn(const Stretch& stretch, std::uint64_t from) {
    std::uint64_t last = from;
    for (std::uint64_t at = from; at < stretch.end(); at += block_bytes) {
        const std::uint64_t bytes = std::min(block_bytes, stretch.end() - at);
        if (!all_zero(stretch.bytes.subspan(at - stretch.begin, bytes))) last = at + bytes;
    }
    report_.torn_bytes += last - from;
    tail_is_zero_ = last == from;
}

void Walk::lose_to(std::uint64_t last, std::uint64_t offset, const std::string& what) {
    lose({place_.lsn + 1, last}, offset, what);
    place_.lsn = last;
}

void Walk::lose(Range lsns, std::uint64_t offset, const std::string& what) {
    Damage damage;
    damage.loses = true;
    damage.file = numbered_name(segment_prefix, place_.number);
    damage.offset = offset;
    damage.lsns = lsns;
    damage.what = what;
    report_.damages.push_back(std::move(damage));
}

void Walk::note(std::uint64_t offset, const std::string& what) {
    Damage damage;
    damage.file = numbered_name(segment_prefix, place_.number);
    damage.offset = offset;
    damage.lsns = {1, 0};
    damage.what = what;
    report_.damages.push_back(std::move(damage));
}

// A gap in an audience's own numbers tells whose messages a hole took.
void Walk::blame(const RecordHead& head) {
    if (head.kind != Kind::publish) return;
    const auto audience = ledger_.audiences.find(head.number);
    if (audience == ledger_.audiences.end()) return;
    if (head.sequence == static_cast<std::uint32_t>(audience->second.sequence + 1)) return;
    for (Damage& damage : report_.damages) {
        if (!damage.loses || damage.lsns.first <= audience->second.last_lsn) continue;
        for (const Endpoint endpoint : audience->second.endpoints)
            if (std::ranges::find(damage.endpoints, endpoint) == damage.endpoints.end())
                damage.endpoints.push_back(endpoint);
    }
}

void Walk::check_merged(const SegmentFile& file) {
    const Place behind_it = place_;
    place_.number = file.number;
    window_.open(file, first_batch_offset, file.data_end());
    std::uint64_t lsn = file.head->previous.lsn;
    std::uint64_t records = 0;
    std::uint64_t at = first_batch_offset;
    while (at < file.head->content_end) {
        const Batch batch = window_.batch(at, lsn, Numbering::rising);
        const Stretch stretch = window_.stretch();
        if (!batch.valid) {
            place_.lsn = batch.wrong_lsn - 1;
            lose_to(file.head->end.lsn, batch.wrong_offset, "a merged segment: " + batch.why);
            break;
        }
        records += batch.count;
        for (std::uint64_t record = batch.begin; record < batch.end;) {
            const auto head = read_as<RecordHead>(stretch.bytes, record - stretch.begin);
            if (takes_lsn(head)) show(stretch, record, head);
            record = behind(record, head);
        }
        lsn = batch.last_lsn;
        at = batch.end;
    }
    if (at == file.head->content_end && records != file.head->record_count)
        note(at, "a merged segment holds another number of records than its head says");
    if (at == file.head->content_end && !window_.is_zero_from(at))
        note(at, "something stands behind the end of a merged segment");
    report_.records += records;
    place_ = behind_it;
}

}  // namespace shmbus::journal
