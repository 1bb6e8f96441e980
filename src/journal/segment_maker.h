// Makes segments ahead of need, a slice at a time, so that no commit waits for one.
//
// The journal's thread. A file gets its segment's name only when it is whole and synced, and
// counts only when the directory is synced too. Zeros are really written: a sync into space that
// was merely reserved makes the file system write its own books as well, which takes as long again.
// They are written while the journal goes on, at the pace that it is given. Where that was too slow
// the rest is only reserved.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "journal/format.h"
#include "journal/storage.h"

namespace shmbus::journal {

struct Spare {
    SegmentHead head;
    Storage::FilePointer file;
};

class SegmentMaker {
public:
    static constexpr const char* unfinished_name = "tmp-seg";

    // Goes on with the one that was begun, or begins one, with this head: waits for the zeros that
    // it began to write before, and begins as many more. Returns an errno: what was made so far is
    // then removed, and the next call begins anew, with the head it is given. `is_urgent`: messages
    // wait for it; the zeros that are not written yet are left to the file system, whose reserved
    // space reads as zeros.
    [[nodiscard]] int step(Storage& storage, const SegmentHead& head, std::uint64_t zeros,
                           bool is_urgent, std::optional<Spare>& done);
    [[nodiscard]] bool is_busy() const noexcept { return file_ != nullptr; }
    // Of the one that was begun: how many zeros are written, or being written.
    [[nodiscard]] std::uint64_t zeroed_bytes() const noexcept { return zeroed_bytes_; }
    [[nodiscard]] bool is_zeroed() const noexcept { return zeroed_bytes_ >= head_.file_bytes; }

private:
    [[nodiscard]] int begin(Storage& storage, const SegmentHead& head);
    [[nodiscard]] int finish(Storage& storage);

    Storage::FilePointer file_;
    SegmentHead head_;
    std::uint64_t zeroed_bytes_ = 0;
};

}  // namespace shmbus::journal
