// From batch to batch.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/walk.h"

#include <algorithm>

namespace shmbus::journal {

namespace {

[[nodiscard]] std::vector<std::byte> all_of(const SegmentFile& file, std::uint64_t from,
                                            std::uint64_t to) {
    std::vector<std::byte> bytes(to > from ? to - from : 0);
    file.read(bytes, from);
    return bytes;
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
    window_.open(file, first_batch_offset, file.data_end());
    for (std::uint64_t at = first_batch_offset; at < file.data_end(); at += block_bytes)
        if (const auto head = window_.head(at); head && takes_lsn(*head) && head->lsn > 0)
            if (window_.batch(at, head->lsn - 1).valid) return true;
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
    // Where a process was killed and no machine there are zeros as a rule, which is seen without
    // memory for all of it. What is known to have been there look_for_missing() misses.
    if (limit == nullptr) {
        window_.open(file, place_.offset, to);
        tail_is_zero_ = window_.is_zero_from(place_.offset);
        if (tail_is_zero_) return;
    }
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
    begin_batch(batch.tail);
    for (std::uint64_t at = batch.begin; at < batch.end;) {
        const auto head = read_as<RecordHead>(stretch.bytes, at - stretch.begin);
        fold_record(stretch, at, head);
        at = end_of(at, head);
    }
    place_.offset = batch.end;
    place_.lsn = batch.last_lsn;
    place_.chain = batch.chain;
    chain_is_known_ = true;
    ++report_.batches;
}

// A checkpoint knows the time of those that it holds.
void Walk::begin_batch(const BatchEnd& end) {
    if (place_.lsn >= known_.lsn) ledger_.batch_begins(end.seconds);
}

void Walk::fold_record(const Stretch& stretch, std::uint64_t offset, const RecordHead& head) {
    if (head.kind == Kind::begin) begin_segment(stretch, offset, head);
    if (head.kind == Kind::batch_end && place_.lsn >= known_.lsn) ledger_.batch_done(place_);
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

// Batch by batch, and behind the first that is damaged record by record.
void Walk::check_merged(const SegmentFile& file) {
    const Place behind_it = place_;
    place_ = {file.number, first_batch_offset, file.head->previous.lsn, 0, 0};
    const std::uint64_t end = file.head->content_end;
    const std::uint64_t before = report_.records;
    window_.open(file, first_batch_offset, file.data_end());
    bool is_whole = true;
    while (is_whole && place_.offset < end) {
        const Batch batch = window_.batch(place_.offset, place_.lsn, Numbering::rising);
        is_whole = batch.valid;
        if (is_whole) show_merged(window_.stretch(), batch);
    }
    if (!is_whole) {
        const std::vector<std::byte> bytes = all_of(file, place_.offset, end);
        salvage_merged({file.seed(), bytes, place_.offset}, file.head->end.lsn);
    } else if (report_.records - before != file.head->record_count) {
        note(end, "a merged segment holds another number of records than its head says");
    }
    window_.open(file, end, file.data_end());
    if (!window_.is_zero_from(end))
        note(end, "something stands behind the end of a merged segment");
    place_ = behind_it;
}

void Walk::show_merged(const Stretch& stretch, const Batch& batch) {
    for (std::uint64_t at = batch.begin; at < batch.end;) {
        const auto head = read_as<RecordHead>(stretch.bytes, at - stretch.begin);
        if (takes_lsn(head)) show(stretch, at, head);
        at = end_of(at, head);
    }
    report_.records += batch.count;
    place_.offset = batch.end;
    place_.lsn = batch.last_lsn;
}

}  // namespace shmbus::journal
