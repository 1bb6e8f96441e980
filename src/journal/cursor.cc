// Reading records back, and around what an operator has given up.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/cursor.h"

#include <algorithm>

#include "journal/segment_file.h"

namespace shmbus::journal {

namespace {

[[nodiscard]] bool holds_for(const Ledger& ledger, const Segment& segment,
                             std::optional<Endpoint> only) {
    return std::ranges::any_of(segment.shares, [&](const auto& share) {
        return !only || ledger.concerns(share.first, *only);
    });
}

}  // namespace

void Cursor::go_behind(std::uint64_t lsn) noexcept {
    lsn_ = lsn;
    number_ = 0;
}

void Cursor::rest() noexcept {
    buffer_ = {};
    file_.reset();
    number_ = 0;
}

bool Cursor::is_still_there(const Ledger& ledger) const {
    const auto found = ledger.segments.find(number_);
    return found != ledger.segments.end() && found->second.salt == salt_;
}

bool Cursor::find_place(Storage& storage, const Ledger& ledger) {
    const Segment* const segment = ledger.first_behind(lsn_);
    if (segment == nullptr) return false;
    file_ = storage.open(numbered_name(segment_prefix, segment->number), error_);
    if (!file_) return false;
    number_ = segment->number;
    salt_ = segment->salt;
    seed_ = Seed(journal_id_, number_, salt_);
    lsn_ = std::max(lsn_, segment->first_lsn - 1);
    offset_ = first_batch_offset;
    for (const Segment::Mark& mark : segment->marks)
        if (mark.before_lsn <= lsn_) offset_ = mark.offset;
    buffer_.clear();
    return true;
}

Stretch Cursor::load(std::uint64_t bytes, std::uint64_t end) {
    bytes = std::min(bytes, end - offset_);
    const bool is_there = offset_ >= buffer_begin_ && !buffer_.empty() &&
                          offset_ + bytes <= buffer_begin_ + buffer_.size();
    if (!is_there) {
        buffer_.assign(std::min(std::max(bytes, read_ahead_bytes_), end - offset_), std::byte{});
        buffer_begin_ = offset_;
        // What a file that was cut short no longer has stays zero, and zeros are no record.
        error_ = file_->read(buffer_, offset_).error;
        if (error_ != 0) buffer_.assign(buffer_.size(), std::byte{});
    }
    return {seed_, buffer_, buffer_begin_};
}

std::optional<RecordHead> Cursor::head_here(std::uint64_t end) {
    const auto head = head_at(load(sizeof(RecordHead), end), offset_);
    if (!head || end - offset_ < record_bytes(head->payload_bytes)) return std::nullopt;
    return head;
}

std::optional<RecordHead> Cursor::find_next_head(std::uint64_t end) {
    for (offset_ += 8; offset_ < end; offset_ += 8) {
        const auto head = head_here(end);
        if (head && may_follow(*head, lsn_)) return head;
    }
    offset_ = end;
    return std::nullopt;
}

bool Cursor::pass_to(const Ledger& ledger, std::uint64_t last, std::uint64_t offset) {
    if (last <= lsn_) return true;
    if (!ledger.accepted_losses.covers({lsn_ + 1, last})) {
        damage_ = Damage{};
        damage_.loses = true;
        damage_.file = numbered_name(segment_prefix, number_);
        damage_.offset = offset;
        damage_.lsns = {lsn_ + 1, last};
        damage_.what = "records cannot be read back";
        return false;
    }
    lsn_ = last;
    return true;
}

// One record, or what stands where one should.
Cursor::Look Cursor::look(const Ledger& ledger, const Segment& segment, std::uint64_t end,
                          std::uint64_t end_lsn, std::optional<Endpoint> only, Found& found) {
    const std::uint64_t here = offset_;
    auto head = head_here(end);
    const bool was_damaged = !head;
    if (was_damaged && error_ == 0) head = find_next_head(end);
    if (error_ != 0) return offset_ = here, Look::unreadable;
    const std::uint64_t before = !head ? end_lsn : takes_lsn(*head) ? head->lsn - 1 : head->lsn;
    if ((was_damaged || !segment.merged) && !pass_to(ledger, before, here)) {
        offset_ = here;
        return Look::damaged;
    }
    if (!head) return Look::passed;
    const std::uint64_t bytes = record_bytes(head->payload_bytes);
    if (takes_lsn(*head) && head->lsn > lsn_) {
        const bool wanted =
            head->kind == Kind::publish && (!only || ledger.concerns(head->number, *only));
        const std::uint64_t lsn_before = lsn_;
        lsn_ = head->lsn;
        if (wanted) {
            const Stretch stretch = load(bytes, end);
            if (payload_is_right(stretch, offset_, *head)) {
                found = {*head, payload_at(stretch, offset_, *head)};
                offset_ += bytes;
                return Look::found;
            }
            lsn_ = head->lsn - 1;
            if (error_ != 0 || !pass_to(ledger, head->lsn, here)) {
                lsn_ = lsn_before;
                offset_ = here;
                return error_ != 0 ? Look::unreadable : Look::damaged;
            }
        }
    }
    offset_ += bytes;
    return Look::passed;
}

// The buffer may hold zeros for what was not read.
Cursor::Answer Cursor::unreadable() noexcept {
    rest();
    return Answer::unreadable;
}

Cursor::Answer Cursor::next(Storage& storage, const Ledger& ledger, const Place& end,
                            std::optional<Endpoint> only, Found& found) {
    error_ = 0;
    // Ends: every turn goes on in a segment, or to one with a higher number, or leaves.
    for (;;) {
        if ((number_ == 0 || !is_still_there(ledger)) && !find_place(storage, ledger))
            return error_ != 0 ? unreadable() : Answer::end;
        const Segment& segment = ledger.segments.at(number_);
        const Place& last = segment.closed ? segment.end : end;
        const std::uint64_t limit = segment.closed ? segment.content_end : end.offset;
        if (segment.closed && !holds_for(ledger, segment, only)) {
            lsn_ = std::max(lsn_, last.lsn);
        } else if (offset_ < limit) {
            const Look seen = look(ledger, segment, limit, last.lsn, only, found);
            if (seen == Look::found) return Answer::record;
            if (seen == Look::damaged) return Answer::damaged;
            if (seen == Look::unreadable) return unreadable();
            continue;
        } else if (!segment.merged && !pass_to(ledger, last.lsn, offset_)) {
            return Answer::damaged;
        }
        lsn_ = std::max(lsn_, last.lsn);
        if (!segment.closed) return Answer::end;
        number_ = 0;
    }
}

}  // namespace shmbus::journal
