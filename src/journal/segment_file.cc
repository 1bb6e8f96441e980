// Looking at a segment's file.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/segment_file.h"

#include <shmbus/result.h>

#include <algorithm>
#include <cstddef>

namespace shmbus::journal {

namespace {

constexpr std::uint64_t first_look_bytes = 256 * 1024;

[[nodiscard]] std::optional<SegmentHead> head_in(std::span<const std::byte> block) {
    const auto head = read_as<SegmentHead>(block);
    if (!block_is_right(block, 0) || head.magic != SegmentHead::right_magic) return std::nullopt;
    return head;
}

void find_begin(SegmentFile& file) {
    const std::uint64_t end = file.data_end();
    // Most first batches are short; only a long one makes us read on.
    for (std::uint64_t to = std::min(end, first_batch_offset + first_look_bytes);; to = end) {
        const std::vector<std::byte> bytes = file.read(first_batch_offset, to);
        const Stretch stretch{file.seed(), bytes, first_batch_offset};
        const auto head = head_at(stretch, first_batch_offset);
        if (!head || head->kind != Kind::begin) return;
        if (read_batch(stretch, first_batch_offset, head->lsn).valid) {
            file.begin = read_as<SegmentBegin>(payload_at(stretch, first_batch_offset, *head));
            return;
        }
        if (to == end) return;
    }
}

}  // namespace

std::uint64_t SegmentFile::data_end() const noexcept {
    const std::uint64_t whole = head ? head->file_bytes : bytes;
    return whole > 2 * block_bytes ? whole - block_bytes : first_batch_offset;
}

std::vector<std::byte> SegmentFile::read(std::uint64_t from, std::uint64_t to) const {
    std::vector<std::byte> into(to > from ? to - from : 0);
    const Moved moved = file->read(into, from);
    if (moved.error != 0)
        throw SetupError{"reading the journal", numbered_name(segment_prefix, number), moved.error,
                         "the disk does not answer; see the kernel's log"};
    // What a file that was cut short no longer has reads as zeros, and no record is zeros.
    return into;
}

SegmentFile look_at_segment(Storage& storage, std::uint64_t number, std::uint64_t journal_id,
                            std::vector<Damage>& damages) {
    const std::string name = numbered_name(segment_prefix, number);
    const auto note = [&](std::uint64_t offset, const char* what) {
        Damage damage;
        damage.file = name;
        damage.offset = offset;
        damage.lsns = {1, 0};
        damage.what = what;
        damages.push_back(damage);
    };
    SegmentFile found;
    found.number = number;
    int error = 0;
    found.file = storage.open(name, error);
    if (!found.file)
        throw SetupError{"opening a journal's segment", storage.path_of(name), error,
                         "it must be a regular file of this user that nobody else may write"};
    const Moved size = found.file->size();
    if (size.error != 0)
        throw SetupError{"looking at a journal's segment", storage.path_of(name), size.error,
                         "the disk does not answer; see the kernel's log"};
    found.bytes = size.bytes;
    const std::uint64_t last = found.bytes >= 2 * block_bytes
                                   ? (found.bytes - 1) / block_bytes * block_bytes
                                   : block_bytes;
    const auto front = head_in(found.read(0, block_bytes));
    const auto back = head_in(found.read(last, last + block_bytes));
    if (!front) note(0, "the segment's head is damaged");
    if (!back) note(last, "the copy of the segment's head is damaged or cut off");
    found.head = front ? front : back;
    if (!found.head) return found;
    if (found.head->version != format_version)
        throw SetupError{"reading a journal's segment", storage.path_of(name), 0,
                         "it has format version " + std::to_string(found.head->version) +
                             ", this program knows version " + std::to_string(format_version)};
    if (found.head->journal_id != journal_id || found.head->number != number) {
        note(offsetof(SegmentHead, number), "the segment is another journal's or another's place");
        found.head.reset();
        return found;
    }
    if (found.bytes != found.head->file_bytes)
        note(found.bytes, "the file has not the length that its head says");
    if (!found.is_merged()) find_begin(found);
    return found;
}

Block segment_head_block(const SegmentHead& head) { return sealed_block(bytes_of(head), 0); }

}  // namespace shmbus::journal
