// The batch that is being appended to, and its way to the disk.
//
// The journal's thread. Appending writes memory, and of a batch that grows large the storage writes
// meanwhile what has come so far. Committing finishes the sums for the place where the batch will
// stand, writes what is left and syncs once; only then does the ledger learn of it, by the same
// fold that a recovery uses. When the write or the sync fails, that segment is never touched again,
// and the same records go into a fresh one that says where the log really ended.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "journal/batch_writer.h"
#include "journal/core.h"

namespace shmbus::journal {

class OpenBatch {
public:
    explicit OpenBatch(Core& core);
    ~OpenBatch();
    OpenBatch(const OpenBatch&) = delete;
    OpenBatch& operator=(const OpenBatch&) = delete;

    [[nodiscard]] Appended publish(const Message& message);
    [[nodiscard]] Outcome append(RecordHead head, std::span<const std::byte> payload);
    [[nodiscard]] Outcome settle(Endpoint endpoint, std::uint64_t lsn);
    [[nodiscard]] Outcome up_to(std::uint64_t lane, std::uint64_t position);
    [[nodiscard]] std::uint64_t consumed_of(std::uint64_t lane) const;
    [[nodiscard]] Journal::Mark mark() const noexcept;
    void take_back(const Journal::Mark& to);
    [[nodiscard]] bool is_empty() const noexcept;
    [[nodiscard]] bool takes_messages() const;
    // Also writes a batch without records when the log has to go on in a fresh segment.
    [[nodiscard]] Committed commit(bool even_if_empty = false);

private:
    enum class Class : std::uint8_t { message, upkeep };
    [[nodiscard]] Outcome room_for(std::uint64_t bytes, Class what) const;
    [[nodiscard]] std::uint64_t most_ranges() const noexcept;
    [[nodiscard]] std::uint64_t total_bytes(std::uint64_t more) const noexcept;
    [[nodiscard]] bool needs_segment(std::uint64_t more) const noexcept;
    void add(RecordHead head, std::span<const std::byte> payload,
             std::span<const std::byte> before = {});
    [[nodiscard]] std::uint32_t audience_of(std::span<const Endpoint> to);
    // Makes them the latest_.
    void address(std::span<const Endpoint> to);
    void add_settled();
    void add_positions();
    [[nodiscard]] int write(bool fresh_segment);
    [[nodiscard]] int write_rest(std::span<const std::byte> all, std::uint64_t offset);
    // Early writes: of a batch that will fit behind the last one, into the current segment.
    void write_early();
    void wait_for_early_writes();
    void keep_place(std::uint64_t more);
    // What was written early is not what the batch will be: nothing more goes into that segment.
    void spoil_segment();
    // Sums and the batch's end, for this place.
    BatchEnd finish(const Seed& seed, std::uint64_t begin, std::uint64_t offset);
    void take_segment();
    void fold(std::uint64_t begin, std::uint64_t end, const Place& before, std::uint64_t seconds);
    void clear();

    Core& core_;
    std::vector<std::byte> bytes_;  // room for a segment's begin, then the records
    std::uint64_t records_ = 0;
    std::optional<BatchSums> early_sums_;  // of what is written early; empty: nothing is
    std::uint64_t early_to_ = 0;           // bytes_ up to here
    int early_error_ = 0;                  // of early writes that were waited for
    std::uint64_t sync_ns_ = 0;  // that its fdatasync took
    std::vector<std::pair<Endpoint, std::uint64_t>> settled_;
    struct Settling {
        std::uint32_t count = 0;   // of settled_
        std::uint64_t ranges = 0;  // that its record has at most
    };
    std::map<Endpoint, Settling> settling_;       // by whose they are; count 0: nobody's
    std::uint64_t settled_bytes_ = 0;             // an upper bound for what will tell of them
    struct Moved {
        std::uint64_t lane = 0;
        std::uint64_t before = 0;  // in this batch; for when it is taken back
    };
    std::vector<Moved> positions_;  // in the order in which they were told
    struct Moving {
        std::uint32_t count = 0;     // of positions_
        std::uint64_t position = 0;  // the highest of them
    };
    std::map<std::uint64_t, Moving> moving_;  // by lane
    std::vector<std::pair<std::vector<Endpoint>, std::uint32_t>> audiences_;  // new in this batch
    std::map<std::uint32_t, std::uint32_t> sequences_;  // last given in this batch
    // Whom the last message of this batch is for: the next one mostly goes there too.
    struct Latest {
        std::vector<Endpoint> to;
        std::uint32_t audience = 0;         // 0: there is none
        std::uint32_t* sequence = nullptr;  // its place in sequences_
    } latest_;
};

}  // namespace shmbus::journal
