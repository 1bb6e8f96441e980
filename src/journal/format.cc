// Sums, and the rule by which a batch is valid.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/format.h"

#include <algorithm>
#include <charconv>

#include "journal/crc32c.h"

namespace shmbus::journal {

namespace {

constexpr std::uint64_t sum_offset = block_bytes - sizeof(std::uint32_t);

[[nodiscard]] bool is_known(Kind kind) noexcept {
    return kind >= Kind::begin && kind <= Kind::batch_end;
}

[[nodiscard]] Batch wrong(Batch batch, std::uint64_t offset, std::uint64_t lsn, const char* why) {
    batch.valid = false;
    batch.wrong_offset = offset;
    batch.wrong_lsn = lsn;
    batch.why = why;
    return batch;
}

// What is wrong with the batch's last record, or null.
[[nodiscard]] const char* wrong_end(const Batch& batch, std::uint64_t offset,
                                    const RecordHead& head) noexcept {
    if (head.payload_bytes < sizeof(BatchEnd) || end_of(offset, head) % block_bytes != 0)
        return "a batch's end does not end on a block's border";
    if (head.number != batch.count || head.lsn != batch.last_lsn ||
        batch.tail.first_lsn != batch.first_lsn || batch.tail.begin_offset != batch.begin)
        return "a batch's end counts other records than stand before it";
    if (batch.tail.chain != batch.chain || batch.tail.durable_before >= batch.first_lsn)
        return "a batch's end does not belong to the records before it";
    return nullptr;
}

}  // namespace

Seed::Seed(std::uint64_t journal_id, std::uint64_t number, std::uint64_t salt) noexcept {
    const std::array<std::uint64_t, 3> all{journal_id, number, salt};
    base_ = crc32c(0, bytes_of(all));
}

std::uint32_t Seed::at(std::uint64_t offset) const noexcept {
    return crc32c(base_, bytes_of(offset));
}

std::uint32_t payload_sum(const Seed& seed, std::uint64_t offset,
                          std::span<const std::byte> payload) noexcept {
    return crc32c(seed.at(offset), payload);
}

std::uint32_t head_sum(const Seed& seed, std::uint64_t offset, const RecordHead& head) noexcept {
    return crc32c(seed.at(offset), bytes_of(head).subspan(sizeof head.head_sum));
}

std::uint32_t continue_chain(std::uint32_t chain, const RecordHead& head) noexcept {
    return crc32c(chain, bytes_of(head.head_sum));
}

std::optional<RecordHead> head_at(const Stretch& stretch, std::uint64_t offset) noexcept {
    if (offset % 8 != 0 || offset < stretch.begin || offset > stretch.end() ||
        stretch.end() - offset < sizeof(RecordHead))
        return std::nullopt;
    const auto head = read_as<RecordHead>(stretch.bytes, offset - stretch.begin);
    if (!is_known(head.kind) || head.head_sum != head_sum(stretch.seed, offset, head))
        return std::nullopt;
    return head;
}

bool payload_is_right(const Stretch& stretch, std::uint64_t offset,
                      const RecordHead& head) noexcept {
    const std::uint64_t bytes = padded(head.payload_bytes);
    if (stretch.end() - offset - sizeof(RecordHead) < bytes) return false;
    return payload_sum(stretch.seed, offset,
                       stretch.bytes.subspan(offset - stretch.begin + sizeof(RecordHead), bytes)) ==
           head.payload_sum;
}

std::span<const std::byte> payload_at(const Stretch& stretch, std::uint64_t offset,
                                      const RecordHead& head) noexcept {
    return stretch.bytes.subspan(offset - stretch.begin + sizeof(RecordHead), head.payload_bytes);
}

Batch read_batch(const Stretch& stretch, std::uint64_t offset, std::uint64_t before_lsn,
                 Numbering numbering) {
    Batch batch;
    batch.begin = offset;
    batch.first_lsn = before_lsn + 1;
    batch.last_lsn = before_lsn;
    bool first = true;
    // Ends: every turn goes at least a head further in the stretch.
    for (std::uint64_t at = offset;; first = false) {
        const std::uint64_t due = batch.last_lsn + 1;
        const auto head = head_at(stretch, at);
        if (!head) {
            batch.is_cut_off = at + sizeof(RecordHead) > stretch.end();
            return wrong(batch, at, due, "no record's head stands here");
        }
        if (!payload_is_right(stretch, at, *head)) {
            batch.is_cut_off = end_of(at, *head) > stretch.end();
            return wrong(batch, at, due, "a record's payload differs from its sum");
        }
        if ((head->kind == Kind::begin) != (at == first_batch_offset))
            return wrong(batch, at, due, "a segment's begin is missing or out of place");
        if (head->kind == Kind::batch_end) {
            batch.tail = read_as<BatchEnd>(payload_at(stretch, at, *head));
            // The chain begins where the end says that it does; whether that fits what stands
            // before the batch is the caller's to compare.
            batch.chain = batch.tail.previous_chain;
            for (std::uint64_t back = offset; back < at;) {
                const auto summed = read_as<RecordHead>(stretch.bytes, back - stretch.begin);
                batch.chain = continue_chain(batch.chain, summed);
                back = end_of(back, summed);
            }
            if (const char* why = wrong_end(batch, at, *head)) return wrong(batch, at, due, why);
            batch.end = end_of(at, *head);
            batch.valid = true;
            return batch;
        }
        if (head->kind == Kind::begin) {
            if (!first || head->payload_bytes != sizeof(SegmentBegin) || head->lsn != before_lsn)
                return wrong(batch, at, due, "a segment's begin does not follow what was before");
        } else {
            if (numbering == Numbering::rising ? head->lsn < due : head->lsn != due)
                return wrong(batch, at, due, "a record has another number than is due");
            if (batch.count == 0) batch.first_lsn = head->lsn;
            batch.last_lsn = head->lsn;
            ++batch.count;
        }
        at = end_of(at, *head);
    }
}

Block sealed_block(std::span<const std::byte> content, std::uint64_t seed) noexcept {
    Block block{};
    std::memcpy(block.data(), content.data(), content.size());
    const std::uint32_t sum = crc32c(crc32c(0, bytes_of(seed)), std::span(block).first(sum_offset));
    std::memcpy(block.data() + sum_offset, &sum, sizeof sum);
    return block;
}

bool block_is_right(std::span<const std::byte> block, std::uint64_t seed) noexcept {
    return block.size() == block_bytes &&
           read_as<std::uint32_t>(block, sum_offset) ==
               crc32c(crc32c(0, bytes_of(seed)), block.first(sum_offset));
}

bool all_zero(std::span<const std::byte> bytes) noexcept {
    return bytes.empty() || (bytes[0] == std::byte{} &&
                             std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

std::string numbered_name(const char* prefix, std::uint64_t number) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string name = prefix;
    for (int shift = 60; shift >= 0; shift -= 4) name += digits[number >> shift & 0xFU];
    return name;
}

std::optional<std::uint64_t> number_of(const std::string& name, const char* prefix) {
    const std::size_t front = std::strlen(prefix);
    if (!name.starts_with(prefix) || name.size() != front + 16) return std::nullopt;
    std::uint64_t number = 0;
    const auto [end, error] =
        std::from_chars(name.data() + front, name.data() + name.size(), number, 16);
    if (error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
    return numbered_name(prefix, number) == name ? std::optional(number) : std::nullopt;
}

}  // namespace shmbus::journal
