// What has to be done besides writing batches: spares, superblock, checkpoints, removal, merging.
//
// The journal's thread, a slice per call. Each job can fail without harm: it says so in
// Core::trouble, leaves things as they were and is tried again at a later call.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>

#include "journal/core.h"
#include "journal/merge.h"
#include "journal/segment_maker.h"

namespace shmbus::journal {

class Upkeep {
public:
    // The last spare is for what makes room; the one before it for everything.
    static constexpr std::size_t wanted_spares = 2;

    explicit Upkeep(Core& core) : core_(core) {}

    // One slice of whatever is due. Answers whether there is more to do now.
    bool step(bool idle, bool batch_is_open);
    // Writes the superblock if it would say something new, or in any case.
    bool write_superblock(bool even_if_only_the_end_moved, bool is_clean = false);
    // Makes spares until there are so many or one cannot be made.
    void make_spares(std::size_t count);
    // Of the last try to make one.
    [[nodiscard]] int spare_error() const noexcept { return spare_error_; }

private:
    bool make_spare(bool idle);
    [[nodiscard]] std::uint64_t zeros_due(bool idle) const;
    [[nodiscard]] bool checkpoint_is_due(bool idle) const;
    bool write_checkpoint();
    [[nodiscard]] std::uint64_t oldest_needed() const;
    bool remove_old();
    bool merge(bool idle);
    [[nodiscard]] bool find_merge();
    [[nodiscard]] bool may_merge(const Segment& segment) const;
    [[nodiscard]] bool is_wasteful(const Segment& segment) const;
    [[nodiscard]] bool has_garbage() const;
    [[nodiscard]] bool is_short_of_space() const noexcept {
        return core_.spares.size() < wanted_spares && spare_error_ != 0;
    }
    void complain(const char* what, int error);

    Core& core_;
    SegmentMaker maker_;
    std::optional<Merge> merge_;
    int spare_error_ = 0;
    bool superblock_failed_ = false;
    std::uint64_t merged_at_lsn_ = 0;  // where a merge failed; not tried again until more is known
};

}  // namespace shmbus::journal
