// One segment's file as it is found on disk.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "journal/format.h"
#include "journal/report.h"
#include "journal/storage.h"

namespace shmbus::journal {

inline constexpr const char* segment_prefix = "seg-";

struct SegmentFile {
    std::uint64_t number = 0;
    std::uint64_t bytes = 0;
    std::optional<SegmentHead> head;    // nothing: both copies are damaged
    std::optional<SegmentBegin> begin;  // of those whose first batch was found to be valid
    Storage::FilePointer file;

    [[nodiscard]] bool is_merged() const noexcept {
        return head && head->shape == SegmentHead::Shape::merged;
    }
    // What it follows; null when it has not been begun.
    [[nodiscard]] const Place* previous() const noexcept {
        return is_merged() ? &head->previous : begin ? &begin->previous : nullptr;
    }
    [[nodiscard]] Seed seed() const noexcept {
        return head ? Seed(head->journal_id, number, head->salt) : Seed{};
    }
    // Where batches may stand: up to the copy of the head.
    [[nodiscard]] std::uint64_t data_end() const noexcept;
    // The bytes from here on. Throws SetupError.
    void read(std::span<std::byte> into, std::uint64_t from) const;
};

// Opens and looks at the head; what is wrong with it goes to `damages`. Throws SetupError when the
// disk does not answer or the version is another.
[[nodiscard]] SegmentFile look_at_segment(Storage& storage, std::uint64_t number,
                                          std::uint64_t journal_id, std::vector<Damage>& damages);

// The head as it is written, twice.
[[nodiscard]] Block segment_head_block(const SegmentHead& head);

}  // namespace shmbus::journal
