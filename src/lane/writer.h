// The writing side of a lane: claim room, fill it, commit.
//
// Used by one thread of the lane's one writing process at a time, under one open claim. No locked
// operation, no system call, no allocation from claim to commit. What is not committed was never
// there, so a writer may die or change its mind anywhere.
#pragma once

#include "base/bytes.h"
#include "lane/count.h"
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

// The same on a budget; see Writer::claim_quickly.
struct QuickClaim {
    std::byte* record = nullptr;
    std::uint64_t at = 0;  // 0: there is no room, or no budget
    explicit operator bool() const noexcept { return at != 0; }
};

class Writer {
public:
    // Opens a lane that was never written to. Throws SetupError.
    explicit Writer(const base::File& file);
    // Goes on in one that a dead writer left, whose last record ends at `tail`.
    Writer(const base::File& file, std::uint64_t tail);

    // Room for a record of `units` (of 64 bytes, at most most_units()), or nothing. The bytes are
    // whatever lay there.
    [[nodiscard, gnu::always_inline]] Claim claim(std::uint64_t units) noexcept {
        const std::uint64_t position = tail();
        if (position + units > limit_) [[unlikely]] {
            if (!look_for_room(units)) return {};
        }
        return {record_at(position), position};
    }
    // For records of several lines: those of later ones are on their way before their stores wait
    // for them. Between distant cores a tenth more messages (bench: durable, 1,024 in flight). The
    // data is mapped twice.
    void ask_ahead(const Claim& claim, std::uint64_t units) const noexcept {
        const std::byte* const ahead = claim.record + most_lines_ahead * wire::unit_bytes;
        for (std::uint64_t line = 0; line < std::min(units, most_lines_ahead); ++line)
            base::prefetch_for_write(ahead + line * wire::unit_bytes);
    }
    // Publishes the claimed record of so many messages. Returns nothing because it cannot be
    // refused.
    [[gnu::always_inline]] void commit(const Claim& claim, std::uint64_t meta,
                                       std::uint64_t messages = 1) noexcept {
        write_head(claim, meta);
        counted_ += messages;
        // relaxed: written by this thread alone; others read it for a figure to show.
        at_.store(at_.load(std::memory_order_relaxed) + (wire::units_of(meta) << 16),
                  std::memory_order_relaxed);
    }

    // The same on a budget: so many records until the owner has something to do besides, and only
    // into room that is known of. Both stand in one word, because a stream between distant cores
    // is as quick as it makes few stores. Makes no call, so that who calls it needs no stack.
    [[nodiscard, gnu::always_inline]] QuickClaim claim_quickly(std::uint64_t units) noexcept {
        // relaxed: as in commit.
        const std::uint64_t at = at_.load(std::memory_order_relaxed);
        if ((at & most_budget) == 0 || (at >> 16) + units > limit_ || parts_.lost()) [[unlikely]]
            return {};
        std::byte* const record = record_at(at >> 16);
        // In a stream the line of a later record is on its way before its stores wait for it: two
        // thirds more messages between distant cores (bench: oneway). Of records of several lines
        // one line alone is no help. The data is mapped twice.
        if (units == 1) {
            base::prefetch_for_write(record + bytes_ahead_);
            if (bytes_ahead_ == 0) bytes_ahead_ = lines_ahead * wire::unit_bytes;
        }
        return {record, at};
    }
    // The next record stands alone, until others follow it: a later one's line, taken now, would
    // only have to travel twice (bench: pingpong).
    void expect_single() noexcept { bytes_ahead_ = 0; }
    [[gnu::always_inline]] void commit_quickly(const QuickClaim& claim, std::uint64_t meta,
                                               std::uint64_t units) noexcept {
        write_head({claim.record, claim.at >> 16}, meta);
        at_.store(claim.at + (units << 16) - 1, std::memory_order_relaxed);  // relaxed: ours
    }
    static constexpr std::uint64_t most_budget = 0xFFFF;
    static constexpr std::size_t lines_ahead = 8;
    static constexpr std::uint64_t most_lines_ahead = 16;
    [[nodiscard]] std::uint64_t budget() const noexcept {
        return at_.load(std::memory_order_relaxed) & most_budget;  // relaxed: a figure to others
    }
    // At most most_budget.
    void set_budget(std::uint64_t records) noexcept {
        counted_ += granted_ - budget();
        granted_ = records;
        at_.store(tail() << 16 | records, std::memory_order_relaxed);  // relaxed: ours
    }

    // Messages that this lane has carried, whoever wrote them.
    [[nodiscard]] std::uint64_t messages() const noexcept {
        return counted_ + granted_ - budget();
    }
    // Counts what did not get in, for others to see.
    enum class Account : std::uint8_t { refused, dropped_newest, dropped_oldest, waits };
    void note(Account what, std::uint64_t how_many = 1) noexcept;

    // Where the readers say that they are cannot be: not between what is free and what was written,
    // or nothing that we wrote is there.
    [[nodiscard]] bool is_scribbled() const noexcept;
    // Counts the room by itself from the head and the hands, for when the readers that should have
    // given it back are stopped or dead. True when `units` fit afterwards.
    [[nodiscard]] bool count_room(const InboxView& inbox, std::uint64_t units) noexcept;
    // Everything below was handled, as far as the last look for room told.
    [[nodiscard]] std::uint64_t known_done() const noexcept { return reclaimed_; }
    // Asks readers to ring when they give room back, and waits at most `limit` for it. The caller
    // looks again afterwards, whatever happened.
    void wait_for_room(const InboxView& inbox, std::uint64_t units,
                       std::chrono::nanoseconds limit) noexcept;
    // Says that no record will follow. Idempotent.
    void close() noexcept;
    // No reader waits for a record here any more. relaxed: only writers close it.
    [[nodiscard]] bool is_closed() const noexcept {
        return parts_.writer_page().closed.load(std::memory_order_relaxed) != 0;
    }
    // The next record carries this journal record. Before the record is committed; see last_lsn.
    void note_lsn(std::uint64_t lsn) noexcept;

    // Where the next record will stand.
    [[nodiscard]] const std::byte* next_record() const noexcept {
        return record_at(tail());
    }
    [[nodiscard]] std::uint64_t most_units() const noexcept { return capacity_units_ / 4; }
    [[nodiscard]] std::uint64_t capacity_units() const noexcept { return capacity_units_; }
    [[nodiscard]] std::uint64_t tail() const noexcept {
        return at_.load(std::memory_order_relaxed) >> 16;  // relaxed: as in commit
    }
    [[nodiscard]] std::uint64_t lane_id() const noexcept { return parts_.identity().lane_id; }
    [[nodiscard]] const LaneParts& parts() const noexcept { return parts_; }
    // The file was cut short under us, or a reader found the lane scribbled on.
    [[nodiscard]] bool lost() const noexcept {
        // relaxed: a hint, read again by the next send.
        return parts_.lost() ||
               parts_.reader_page().poisoned.load(std::memory_order_relaxed) != 0;
    }

private:
    using Word = base::StdWord<std::uint64_t>;
    [[nodiscard, gnu::always_inline]] std::byte* record_at(std::uint64_t position) const noexcept {
        return data_ + (position * wire::unit_bytes & mask_);
    }
    [[gnu::always_inline]] void write_head(const Claim& claim, std::uint64_t meta) noexcept {
        auto* words = reinterpret_cast<Word*>(claim.record);
        // relaxed: carried by PUBLISHED.
        words[1].store(meta, std::memory_order_relaxed);
        publish(words[0], salt_, claim.position);
    }
    // Reads the readers' word; believes it only between the last believed value and the tail.
    bool look_for_room(std::uint64_t units) noexcept;
    void believe(std::uint64_t reclaim) noexcept {
        if (reclaim > reclaimed_ && reclaim <= tail()) reclaimed_ = reclaim;
        limit_ = reclaimed_ + capacity_units_;
    }

    LaneParts parts_;
    std::byte* data_;
    std::uint64_t mask_;
    std::uint64_t salt_;
    std::uint64_t limit_;           // where the known room ends: reclaimed_ and a lap
    std::atomic<std::uint64_t> at_{0};  // {tail:48, budget:16}
    std::uint64_t capacity_units_;
    std::uint64_t reclaimed_ = 0;
    std::uint64_t counted_ = 0;     // messages, besides those that are gone of the budget
    std::uint64_t granted_ = 0;     // of the budget that runs
    std::size_t bytes_ahead_ = 0;   // of the line to be asked for with the next record
};

// What the last record of this lane carried, whose writer may have died anywhere: `tail` is where
// its last record ends. 0: nothing was noted.
[[nodiscard]] std::uint64_t last_lsn(const LaneParts& parts, std::uint64_t tail) noexcept;
// Of the same lane. False: records that were written, or taken, stand behind that tail, so
// somebody wrote over one before them.
[[nodiscard]] bool reaches_what_was_written(const LaneParts& parts, std::uint64_t tail) noexcept;

}  // namespace shmbus::lane
