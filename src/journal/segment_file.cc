// Looking at a segment's file.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/segment_file.h"

#include <shmbus/result.h>

#include <algorithm>
#include <cstddef>

namespace shmbus::journal {

namespace {

[[nodiscard]] std::optional<SegmentHead> head_in(std::span<const std::byte> block) {
    const auto head = read_as<SegmentHead>(block);
    if (!block_is_right(block, 0) || head.magic != SegmentHead::right_magic) return std::nullopt;
    return head;
}

}  // namespace

std::uint64_t SegmentFile::data_end() const noexcept {
    const std::uint64_t whole = head ? head->file_bytes : bytes;
    return whole > 2 * block_bytes ? whole - block_bytes : first_batch_offset;
}

void SegmentFile::read(std::span<std::byte> into, std::uint64_t from) const {
    const Moved moved = file->read(into, from);
    if (moved.error != 0)
        throw SetupError{"reading the journal", numbered_name(segment_prefix, number), moved.error,
                         "the disk does not answer; see the kernel's log"};
    // What a file that was cut short no longer has reads as zeros, and no record is zeros.
    std::ranges::fill(into.subspan(moved.bytes), std::byte{});
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
    const auto look = [&](std::uint64_t offset) {
        Block block;
        found.read(block, offset);
        return head_in(block);
    };
    const auto front = look(0);
    const auto back = look(last);
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
    return found;
}

Block segment_head_block(const SegmentHead& head) { return sealed_block(bytes_of(head), 0); }

}  // namespace shmbus::journal
