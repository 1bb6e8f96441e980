// A lane and an inbox as somebody sees them who takes no part: reads only, disturbs nobody, works
// when everybody is dead.
//
// Used by tools. Lanes are mapped for reading; inboxes are read with pread, so that the holes in
// them stay holes. What is seen was there at one moment, each word for itself; a record is believed
// only if it stood there before and behind the reading.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/file.h"
#include "lane/count.h"
#include "lane/lane_file.h"
#include "lane/metrics.h"

namespace shmbus::lane {

// One record, copied out whole while it stood there.
struct SeenRecord {
    std::uint64_t position = 0;
    std::uint64_t units = 0;  // of 64 bytes
    wire::Meta meta;
    std::vector<std::byte> block;  // extensions, then the payload

    // Valid as long as the record is.
    [[nodiscard]] std::span<const std::byte> payload() const noexcept;
    // False: its parts do not fit its header; no writer makes such a record.
    [[nodiscard]] bool extensions(wire::Extensions& into) const noexcept;
    // How many messages it is.
    [[nodiscard]] std::uint64_t messages() const noexcept;
};

class LaneOnlooker {
public:
    // Throws SetupError.
    explicit LaneOnlooker(const base::File& file);

    [[nodiscard]] const LaneIdentity& identity() const noexcept { return parts_.identity(); }
    // The file was cut short meanwhile: zeros are seen.
    [[nodiscard]] bool lost() const noexcept { return parts_.lost(); }

    struct Where {
        std::uint64_t head = 0;     // below this all is taken
        std::uint64_t reclaim = 0;  // below this all may be overwritten
        std::uint16_t hand = no_hand;  // that took last
        std::uint64_t receipt = 0;  // lanes into the journal: below this all is on disk
        bool is_closed = false;
        bool is_poisoned = false;
        bool wants_room = false;
    };
    [[nodiscard]] Where where() const noexcept;

    // False: nothing stands there, yet or any more, or no writer makes such a record.
    [[nodiscard]] bool look(std::uint64_t position, SeenRecord& into) const;

    struct Count {
        std::uint64_t messages = 0;  // that the lane has ever carried
        std::uint64_t waiting = 0;   // that nobody has taken yet
        std::uint64_t tail = 0;      // where the next record will stand
        // Nothing was overwritten while they were counted, and the tail was seen. Always so when
        // the writer is quiet or dead.
        bool is_exact = false;
        // Records for which no room was found in time; those of them that were then let go as the
        // newest; messages that were let go as the oldest; and how often the writer waited.
        std::uint64_t refused = 0;
        std::uint64_t dropped_newest = 0;
        std::uint64_t dropped_oldest = 0;
        std::uint64_t waits = 0;
    };
    [[nodiscard]] Count count() const noexcept;

private:
    LaneParts parts_;
    Sight sight_;
};

// What a consumer counts and times: see metrics.h.
class Metrics {
public:
    [[nodiscard]] std::uint64_t counter(Counter which) const noexcept {
        return counts_[static_cast<std::size_t>(which)];
    }
    struct TypeCount {
        std::uint32_t type;  // index
        std::uint64_t handled;
        std::size_t row;
    };
    [[nodiscard]] const std::vector<TypeCount>& types() const noexcept { return types_; }
    [[nodiscard]] std::uint64_t other_types() const noexcept { return other_types_; }
    struct TimedLane {
        std::uint64_t lane;  // id
        std::size_t row;
    };
    // Those that have a row of times; also lanes that are gone, as long as nobody else has it.
    [[nodiscard]] const std::vector<TimedLane>& timed_lanes() const noexcept {
        return timed_lanes_;
    }
    struct TypeTrouble {
        std::uint32_t type;  // index; 0: types for which there was no row
        std::array<std::uint64_t, troubles> counts;
    };
    [[nodiscard]] const std::vector<TypeTrouble>& troubled() const noexcept { return troubled_; }
    using Histogram = std::array<std::uint64_t, buckets>;
    using Times = std::array<Histogram, timed>;
    [[nodiscard]] const Times& times() const noexcept { return times_; }
    [[nodiscard]] const Histogram& histogram(Timed which) const noexcept {
        return times_[static_cast<std::size_t>(which)];
    }

private:
    friend class InboxOnlooker;
    std::array<std::uint64_t, counters> counts_{};
    std::vector<TypeCount> types_;
    std::uint64_t other_types_ = 0;
    std::vector<TypeTrouble> troubled_;
    std::vector<TimedLane> timed_lanes_;
    Times times_{};
};

// Records that wait in the journal and are in no lane yet, as the daemon said last in this inbox.
// What the number no longer has is in a lane for whoever looks at lanes and their rows after this.
// 0 for a file that was cut short.
[[nodiscard]] std::uint64_t on_disk(const base::File& inbox);

class InboxOnlooker {
public:
    // Throws SetupError.
    explicit InboxOnlooker(const base::File& file);

    // Reads it anew; the lists below are of this moment. False: it was cut short; all is empty.
    bool refresh();
    [[nodiscard]] const InboxIdentity& identity() const noexcept { return identity_; }
    [[nodiscard]] std::vector<std::uint64_t> lanes() const;  // their ids

    struct Consumer {
        std::uint16_t slot = 0;
        std::uint64_t participant = 0;
        bool sleeps = false;
    };
    [[nodiscard]] std::vector<Consumer> consumers() const;

    struct HandSeen {
        std::uint16_t index = 0;
        std::uint16_t owner = 0;  // slot of a consumer
        HandState state = HandState::idle;
        std::uint64_t lane = 0;
        std::uint64_t from = 0;
        std::uint64_t end = 0;
        std::uint64_t since_ticks = 0;
        std::uint32_t count = 0;  // records
        std::uint32_t done = 0;   // of them, from the first on without a gap
        std::uint64_t done_records = 0;  // a bit for each that is done
    };
    // Those that hold something, or are about to.
    [[nodiscard]] std::vector<HandSeen> hands() const;
    // Messages that were handled, dropped or given to the error endpoint; exact also after a kill.
    // Packed records that a hand has done count as one until its batch is done.
    [[nodiscard]] std::uint64_t settled() const noexcept;
    // The same of the hands of one consumer's place, over all who ever had it.
    [[nodiscard]] std::uint64_t settled_by(std::uint16_t slot) const noexcept;
    // Of lanes that are gone.
    struct Gone {
        std::uint64_t refused = 0;
        std::uint64_t dropped_newest = 0;
        std::uint64_t dropped_oldest = 0;
        std::uint64_t waits = 0;
        std::uint64_t units = 0;  // that they have carried
        friend bool operator==(const Gone&, const Gone&) = default;
    };
    [[nodiscard]] Gone gone() const noexcept;
    // Of one consumer's place. Reads the file.
    [[nodiscard]] Metrics metrics(std::uint16_t slot) const;
    // Of one row of its `types` alone; all zero where there are none. Reads the file: 26 KiB.
    [[nodiscard]] Metrics::Times times_of_row(std::uint16_t slot, std::size_t row) const;
    // Of one of its `timed_lanes`; all zero too when the row was given to another one meanwhile.
    [[nodiscard]] Metrics::Times times_of_lane(std::uint16_t slot, Metrics::TimedLane which) const;

private:
    [[nodiscard]] const StdHands& all_hands() const noexcept;
    [[nodiscard]] const StdConsumers& table() const noexcept;
    [[nodiscard]] std::uint32_t hands_used() const noexcept;
    [[nodiscard]] Metrics::Times times_at(std::size_t offset) const;

    base::File file_;
    InboxIdentity identity_;
    std::vector<std::byte> bytes_;  // of the file, without the metrics; aligned by `begin_`
    std::byte* begin_ = nullptr;
};

}  // namespace shmbus::lane
