// Copying what is wanted, checking the copy, putting it in place.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/merge.h"

#include <algorithm>
#include <cerrno>

#include "journal/batch_writer.h"
#include "journal/segment_file.h"

namespace shmbus::journal {

namespace {
constexpr std::uint64_t most_batch_bytes = 256 * 1024;
}  // namespace

Merge::Merge(Core& core, std::uint64_t first, std::uint64_t last)
    : core_(core), cursor_(core.superblock.journal_id, core.options.read_ahead_bytes) {
    const Segment& begin = core.ledger.segments.at(first);
    const Segment& end = core.ledger.segments.at(last);
    made_.number = first;
    made_.covers_to = end.covers_to;
    made_.salt = core.random();
    made_.first_lsn = begin.first_lsn;
    made_.begin = begin.begin;
    made_.end = end.end;
    made_.merged = made_.closed = true;
    for (auto at = core.ledger.segments.find(first); at->first < last;)
        replaced_.push_back((++at)->first);
    head_.shape = SegmentHead::Shape::merged;
    head_.journal_id = core.superblock.journal_id;
    head_.number = made_.number;
    head_.covers_to = made_.covers_to;
    head_.salt = made_.salt;
    head_.previous = made_.begin;
    head_.end = made_.end;
    before_lsn_ = last_lsn_ = made_.begin.lsn;
    chain_ = made_.begin.chain;
    cursor_.go_behind(made_.begin.lsn);
    file_ = core.storage.create(unfinished_name, error_);
    // A segment begins by saying what it follows, a merged one too, and whether zeros stand there.
    const auto before = core.ledger.segments.find(made_.begin.number);
    const SegmentBegin says{made_.begin,
                            before == core.ledger.segments.end() ? SegmentBegin::Why::first
                            : before->second.clean               ? SegmentBegin::Why::full
                                                                 : SegmentBegin::Why::failed,
                            0};
    RecordHead head;
    head.kind = Kind::begin;
    head.lsn = made_.begin.lsn;
    head.payload_bytes = sizeof says;
    add(head, bytes_of(says));
}

Merge::Answer Merge::step() {
    const bool is_all = error_ == 0 && copy_slice();
    if (error_ == 0 && !is_all) return Answer::more;
    if (error_ == 0) error_ = finish();
    if (error_ == 0) {
        replace();
        return Answer::done;
    }
    file_.reset();
    static_cast<void>(core_.storage.unlink(unfinished_name));
    return Answer::failed;
}

void Merge::add(const RecordHead& head, std::span<const std::byte> payload) {
    const auto raw = bytes_of(head);
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
    bytes_.insert(bytes_.end(), payload.begin(), payload.end());
    bytes_.resize(base::round_up(bytes_.size(), 8U));
}

// True when the last record of the last segment was seen.
bool Merge::copy_slice() {
    Cursor::Found found;
    const std::uint64_t until = offset_ + core_.options.slice_bytes;
    while (offset_ + bytes_.size() < until) {
        const Cursor::Answer answer =
            cursor_.next(core_.storage, core_.ledger, core_.end, std::nullopt, found);
        if (answer == Cursor::Answer::damaged) {
            core_.report.damages.push_back(cursor_.damage());
            core_.stop("the journal is damaged: " + cursor_.damage().text());
            error_ = EIO;
            return false;
        }
        if (answer == Cursor::Answer::unreadable) {
            error_ = cursor_.error();
            return false;
        }
        if (answer == Cursor::Answer::end || found.head.lsn > made_.end.lsn) return true;
        if (!core_.ledger.is_live(found.head.number, found.head.lsn)) continue;
        add(found.head, found.payload);
        last_lsn_ = found.head.lsn;
        ++count_;
        Share& share = made_.shares[found.head.number];
        if (share.count++ == 0) share.first_lsn = found.head.lsn;
        share.last_lsn = found.head.lsn;
        share.bytes += record_bytes(found.head.payload_bytes);
        if (bytes_.size() >= most_batch_bytes && (error_ = write_batch()) != 0) return false;
    }
    return false;
}

int Merge::write_batch() {
    const Seed seed(head_.journal_id, head_.number, head_.salt);
    RecordHead last;
    last.lsn = last_lsn_;
    last.number = static_cast<std::uint32_t>(count_);
    // The first record's number, which may be any above those before.
    const std::uint64_t front = offset_ == first_batch_offset ? begin_bytes : 0;
    const std::uint64_t first_lsn =
        count_ != 0 ? read_as<RecordHead>(bytes_, front).lsn : before_lsn_ + 1;
    BatchEnd tail;
    tail.first_lsn = first_lsn;
    tail.durable_before = before_lsn_;
    tail.seconds = core_.ledger.seconds;
    tail = BatchSums(seed, 0, offset_, chain_).finish(bytes_, tail, last);
    const int error = write_all(*file_, bytes_, offset_);
    offset_ += bytes_.size();
    chain_ = tail.chain;
    head_.record_count += count_;
    before_lsn_ = last_lsn_;
    count_ = 0;
    bytes_.clear();
    return error;
}

int Merge::finish() {
    if (count_ != 0 || offset_ == first_batch_offset)
        if (const int error = write_batch()) return error;
    head_.content_end = made_.content_end = offset_;
    head_.file_bytes = made_.file_bytes = offset_ + block_bytes;
    const Block block = segment_head_block(head_);
    int error = write_all(*file_, block, 0);
    if (error == 0) error = write_all(*file_, block, offset_);
    if (error == 0) error = file_->sync();
    if (error == 0) error = verify();
    if (error == 0)
        error = core_.storage.rename(unfinished_name, numbered_name(segment_prefix, made_.number));
    return error;
}

// Read back from the disk before anything is replaced by it.
int Merge::verify() {
    static_cast<void>(file_->forget_cached());
    std::vector<std::byte> bytes(offset_ - first_batch_offset);
    if (const int error = read_all(*file_, bytes, first_batch_offset)) return error;
    const Stretch stretch{Seed(head_.journal_id, head_.number, head_.salt), bytes,
                          first_batch_offset};
    std::uint64_t lsn = made_.begin.lsn;
    std::uint64_t records = 0;
    for (std::uint64_t at = first_batch_offset; at < offset_;) {
        const Batch batch = read_batch(stretch, at, lsn, Numbering::rising);
        if (!batch.valid) return EIO;
        lsn = batch.last_lsn;
        records += batch.count;
        at = batch.end;
    }
    return records == head_.record_count ? 0 : EIO;
}

void Merge::replace() {
    // The name leads to the new file from here on, whether a power cut would undo that or not;
    // but only what is durable may cost the old ones their names.
    const bool is_durable = core_.storage.sync_directory() == 0;
    for (const std::uint64_t number : replaced_) {
        core_.ledger.segments.erase(number);
        if (is_durable && core_.storage.unlink(numbered_name(segment_prefix, number)) == 0)
            core_.files.erase(number);
    }
    core_.ledger.segments[made_.number] = made_;
    if (is_durable) static_cast<void>(core_.storage.sync_directory());
}

}  // namespace shmbus::journal
