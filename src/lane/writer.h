// The writing side of a lane: claim room, fill it, commit.
//
// Used by one thread of the lane's one writing process at a time, under one open claim. No locked
// operation, no system call, no allocation from claim to commit. What is not committed was never
// there, so a writer may die or change its mind anywhere.
#pragma once

#include "lane/lane_file.h"
#include "lane/protocol.h"

#include <algorithm>
#include <chrono>

namespace shmbus::lane {

// The inbox as a sender sees it: who holds what, read-only. See inbox_file.h.
class InboxView;

// Room for one record. `record` is null when there was none.
struct Claim {
    std::byte* record = nullptr;
    std::uint64_t position = 0;
    explicit operator bool() const noexcept { return record != nullptr; }
};

class Writer {
public:
    // Opens a lane that was never written to. Throws SetupError.
    explicit Writer(const base::File& file);

    // Room for a record of `units` (of 64 bytes, at most most_units()), or nothing. The bytes are
    // whatever lay there.
    [[nodiscard, gnu::always_inline]] Claim claim(std::uint64_t units) noexcept {
        if (tail_ + units > limit_) [[unlikely]] {
            if (!look_for_room(units)) return {};
        }
        return {data_ + (tail_ * wire::unit_bytes & mask_), tail_};
    }
    // The same without a look at what readers gave back meanwhile: nothing when the room that is
    // known of is used up. Makes no call, so that who calls it needs no stack.
    [[nodiscard, gnu::always_inline]] Claim claim_known(std::uint64_t units) noexcept {
        if (tail_ + units > limit_) [[unlikely]] return {};
        return {data_ + (tail_ * wire::unit_bytes & mask_), tail_};
    }
    // Publishes a record whose length in units is known; otherwise as commit.
    [[gnu::always_inline]] void commit_known(const Claim& claim, std::uint64_t meta,
                                             std::uint64_t units) noexcept {
        auto* words = reinterpret_cast<Word*>(claim.record);
        // relaxed: carried by PUBLISHED.
        words[1].store(meta, std::memory_order_relaxed);
        publish(words[0], salt_, claim.position);
        tail_ = claim.position + units;
    }
    // Publishes the claimed record. Returns nothing because it cannot be refused.
    [[gnu::always_inline]] void commit(const Claim& claim, std::uint64_t meta) noexcept {
        commit_known(claim, meta, wire::units_of(meta));
    }

    // Counts the room by itself from the head and the hands, for when the readers that should have
    // given it back are stopped or dead. True when `units` fit afterwards.
    [[nodiscard]] bool count_room(const InboxView& inbox, std::uint64_t units) noexcept;
    // Asks readers to ring when they give room back, and waits at most `limit` for it. The caller
    // looks again afterwards, whatever happened.
    void wait_for_room(const InboxView& inbox, std::uint64_t units,
                       std::chrono::nanoseconds limit) noexcept;
    // Says that no record will follow. Idempotent.
    void close() noexcept;

    [[nodiscard]] std::uint64_t most_units() const noexcept { return capacity_units_ / 4; }
    [[nodiscard]] std::uint64_t tail() const noexcept { return tail_; }
    [[nodiscard]] std::uint64_t lane_id() const noexcept { return parts_->identity().lane_id; }
    [[nodiscard]] const LaneParts& parts() const noexcept { return *parts_; }
    // The file was cut short under us, or a reader found the lane scribbled on.
    [[nodiscard]] bool lost() const noexcept {
        // relaxed: a hint, read again by the next send.
        return parts_->lost() ||
               parts_->reader_page().poisoned.load(std::memory_order_relaxed) != 0;
    }

private:
    using Word = base::StdWord<std::uint64_t>;
    // Reads the readers' word; believes it only between the last believed value and the tail.
    bool look_for_room(std::uint64_t units) noexcept;
    void believe(std::uint64_t reclaim) noexcept {
        if (reclaim > reclaimed_ && reclaim <= tail_) reclaimed_ = reclaim;
        limit_ = reclaimed_ + capacity_units_;
    }

    std::unique_ptr<LaneParts> parts_;
    std::byte* data_;
    std::uint64_t mask_;
    std::uint64_t salt_;
    std::uint64_t capacity_units_;
    std::uint64_t limit_;  // where the known room ends: reclaimed_ and a lap
    std::uint64_t tail_ = 0;
    std::uint64_t reclaimed_ = 0;
};

}  // namespace shmbus::lane
