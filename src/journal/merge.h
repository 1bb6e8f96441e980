// Writes what is still wanted of some neighbouring segments into one file that replaces them.
//
// The journal's thread, a slice at a time, behind the writer's back: the log's end is not touched,
// and records keep their LSNs and their order, so a reader never notices. The new file takes the
// first one's name in one step; those of the others are removed only after that is durable, and a
// recovery that finds them all the same knows by the new file's head that they are replaced.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "journal/core.h"

namespace shmbus::journal {

class Merge {
public:
    static constexpr const char* unfinished_name = "tmp-merge";

    // From segment `first` to segment `last`, all closed and older than the older checkpoint.
    Merge(Core& core, std::uint64_t first, std::uint64_t last);

    enum class Answer : std::uint8_t { more, done, failed };
    // Failed: nothing has changed, and the unfinished file is gone if the disk lets it.
    [[nodiscard]] Answer step();
    [[nodiscard]] int error() const noexcept { return error_; }

private:
    [[nodiscard]] bool copy_slice();
    void add(const RecordHead& head, std::span<const std::byte> payload);
    [[nodiscard]] int write_batch();
    [[nodiscard]] int finish();
    [[nodiscard]] int verify();
    void replace();

    Core& core_;
    Segment made_;
    std::vector<std::uint64_t> replaced_;
    SegmentHead head_;
    Cursor cursor_;
    Storage::FilePointer file_;
    std::vector<std::byte> bytes_;  // of the batch that is being filled
    std::uint64_t offset_ = first_batch_offset;
    std::uint64_t count_ = 0;       // in the batch
    std::uint64_t before_lsn_ = 0;  // of the batch
    std::uint64_t last_lsn_ = 0;
    std::uint32_t chain_ = 0;
    int error_ = 0;
};

}  // namespace shmbus::journal
