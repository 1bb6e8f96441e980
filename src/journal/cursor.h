// Reads published records back from the segments, in the order of their LSNs.
//
// The journal's thread. Holds one file open and a buffer of its own; nothing else grows. Segments
// may be merged or removed under it: it notices and goes on behind the last LSN that it passed.
// Every record that it hands out has been compared with its sums.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "journal/ledger.h"
#include "journal/report.h"
#include "journal/storage.h"

namespace shmbus::journal {

class Cursor {
public:
    struct Found {
        RecordHead head;
        std::span<const std::byte> payload;  // until the next call
    };
    enum class Answer : std::uint8_t {
        record,
        end,         // nothing more up to the place that was given
        damaged,     // a loss that nobody has accepted; damage() tells
        unreadable,  // the disk did not answer; error() tells. Nothing has changed
    };

    Cursor(std::uint64_t journal_id, std::uint64_t read_ahead_bytes) noexcept
        : journal_id_(journal_id), read_ahead_bytes_(read_ahead_bytes) {}

    // The next record will have a higher LSN than this.
    void go_behind(std::uint64_t lsn) noexcept;
    [[nodiscard]] std::uint64_t lsn() const noexcept { return lsn_; }
    // The next record published to `only`, or to anybody, before `end`. Never behind what is
    // synced: `end` is.
    [[nodiscard]] Answer next(Storage& storage, const Ledger& ledger, const Place& end,
                              std::optional<Endpoint> only, Found& found);
    [[nodiscard]] const Damage& damage() const noexcept { return damage_; }
    [[nodiscard]] int error() const noexcept { return error_; }
    // Gives the buffer and the file back.
    void rest() noexcept;

private:
    [[nodiscard]] Answer unreadable() noexcept;
    [[nodiscard]] bool find_place(Storage& storage, const Ledger& ledger);
    [[nodiscard]] bool is_still_there(const Ledger& ledger) const;
    // The stretch of the file that begins at offset_ and has `bytes`, or what `end` leaves of them.
    [[nodiscard]] Stretch load(std::uint64_t bytes, std::uint64_t end);
    [[nodiscard]] std::optional<RecordHead> head_here(std::uint64_t end);
    // Goes to the next head before `end`, or to `end`.
    [[nodiscard]] std::optional<RecordHead> find_next_head(std::uint64_t end);
    // All up to `last` is passed, if that loses nothing or an operator has accepted it.
    [[nodiscard]] bool pass_to(const Ledger& ledger, std::uint64_t last, std::uint64_t offset);
    enum class Look : std::uint8_t { found, passed, damaged, unreadable };
    [[nodiscard]] Look look(const Ledger& ledger, const Segment& segment, std::uint64_t end,
                            std::uint64_t end_lsn, std::optional<Endpoint> only, Found& found);

    std::uint64_t journal_id_;
    std::uint64_t read_ahead_bytes_;
    std::uint64_t lsn_ = 0;     // passed
    std::uint64_t number_ = 0;  // 0: has to look for its place
    std::uint64_t offset_ = 0;
    std::uint64_t salt_ = 0;
    Seed seed_;
    Storage::FilePointer file_;
    std::vector<std::byte> buffer_;
    std::uint64_t buffer_begin_ = 0;
    Damage damage_;
    int error_ = 0;  // of the disk, in the call that is under way
};

}  // namespace shmbus::journal
