// From a directory of files to a ledger and a report.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/recovery.h"

#include <shmbus/result.h>

#include <algorithm>
#include <cerrno>

#include "journal/batch_window.h"
#include "journal/crc32c.h"
#include "journal/segment_file.h"
#include "journal/walk.h"

namespace shmbus::journal {

namespace {

class Reading {
public:
    Reading(Storage& storage, const LedgerLimits& limits, Depth depth, const OnRecord& on_record)
        : storage_(storage), limits_(limits), depth_(depth), on_record_(on_record) {}

    Recovered run(const Ranges& accepted) {
        list();
        read_superblock();
        if (found_.report.is_new) return std::move(found_);
        read_checkpoints();
        look_at_segments();
        reconcile_segments();
        read_begins();
        walk();
        find_spares();
        for (Damage& damage : found_.report.damages)
            damage.accepted = damage.loses && (found_.ledger.accepted_losses.covers(damage.lsns) ||
                                               accepted.covers(damage.lsns));
        return std::move(found_);
    }

private:
    void list();
    void read_superblock();
    void read_checkpoints();
    void look_at_segments();
    void reconcile_segments();
    void read_begins();
    [[nodiscard]] Place begin_of_walk();
    void walk();
    void find_spares();
    void note(std::string file, std::uint64_t offset, std::string what, Range lost = {1, 0});

    Storage& storage_;
    LedgerLimits limits_;
    Depth depth_;
    const OnRecord& on_record_;
    Recovered found_;
    BatchWindow window_;
    std::vector<std::uint64_t> segment_numbers_;
    std::vector<std::uint64_t> checkpoint_numbers_;
    std::map<std::uint64_t, SegmentFile> files_;
    std::optional<CheckpointHead> checkpoint_;
};

void Reading::note(std::string file, std::uint64_t offset, std::string what, Range lost) {
    Damage damage;
    damage.loses = lost.first <= lost.last;
    damage.file = std::move(file);
    damage.offset = offset;
    damage.lsns = lost;
    damage.what = std::move(what);
    found_.report.damages.push_back(std::move(damage));
}

void Reading::list() {
    std::vector<std::string> names;
    if (const int error = storage_.list(names))
        throw SetupError{"listing the journal", storage_.path_of(""), error,
                         "the directory must be readable"};
    for (const std::string& name : names) {
        if (const auto number = number_of(name, segment_prefix))
            segment_numbers_.push_back(*number);
        else if (const auto generation = number_of(name, CheckpointFiles::prefix))
            checkpoint_numbers_.push_back(*generation);
        else if (name.starts_with("tmp-"))
            found_.leftovers.push_back(name);
    }
    std::ranges::sort(segment_numbers_);
    std::ranges::sort(checkpoint_numbers_);
    if (!checkpoint_numbers_.empty()) found_.newest_checkpoint = checkpoint_numbers_.back();
    if (!segment_numbers_.empty()) found_.newest_segment = segment_numbers_.back();
}

void Reading::read_superblock() {
    const SuperblockFile::Found read = SuperblockFile::read(storage_);
    const std::string path = storage_.path_of(SuperblockFile::name);
    if (read.error != 0)
        throw SetupError{"reading the journal's superblock", path, read.error,
                         "it must be a regular file of this user that nobody else may write"};
    if (!read.there && segment_numbers_.empty() && checkpoint_numbers_.empty()) {
        found_.report.is_new = true;
        return;
    }
    if (read.wrong_version != 0)
        throw SetupError{"reading the journal", path, 0,
                         "it has format version " + std::to_string(read.wrong_version) +
                             ", this program knows version " + std::to_string(format_version)};
    for (std::size_t slot = 0; slot < 2; ++slot)
        if (read.damaged[slot])
            note(SuperblockFile::name, slot * block_bytes, "a slot of the superblock is damaged");
    if (!read.there)
        throw SetupError{"reading the journal's superblock", path, 0,
                         "it is not there though other files of a journal are: a copy or a restore "
                         "was cut off before its end; move the directory away and restore again"};
    if (!read.newest)
        throw SetupError{"reading the journal's superblock", path, 0,
                         "both slots are damaged, so nothing tells what was acknowledged; restore "
                         "the file, or move the whole directory away to begin anew"};
    found_.superblock = *read.newest;
}

void Reading::read_checkpoints() {
    for (auto number = checkpoint_numbers_.rbegin(); number != checkpoint_numbers_.rend();
         ++number) {
        std::string why;
        auto checkpoint =
            CheckpointFiles::read(storage_, *number, found_.superblock.journal_id, limits_, why);
        if (!checkpoint) {
            note(numbered_name(CheckpointFiles::prefix, *number), 0, "a checkpoint: " + why);
            continue;
        }
        found_.checkpoints.insert(found_.checkpoints.begin(), checkpoint->head);
        if (!checkpoint_) {
            checkpoint_ = checkpoint->head;
            found_.ledger = std::move(checkpoint->ledger);
        }
    }
    if (!checkpoint_) found_.ledger = Ledger(limits_);
    const std::uint64_t known =
        std::max(found_.superblock.newest_segment, checkpoint_ ? checkpoint_->newest_segment : 0);
    found_.newest_segment = std::max(found_.newest_segment, known);
    found_.superblock.newest_segment = known;
    if (found_.superblock.newest_checkpoint > found_.newest_checkpoint)
        note(numbered_name(CheckpointFiles::prefix, found_.superblock.newest_checkpoint), 0,
             "a checkpoint is missing");
}

void Reading::look_at_segments() {
    std::uint64_t covered_to = 0;
    for (const std::uint64_t number : segment_numbers_) {
        if (number <= covered_to) {
            found_.leftovers.push_back(numbered_name(segment_prefix, number));
            continue;
        }
        SegmentFile file =
            look_at_segment(storage_, number, found_.superblock.journal_id, found_.report.damages);
        if (file.is_merged()) covered_to = file.head->covers_to;
        files_.emplace(number, std::move(file));
    }
}

// The checkpoint's list against the files: some were merged since, some are no longer needed.
void Reading::reconcile_segments() {
    if (!checkpoint_) return;
    std::map<std::uint64_t, Segment> listed = std::move(found_.ledger.segments);
    found_.ledger.segments.clear();
    for (auto& [number, segment] : listed) {
        const auto after = files_.upper_bound(number);
        const SegmentFile* const file =
            after == files_.begin() ? nullptr : &std::prev(after)->second;
        const bool is_covered =
            file != nullptr && file->head &&
            (file->number == number || (file->is_merged() && file->head->covers_to >= number));
        if (!is_covered && file != nullptr && !file->head && file->number == number) {
            note(numbered_name(segment_prefix, number), 0, "the segment has no readable head",
                 segment.closed && number < checkpoint_->place.number
                     ? Range{segment.first_lsn, segment.end.lsn}
                     : Range{1, 0});
            continue;
        }
        if (!is_covered) {
            if (number >= checkpoint_->oldest_segment && segment.end.lsn >= segment.first_lsn)
                note(numbered_name(segment_prefix, number), 0, "the segment is missing",
                     {segment.first_lsn, segment.end.lsn});
            continue;
        }
        Segment& kept = found_.ledger.segments[file->number];
        if (kept.number == 0) {
            kept = std::move(segment);
        } else {
            for (const auto& [audience, share] : segment.shares) {
                Share& sum = kept.shares[audience];
                if (sum.count == 0) sum.first_lsn = share.first_lsn;
                sum.last_lsn = share.last_lsn;
                sum.count += share.count;
                sum.bytes += share.bytes;
            }
        }
        if (!file->is_merged()) continue;
        kept.number = file->number;
        kept.covers_to = file->head->covers_to;
        kept.file_bytes = file->bytes;
        kept.salt = file->head->salt;
        kept.first_lsn = file->head->previous.lsn + 1;
        kept.begin = file->head->previous;
        kept.end = file->head->end;
        kept.content_end = file->head->content_end;
        kept.merged = kept.closed = true;
    }
}

// Of the segments that the walk may come to: first batches may be long.
void Reading::read_begins() {
    const bool all = depth_ == Depth::everything || !checkpoint_;
    for (auto at = all ? files_.begin() : files_.upper_bound(checkpoint_->place.number);
         at != files_.end(); ++at)
        if (SegmentFile& file = at->second; file.head)
            file.begin = read_begin(file, window_);
}

Place Reading::begin_of_walk() {
    const std::uint32_t first_chain = crc32c(0, bytes_of(found_.superblock.journal_id));
    const Place origin{0, 0, 0, first_chain, 0};
    if (depth_ == Depth::since_checkpoint && checkpoint_) return checkpoint_->place;
    if (files_.empty()) return checkpoint_ ? checkpoint_->place : origin;
    // From the oldest file that is still needed.
    const std::uint64_t oldest = checkpoint_ ? checkpoint_->oldest_segment : 1;
    auto first = files_.upper_bound(oldest);
    if (first != files_.begin()) --first;
    if (first->first < oldest && !first->second.is_merged() && std::next(first) != files_.end())
        ++first;
    const SegmentFile& file = first->second;
    if (file.number == 1 && !file.is_merged()) return origin;
    if (const Place* const previous = file.previous()) {
        if (!checkpoint_ && previous->lsn > 0)
            note(numbered_name(CheckpointFiles::prefix, found_.newest_checkpoint), 0,
                 "no checkpoint is readable, and older segments were removed long ago",
                 {1, previous->lsn});
        return {file.number, first_batch_offset, previous->lsn, previous->chain, 0};
    }
    const auto listed = found_.ledger.segments.find(file.number);
    if (listed == found_.ledger.segments.end()) return checkpoint_ ? checkpoint_->place : origin;
    const Place& begin = listed->second.begin;
    return {file.number, first_batch_offset, begin.lsn, begin.chain, 0};
}

void Reading::walk() {
    const std::uint64_t known = checkpoint_ ? checkpoint_->place.lsn : 0;
    Walk walk(found_.ledger, found_.report, files_, begin_of_walk(),
              {known, found_.superblock.end, found_.superblock.newest_segment,
               found_.superblock.is_clean != 0, depth_ == Depth::everything, &on_record_});
    found_.report.end = walk.run();
    found_.tail_is_zero = walk.tail_is_zero();
    found_.report.was_clean = found_.superblock.is_clean != 0 && found_.tail_is_zero &&
                              found_.report.end == found_.superblock.end;
    if (found_.superblock.is_clean != 0 && !found_.tail_is_zero && depth_ == Depth::everything)
        note(numbered_name(segment_prefix, found_.report.end.number), found_.report.end.offset,
             "something stands behind the end of a journal that was closed in peace");
    found_.newest_segment = std::max(found_.newest_segment, found_.report.end.number);
    found_.files = segment_numbers_;
}

void Reading::find_spares() {
    for (auto at = files_.upper_bound(found_.report.end.number); at != files_.end(); ++at) {
        const SegmentFile& file = at->second;
        if (!file.head || file.is_merged() || file.bytes != file.head->file_bytes) continue;
        const bool look = depth_ == Depth::everything || !found_.report.was_clean;
        window_.open(file, first_batch_offset,
                     look ? file.data_end() : first_batch_offset + block_bytes);
        if (window_.is_zero_from(first_batch_offset))
            found_.spares.push_back(file.number);
        else if (found_.report.was_clean)
            note(numbered_name(segment_prefix, file.number), first_batch_offset,
                 "something stands in a segment that was never written");
    }
}

}  // namespace

Recovered recover(Storage& storage, const LedgerLimits& limits, Depth depth,
                  const Ranges& accepted, const OnRecord& on_record) {
    return Reading(storage, limits, depth, on_record).run(accepted);
}

}  // namespace shmbus::journal
