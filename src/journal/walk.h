// Follows the log from batch to batch and folds it into a ledger; goes around damage.
//
// One walk serves a recovery; it owns nothing but its position.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "journal/batch_window.h"
#include "journal/ledger.h"
#include "journal/report.h"
#include "journal/segment_file.h"

namespace shmbus::journal {

class Walk {
public:
    struct Known {
        std::uint64_t lsn = 0;             // a checkpoint has the records up to here: checked only
        Place synced;                      // the superblock's word that this was on disk once
        std::uint64_t newest_segment = 0;  // files up to this number have been made
        bool is_clean = false;             // closed in peace: `synced` should be the end
        bool deep = false;                 // look also behind the ends of closed segments
        const OnRecord* on_record = nullptr;
    };

    Walk(Ledger& ledger, Report& report, const std::map<std::uint64_t, SegmentFile>& files,
         Place begin, const Known& known);

    // To the end of the log; answers where it is.
    Place run();
    [[nodiscard]] bool tail_is_zero() const noexcept { return tail_is_zero_; }

private:
    struct Kept {
        RecordHead head;
        std::uint64_t offset;
    };

    struct Next {
        const SegmentFile* file = nullptr;
        const Place* previous = nullptr;  // as the file says; null: its first batch is damaged
    };
    [[nodiscard]] Next find_next();
    // A segment without a valid first batch has been written to all the same.
    [[nodiscard]] bool was_begun(const SegmentFile& file);
    // One segment, and on to the one that follows it; false at the end of the log.
    [[nodiscard]] bool step();
    // What the files cannot show: that there was more.
    void look_for_missing();
    // A merged segment holds what is left of others; checked from end to end, nothing is folded.
    void check_merged(const SegmentFile& file);
    void show_merged(const Stretch& stretch, const Batch& batch);
    void check_behind(const SegmentFile& file, std::uint64_t end);
    // As far as batch follows batch.
    void follow(const SegmentFile& file, std::uint64_t to);
    // Walks the segment up to where its successor says it ended, or to the end of the log.
    void walk_segment(const SegmentFile& file, const Place* limit);
    void fold(const Stretch& stretch, const Batch& batch);
    void begin_batch(const BatchEnd& end);
    void fold_record(const Stretch& stretch, std::uint64_t offset, const RecordHead& head);
    void show(const Stretch& stretch, std::uint64_t offset, const RecordHead& head) const;
    void begin_segment(const Stretch& stretch, std::uint64_t offset, const RecordHead& head);
    // Goes on record by record behind something wrong, up to where a batch may begin again.
    void salvage(const Stretch& stretch, const Batch& batch, const Place* limit);
    void keep(const Stretch& stretch, const std::vector<Kept>& kept);
    void salvage_merged(const Stretch& stretch, std::uint64_t last);
    // Something says that the batch, or one behind it in this segment, was on disk once.
    [[nodiscard]] bool was_synced(const Stretch& stretch, const Batch& batch);
    void count_torn(const Stretch& stretch, std::uint64_t from);
    // The LSNs behind the place up to `last` are gone.
    void lose_to(std::uint64_t last, std::uint64_t offset, const std::string& what);
    void lose(Range lsns, std::uint64_t offset, const std::string& what);
    void note(std::uint64_t offset, const std::string& what);
    void blame(const RecordHead& head);

    Ledger& ledger_;
    Report& report_;
    const std::map<std::uint64_t, SegmentFile>& files_;
    Place place_;
    bool chain_is_known_ = true;
    bool tail_is_zero_ = false;
    Known known_;
    BatchWindow window_;
    std::optional<std::uint64_t> evidence_;  // highest LSN known to be synced in this segment
};

}  // namespace shmbus::journal
