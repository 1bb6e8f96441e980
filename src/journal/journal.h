// The journal as the daemon sees it: a batch that is appended to and committed, and feeds that
// read back what is not settled.
//
// One thread does all of it, and nothing in here starts another; const members too are for that
// thread only. The order of a turn is: append to the open batch; commit() it (one write and one
// sync for everything); hand out what it published and move the lanes' receipts; then maintain()
// as time permits. What commit() has answered with ok survives a power cut; nothing else does.
// Where no memory is left, appending throws std::bad_alloc and leaves the batch as it was; commit()
// stops the journal instead, as after a write that failed.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/result.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "journal/ledger.h"
#include "journal/ranges.h"
#include "journal/report.h"
#include "journal/storage.h"

namespace shmbus::journal {

struct Options {
    std::uint64_t segment_bytes = 64U << 20;      // 32 KiB to 4 GiB, of blocks; for a new journal
    std::uint64_t most_batch_bytes = 4U << 20;    // more is refused with batch_full
    // A batch that has grown by so much is begun to be written while it goes on growing.
    std::uint64_t early_write_bytes = 256U << 10;
    // What one maintain() writes, about. Behind longer batches it fills no segment with zeros.
    std::uint64_t slice_bytes = 1U << 20;
    std::uint64_t checkpoint_bytes = 64U << 20;   // written between two checkpoints
    std::uint64_t read_ahead_bytes = 256U << 10;  // of a feed that is behind
    std::uint32_t most_handed_out = 65'536;       // of one endpoint, not settled
    std::uint32_t most_ranges = 1'024;            // settled out of order, of one endpoint
    LedgerLimits ledger;
    Ranges accepted_losses;                      // what the operator accepts at this start
    std::function<std::uint64_t()> now_seconds;  // since 1970; empty: the system's clock
    std::function<std::uint64_t()> uptime_seconds;  // never steps; empty: since the machine's boot
    std::function<std::uint64_t()> random;          // not 0; empty: the kernel's
};

enum class Outcome : std::uint8_t {
    ok,
    batch_full,  // commit, then append it again
    too_large,   // longer than a quarter of a segment; settling: first what is in between
    no_space,    // the disk is full; acknowledgements still work, and maintain() tries again
    stopped,     // see Journal::why_stopped()
};

struct Message {                   // to be published
    std::span<const Endpoint> to;  // at least one; in any order, each once
    std::span<const std::byte> head;  // the payload's first part; may be empty
    std::span<const std::byte> payload;
    std::uint16_t type = 0;
    MessageId id;
    bool keep_id = false;  // remember the id, so that was_seen() knows it again
};

struct Appended {
    Outcome outcome = Outcome::ok;
    std::uint64_t lsn = 0;  // will be its number if the batch is committed
};

struct Committed {
    Outcome outcome = Outcome::ok;  // ok: all of it is durable, or there was nothing to do
    std::uint64_t first_lsn = 0;
    std::uint64_t last_lsn = 0;
    bool rewritten = false;  // the first attempt failed; it stands in a fresh segment
    std::uint64_t bytes = 0;    // written, padding included
    std::uint64_t sync_ns = 0;  // that its fdatasync took
    std::string why;         // stopped: it is not known what of the batch is on disk
};

struct Delivery {  // read back
    std::uint64_t lsn = 0;
    std::uint16_t type = 0;
    MessageId id;
    std::span<const std::byte> payload;  // until the next call on this journal
};

enum class Next : std::uint8_t { message, nothing, full, unreadable, damaged };

struct Status {
    std::uint64_t durable_lsn = 0;
    std::uint64_t journal_bytes = 0;  // of all segments
    std::uint64_t live_bytes = 0;     // of messages that somebody has not settled; an estimate
    std::uint32_t segments = 0;
    std::uint32_t spares = 0;
    std::uint64_t checkpoint_lsn = 0;
    std::uint64_t most_payload_bytes = 0;  // of a message; longer ones are too_large
    std::uint64_t failed_writes = 0;
    std::uint64_t ids_pushed_out = 0;  // forgotten before their time, for want of room
    std::string trouble;               // what maintain() could not do, or empty
};

class Journal {
public:
    // A place in the open batch to go back to.
    struct Mark {
        std::uint64_t bytes = 0;
        std::uint64_t records = 0;
        std::size_t settled = 0;
        std::size_t positions = 0;
        std::size_t audiences = 0;
    };

    // Takes the lock, recovers, and makes the journal when there is none. Throws SetupError when
    // that cannot be done at all (lock held, disk not answering, another version). When
    // acknowledged records are gone it comes up stopped and report() says which. The storage must
    // outlive it.
    explicit Journal(Storage& storage, const Options& options = {});
    Journal(const Journal&) = delete;
    Journal& operator=(const Journal&) = delete;
    // As if the process had been killed here; what was committed stays.
    ~Journal();
    // Says on disk that all went well, so that the next start need not look for a torn tail.
    void close();

    [[nodiscard]] const Report& report() const noexcept;
    // Empty: in service. Otherwise appending and committing are refused until it is opened again.
    [[nodiscard]] const std::string& why_stopped() const noexcept;
    [[nodiscard]] Status status() const;

    // ---- the open batch
    [[nodiscard]] Appended publish(const Message& message);
    // The endpoint has settled this message. Settling again is no error and does nothing.
    [[nodiscard]] Outcome settle(Endpoint endpoint, std::uint64_t lsn);
    [[nodiscard]] Outcome put(ItemKey key, std::span<const std::byte> bytes);
    [[nodiscard]] Outcome erase(ItemKey key);
    // Nothing will be published to it any more and nothing read; its number is never used again.
    [[nodiscard]] Outcome forget(Endpoint endpoint);
    // Everything in this incoming lane before `position` is in this batch or an earlier one. Once
    // it was taken for a lane it is taken again in the same batch: said before the lane's messages
    // are appended, there is room to say it behind them.
    [[nodiscard]] Outcome up_to(std::uint64_t lane, std::uint64_t position);
    [[nodiscard]] Outcome lane_gone(std::uint64_t lane);
    [[nodiscard]] Mark mark() const noexcept;
    // What was appended since then was never there.
    void take_back(const Mark& to);
    [[nodiscard]] Committed commit();
    // A short message would find room now. If not, spare_error() says what hinders making some; 0:
    // the next segment is only being made.
    [[nodiscard]] bool takes_messages() const;
    [[nodiscard]] int spare_error() const noexcept;

    // ---- what is known; of what is settled and consumed also the open batch
    [[nodiscard]] bool is_settled(Endpoint endpoint, std::uint64_t lsn) const;
    [[nodiscard]] bool was_seen(MessageId id) const;
    // A message that was seen may be among those that an operator has accepted as lost: by its id,
    // or by its place in a lane that was there by then.
    [[nodiscard]] bool is_doubted(MessageId id) const;
    [[nodiscard]] bool is_doubted_lane(std::uint64_t lane) const;
    [[nodiscard]] std::uint64_t consumed_of(std::uint64_t lane) const;  // 0: an unknown lane
    [[nodiscard]] std::uint64_t backlog(Endpoint endpoint) const;
    [[nodiscard]] const Ledger& ledger() const noexcept;

    // ---- delivery
    // The endpoint's next message that is durable and not settled. `full`: too many are handed
    // out; `unreadable`: the disk did not answer, nothing has changed; `damaged`: the bytes are not
    // what was written, and why_stopped() says which.
    [[nodiscard]] Next next(Endpoint endpoint, Delivery& delivery);
    // The daemon still has the bytes of this message of the last batch and hands them out itself.
    // False: older ones come first (or too many are out); next() will bring it in its turn. To be
    // called for each message of the batch that is for this endpoint, in their order.
    [[nodiscard]] bool hand_out(Endpoint endpoint, std::uint64_t lsn);

    // Everything that this endpoint has not settled comes once more. Nothing that it settled may be
    // in the open batch.
    void begin_again(Endpoint endpoint);

    // ---- upkeep, in slices: spare segments, superblock, checkpoints, removal, merging.
    // `idle`: nothing else is to be done. Answers whether there is more to do now. While a batch
    // is open only spare segments are made.
    bool maintain(bool idle = false);

private:
    struct Inside;
    std::unique_ptr<Inside> inside_;
};

// Reads all of a journal and changes nothing; needs no lock, so a running daemon's last batch may
// look torn. `on_record` is given every sound record, in the order of the files. Throws SetupError
// when it cannot be read at all.
[[nodiscard]] Report inspect(Storage& storage, const OnRecord& on_record = {});

}  // namespace shmbus::journal
