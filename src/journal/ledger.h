// What the journal says, folded: who has settled what, and what the daemon wants to find again.
//
// The journal's thread. The same fold serves a batch that was just synced and a journal that is
// read again, so what is in memory is always what a recovery would find. Nothing in here grows
// with the number of messages: what an endpoint still has to get is "above low, but for a few
// ranges", and which messages those are is read from the segments.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "journal/format.h"
#include "journal/id_window.h"
#include "journal/ranges.h"

namespace shmbus::journal {

using Endpoint = std::uint64_t;  // the daemon's number for a durable queue; never given twice

struct Settled {
    std::uint64_t low = 0;               // everything for it up to here is settled
    Ranges above;                        // and these
    std::uint64_t count = 0;             // messages settled, ever
    std::uint64_t addressed_before = 0;  // messages published to it by audiences that are gone
};

// A set of endpoints that messages go to. Never changes; another set is another audience.
struct Audience {
    std::vector<Endpoint> endpoints;  // sorted
    std::uint64_t last_lsn = 0;       // of the last message published to it
    std::uint64_t last_before = 0;    // the same, before the last batch; in memory only
    std::uint64_t count = 0;          // of messages published to it
    std::uint32_t sequence = 0;       // of the last one
};

// What a segment holds for an audience.
struct Share {
    std::uint64_t first_lsn = 0;
    std::uint64_t last_lsn = 0;
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
};

struct Segment {
    std::uint64_t number = 0;
    std::uint64_t covers_to = 0;
    std::uint64_t file_bytes = 0;
    std::uint64_t salt = 0;
    std::uint64_t first_lsn = 0;    // of what it holds or held
    Place begin;                    // what it follows
    Place end;                      // closed: where its successor says it ended
    std::uint64_t content_end = 0;  // of the file; merged: other than end.offset
    bool merged = false;
    bool closed = false;
    bool clean = true;  // closed because it was full: behind the end there are zeros
    std::map<std::uint32_t, Share> shares;
    // Where some of its batches begin, to find a record without reading all; in memory only.
    struct Mark {
        std::uint64_t before_lsn = 0;
        std::uint64_t offset = 0;
    };
    std::vector<Mark> marks;
};

struct Watermark {
    std::uint64_t position = 0;
    std::uint64_t seconds = 0;  // of the last change
    std::uint32_t gone = 0;     // the lane brings nothing new
    std::uint32_t doubted = 0;  // what it brought may be among what was lost
};

struct ItemKey {
    std::uint16_t type = 0;
    std::uint64_t key = 0;
    friend auto operator<=>(const ItemKey&, const ItemKey&) = default;
};

struct LedgerLimits {
    std::uint64_t window_seconds = 86'400;
    std::uint32_t most_ids = 262'144;
    std::uint32_t most_gone_lanes = 65'536;
};

class Ledger {
public:
    explicit Ledger(const LedgerLimits& limits = {}) : ids(limits.most_ids), limits_(limits) {}

    std::map<Endpoint, Settled> endpoints;
    std::map<std::uint32_t, Audience> audiences;
    std::map<ItemKey, std::vector<std::byte>> items;
    std::map<std::uint64_t, Watermark> lanes;
    IdWindow ids;
    Ranges accepted_losses;
    std::map<std::uint64_t, Segment> segments;  // by number, what they stand for is disjoint
    std::uint32_t next_audience = 1;
    std::uint64_t seconds = 0;          // of the last batch
    std::uint64_t doubted_to = 0;       // ids seen up to that time may be among what was lost
    std::uint64_t batch_begin_lsn = 0;  // what the last batch follows; in memory only

    // One record of a valid batch that stands in segment `number`. False: its content is not what
    // its kind must have, and nothing was changed.
    [[nodiscard]] bool apply(std::uint64_t number, const RecordHead& head,
                             std::span<const std::byte> payload);
    // A segment begins; the one that it follows is closed.
    void begin_segment(const SegmentHead& head, const SegmentBegin& begin);
    // An audience as a checkpoint kept it.
    void restore(std::uint32_t number, Audience audience);
    // Before the first record of a batch, which all of its records take their time from.
    void batch_begins(std::uint64_t batch_seconds) noexcept;
    // After the last record of a batch that begins here.
    void batch_done(const Place& begin);

    // Messages that are known may be among those that an operator has accepted as lost.
    [[nodiscard]] bool is_doubted(MessageId id) const noexcept;
    [[nodiscard]] bool is_doubted_lane(std::uint64_t lane) const noexcept;
    [[nodiscard]] bool is_settled(Endpoint endpoint, std::uint64_t lsn) const;
    // Somebody still has to get it.
    [[nodiscard]] bool is_live(std::uint32_t audience, std::uint64_t lsn) const;
    // 0: no such audience yet.
    [[nodiscard]] std::uint32_t find_audience(const std::vector<Endpoint>& sorted) const;
    [[nodiscard]] bool concerns(std::uint32_t audience, Endpoint endpoint) const;
    // Messages that the endpoint has not settled.
    [[nodiscard]] std::uint64_t backlog(Endpoint endpoint) const;
    // The last message that was published to it, settled or not.
    [[nodiscard]] std::uint64_t last_for(Endpoint endpoint) const;
    // The same, before the last batch.
    [[nodiscard]] std::uint64_t last_before_for(Endpoint endpoint) const;
    // An estimate: exact where no low lies within the share.
    [[nodiscard]] std::uint64_t live_bytes(const Segment& segment) const;
    // The first segment that may hold something above this LSN. Those between may be gone: then
    // nobody wants what they held.
    [[nodiscard]] const Segment* first_behind(std::uint64_t lsn) const;
    // Forgets audiences that nothing on disk names, and what is past its time. Not while a batch
    // is open: it may name an audience that nothing else does.
    void tidy();

private:
    [[nodiscard]] bool add_published(std::uint64_t number, const RecordHead& head);
    void doubt_what_is_known();
    [[nodiscard]] bool add_audience(const RecordHead& head, std::span<const std::byte> payload);
    [[nodiscard]] bool add_settled(const RecordHead& head, std::span<const std::byte> payload);
    void forget(Endpoint endpoint);
    void limit_gone_lanes();

    std::map<std::vector<Endpoint>, std::uint32_t> by_endpoints_;
    LedgerLimits limits_;
};

}  // namespace shmbus::journal
