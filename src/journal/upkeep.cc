// When each job of the upkeep is due, and what it does when it fails.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/upkeep.h"

#include <algorithm>
#include <numeric>

#include "journal/segment_file.h"

namespace shmbus::journal {

namespace {
// A rewritten segment is as small as it gets when this little is left over: head, its copy, the
// filling of the last batch and of the records.
constexpr std::uint64_t slack_bytes = 4 * block_bytes;
}  // namespace

void Upkeep::complain(const char* what, int error) {
    core_.trouble = std::string(what) + ": " + words_of(error);
}

bool Upkeep::step(bool idle, bool batch_is_open) {
    if (!core_.stopped.empty()) return false;
    const bool made = make_spare(idle);
    if (batch_is_open) return made && core_.spares.size() < wanted_spares;
    const bool wrote = write_superblock(idle);
    if (checkpoint_is_due(idle)) return write_checkpoint();
    const bool removed = remove_old();
    return merge(idle) || removed || wrote || made;
}

// The zeros of the next segment keep ahead of what is written into the current one, such that all
// are there when it may be needed; not too few at a time, since each time takes a call. Behind
// large batches there are none: such a one would pay more for each byte's second write than its one
// sync gains.
std::uint64_t Upkeep::zeros_due(bool idle) const {
    const std::uint64_t slice = core_.options.slice_bytes;
    if (idle) return slice;
    if (core_.last_batch_bytes > slice) return 0;
    const std::uint64_t due = core_.end.offset + core_.most_batch() + slice;
    const std::uint64_t late = due - std::min(due, maker_.zeroed_bytes());
    if (late < slice / 4) return 0;
    const std::uint64_t now = std::min(late, std::max(slice / 4, 2 * core_.last_batch_bytes));
    return now / block_bytes * block_bytes;
}

// True when it made progress.
bool Upkeep::make_spare(bool idle) {
    if (core_.spares.size() >= wanted_spares && !maker_.is_busy()) return false;
    // The last one is for acknowledgements: messages wait then, or are about to.
    const bool is_urgent =
        !idle && core_.spares.size() <= 1 &&
        (core_.spares.empty() || core_.messages_wait || core_.current_is_finished ||
         core_.end.offset + core_.most_batch() > core_.data_end());
    const std::uint64_t zeros = zeros_due(idle);
    if (maker_.is_busy() && !maker_.is_zeroed() && zeros == 0 && !is_urgent) return false;
    std::optional<Spare> done;
    const SegmentHead head = maker_.is_busy() ? SegmentHead() : core_.next_segment_head();
    spare_error_ = maker_.step(core_.storage, head, zeros, is_urgent, done);
    if (spare_error_ != 0) complain("making a spare segment", spare_error_);
    if (!done) return spare_error_ == 0;
    core_.messages_wait = false;
    core_.trouble.clear();
    core_.newest_segment = done->head.number;
    core_.files.insert(done->head.number);
    core_.spares.push_back(std::move(*done));
    return true;
}

void Upkeep::make_spares(std::size_t count) {
    while (core_.spares.size() < count && make_spare(true)) continue;
}

bool Upkeep::write_superblock(bool even_if_only_the_end_moved, bool is_clean) {
    Superblock next = core_.superblock;
    next.is_clean = is_clean ? 1 : 0;
    next.end = core_.end;
    next.newest_segment = core_.newest_segment;
    next.newest_checkpoint = core_.checkpoints.empty() ? 0 : core_.checkpoints.back().generation;
    next.seconds = core_.now_seconds();
    const Superblock& last = core_.superblock;
    const bool is_news = next.is_clean != last.is_clean ||
                         next.newest_segment != last.newest_segment ||
                         next.newest_checkpoint != last.newest_checkpoint ||
                         (even_if_only_the_end_moved && next.end != last.end);
    if (!is_news || superblock_failed_) return false;
    if (const int error = core_.superblock_file.write(next)) {
        superblock_failed_ = true;
        complain("writing the superblock", error);
        return false;
    }
    core_.superblock = next;
    return true;
}

// More than twice what is wanted, and three segments.
bool Upkeep::has_garbage() const {
    std::uint64_t live = 0;
    std::uint64_t all = 0;
    for (const auto& [number, segment] : core_.ledger.segments) {
        live += core_.ledger.live_bytes(segment);
        all += segment.file_bytes;
    }
    all += core_.spares.size() * core_.segment_bytes();
    return all > 2 * live + 3 * core_.segment_bytes();
}

// The first segment that somebody still wants something of.
std::uint64_t Upkeep::oldest_needed() const {
    for (const auto& [number, segment] : core_.ledger.segments)
        if (!segment.closed || core_.ledger.live_bytes(segment) > 0) return number;
    return core_.end.number;
}

bool Upkeep::checkpoint_is_due(bool idle) const {
    if (core_.end.number == 0 || merge_) return false;
    if (core_.written_since_checkpoint >= core_.options.checkpoint_bytes) return true;
    // The older one decides what may go, so two are needed to let go of what is settled now.
    const bool is_first = core_.checkpoints.size() < 2;
    if (is_short_of_space()) {
        const std::uint64_t needed = oldest_needed();
        return !core_.files.empty() && *core_.files.begin() < needed &&
               (is_first || core_.checkpoints.front().oldest_segment < needed);
    }
    return idle && (is_first || core_.checkpoints.front().place.lsn < core_.end.lsn) &&
           has_garbage();
}

bool Upkeep::write_checkpoint() {
    core_.ledger.tidy();
    CheckpointHead head;
    head.journal_id = core_.superblock.journal_id;
    head.generation = ++core_.newest_checkpoint;
    head.place = core_.end;
    head.newest_segment = core_.newest_segment;
    head.oldest_segment = oldest_needed();
    core_.written_since_checkpoint = 0;
    if (const int error = CheckpointFiles::write(core_.storage, head, core_.ledger)) {
        static_cast<void>(core_.storage.unlink(CheckpointFiles::reserve_name));
        complain("writing a checkpoint", error);
        return false;
    }
    core_.checkpoints.push_back(head);
    remove_old();
    if (const int error = CheckpointFiles::reserve(core_.storage, sizeof head))
        complain("reserving room for the next checkpoint", error);
    return true;
}

bool Upkeep::remove_old() {
    bool removed = false;
    while (core_.checkpoints.size() > 2) {
        static_cast<void>(core_.storage.unlink(
            numbered_name(CheckpointFiles::prefix, core_.checkpoints.front().generation)));
        core_.checkpoints.erase(core_.checkpoints.begin());
        removed = true;
    }
    if (core_.checkpoints.size() < 2) return removed;
    // What the older checkpoint does not need, nobody will ever ask for.
    const std::uint64_t oldest = core_.checkpoints.front().oldest_segment;
    while (!core_.files.empty() && *core_.files.begin() < oldest) {
        const std::uint64_t number = *core_.files.begin();
        const auto segment = core_.ledger.segments.find(number);
        if (segment != core_.ledger.segments.end() && segment->second.covers_to >= oldest) break;
        if (core_.storage.unlink(numbered_name(segment_prefix, number)) != 0) break;
        core_.files.erase(number);
        core_.ledger.segments.erase(number);
        removed = true;
    }
    if (removed) static_cast<void>(core_.storage.sync_directory());
    return removed;
}

bool Upkeep::may_merge(const Segment& segment) const {
    return segment.closed && segment.end.lsn <= core_.checkpoints.front().place.lsn &&
           segment.covers_to < core_.checkpoints.front().place.number;
}

bool Upkeep::is_wasteful(const Segment& segment) const {
    return segment.file_bytes > 2 * core_.ledger.live_bytes(segment) + slack_bytes;
}

// The first wasteful segment and those behind it that are wasteful or small, as long as all that
// is wanted of them fits into one.
bool Upkeep::find_merge() {
    if (core_.checkpoints.size() < 2 || merged_at_lsn_ == core_.end.lsn) return false;
    const auto& segments = core_.ledger.segments;
    for (auto first = segments.begin(); first != segments.end(); ++first) {
        if (!may_merge(first->second) || !is_wasteful(first->second)) continue;
        // The oldest, with nothing wanted: it will be removed.
        if (first == segments.begin() && core_.ledger.live_bytes(first->second) == 0) continue;
        std::uint64_t live = core_.ledger.live_bytes(first->second);
        auto last = first;
        const auto fits = [&](const Segment& segment) {
            const bool is_small = segment.file_bytes < core_.segment_bytes() / 2;
            return may_merge(segment) && (is_small || is_wasteful(segment)) &&
                   live + core_.ledger.live_bytes(segment) <= core_.segment_bytes();
        };
        if (first != segments.begin() && fits(std::prev(first)->second) &&
            core_.ledger.live_bytes(std::prev(first)->second) > 0)
            live += core_.ledger.live_bytes((--first)->second);
        for (auto next = std::next(last); next != segments.end() && fits(next->second); ++next) {
            live += core_.ledger.live_bytes(next->second);
            last = next;
        }
        merge_.emplace(core_, first->first, last->first);
        return true;
    }
    return false;
}

bool Upkeep::merge(bool idle) {
    if (!merge_) {
        if (!(idle || core_.written_since_checkpoint == 0 || is_short_of_space())) return false;
        if (!has_garbage() || !find_merge()) return false;
    }
    const Merge::Answer answer = merge_->step();
    if (answer == Merge::Answer::more) return true;
    if (answer == Merge::Answer::failed) {
        complain("merging segments", merge_->error());
        merged_at_lsn_ = core_.end.lsn;
    }
    merge_.reset();
    return answer == Merge::Answer::done;
}

}  // namespace shmbus::journal
