// The batches of a segment, one behind the other, through memory that is used again.
//
// A recovery reads gigabytes: memory that is fresh for each segment costs more than the reading.
// The window is as long as the longest batch that it has met.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "journal/segment_file.h"

namespace shmbus::journal {

class BatchWindow {
public:
    // From now on: this file, which outlives the reading, from here to `end`.
    void open(const SegmentFile& file, std::uint64_t offset, std::uint64_t end) noexcept;
    // As read_batch() of the whole stretch up to `end`, of which stretch() then has this batch.
    // `offset` is not below that of the last call. Throws SetupError.
    [[nodiscard]] Batch batch(std::uint64_t offset, std::uint64_t before_lsn,
                              Numbering numbering = Numbering::dense);
    // The head of the record there, if one stands there. Throws SetupError.
    [[nodiscard]] std::optional<RecordHead> head(std::uint64_t offset);
    // From `offset` to the end there are zeros. Throws SetupError.
    [[nodiscard]] bool is_zero_from(std::uint64_t offset);
    [[nodiscard]] Stretch stretch() const noexcept;

private:
    void load(std::uint64_t offset);

    const SegmentFile* file_ = nullptr;
    std::vector<std::byte> room_;
    std::uint64_t begin_ = 0;  // offset of room_[0] in the file
    std::uint64_t bytes_ = 0;  // of room_ that are read
    std::uint64_t end_ = 0;
};

// How this segment's first batch, if it is valid, begins it. Throws SetupError.
[[nodiscard]] std::optional<SegmentBegin> read_begin(const SegmentFile& file, BatchWindow& window);

}  // namespace shmbus::journal
