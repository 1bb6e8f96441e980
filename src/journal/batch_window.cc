// A window over a segment. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/batch_window.h"

#include <algorithm>
#include <cstring>

namespace shmbus::journal {

namespace {

constexpr std::uint64_t least_bytes = 1 << 20;

}  // namespace

void BatchWindow::open(const SegmentFile& file, std::uint64_t offset, std::uint64_t end) noexcept {
    file_ = &file;
    begin_ = offset;
    bytes_ = 0;
    end_ = std::max(offset, end);
}

Stretch BatchWindow::stretch() const noexcept {
    return {file_->seed(), std::span(room_).first(bytes_), begin_};
}

Batch BatchWindow::batch(std::uint64_t offset, std::uint64_t before_lsn, Numbering numbering) {
    // Ends: each turn there is more of the file in the window, at last all of it.
    for (;;) {
        Batch found = read_batch(stretch(), offset, before_lsn, numbering);
        if (!found.is_cut_off || stretch().end() == end_) return found;
        load(offset);
    }
}

std::optional<RecordHead> BatchWindow::head(std::uint64_t offset) {
    if (stretch().end() < std::min(end_, offset + sizeof(RecordHead))) load(offset);
    return head_at(stretch(), offset);
}

bool BatchWindow::is_zero_from(std::uint64_t offset) {
    // Ends: each turn begins where the one before ended.
    while (offset < end_) {
        if (offset == stretch().end()) load(offset);
        if (!all_zero(stretch().bytes.subspan(offset - begin_))) return false;
        offset = stretch().end();
    }
    return true;
}

// More of the file, from `offset` on, which lies in the window or directly behind it.
void BatchWindow::load(std::uint64_t offset) {
    const std::uint64_t gone = offset - begin_;
    if (gone == 0 && bytes_ == room_.size())
        room_.resize(std::min(std::max(2 * bytes_, least_bytes), end_ - begin_));
    bytes_ -= gone;
    std::memmove(room_.data(), room_.data() + gone, bytes_);
    begin_ = offset;
    const std::uint64_t to = std::min(end_, begin_ + room_.size());
    file_->read(std::span(room_).first(to - begin_).subspan(bytes_), begin_ + bytes_);
    bytes_ = to - begin_;
}

std::optional<SegmentBegin> read_begin(const SegmentFile& file, BatchWindow& window) {
    window.open(file, first_batch_offset, file.data_end());
    const auto head = window.head(first_batch_offset);
    if (!head || head->kind != Kind::begin ||
        !window.batch(first_batch_offset, head->lsn,
                      file.is_merged() ? Numbering::rising : Numbering::dense)
             .valid)
        return std::nullopt;
    return read_as<SegmentBegin>(payload_at(window.stretch(), first_batch_offset, *head));
}

}  // namespace shmbus::journal
