// Receipts: how the sender of durable messages learns that they are on disk.
//
// A lane into the journal has one reader, the daemon. When a batch is synced it stores the position
// up to which the lane is durable, and rings if somebody waits. So a receipt is a look at a word,
// and a daemon that is killed in between leaves the word as it was: the next one stores it again.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "base/parking.h"
#include "lane/lane_file.h"

#include <chrono>

namespace shmbus::lane {

// The daemon's side: everything before `position` is durable. Only grows.
//   killed before the store   the next daemon finds the position in the journal and stores it
//   killed before the bell    who waits looks by itself after its limit
template <class A>
void give_receipt(ReaderPage<A>& page, const WriterPage<A>& writer,
                  std::uint64_t position) noexcept {
    // RECEIVED: the batch that was synced. seq_cst, and the look behind it too: either the waiter's
    // wish is seen here or the waiter sees the position. Other end: has_receipt.
    page.receipt.store(position, std::memory_order_seq_cst);
    if (writer.wants_receipt.load(std::memory_order_seq_cst) == 0) return;
    // RUNG: the position. Other end: wait_for_receipt.
    page.receipt_bell.fetch_add(1, std::memory_order_release);
    // Found by the word's own room: base::wake for the real ones, a model's for a model's.
    wake(page.receipt_bell, base::all_sleepers);
}

template <class A>
[[nodiscard]] bool has_receipt(const ReaderPage<A>& page, std::uint64_t position) noexcept {
    // RECEIVED. Other end: give_receipt.
    return page.receipt.load(std::memory_order_seq_cst) >= position;
}

// A sender's side of one lane into the journal. Any thread of the writing process.
class ReceiptView {
public:
    // Throws SetupError.
    explicit ReceiptView(const base::File& lane);
    ReceiptView(const ReceiptView&) = delete;
    ReceiptView& operator=(const ReceiptView&) = delete;

    [[nodiscard]] bool has(std::uint64_t position) const noexcept {
        return has_receipt(reader_.at<StdReaderPage>(), position);
    }
    // Sleeps until the bell rings or `limit` passes; the caller looks again.
    void wait(std::uint64_t position, std::chrono::nanoseconds limit) noexcept;
    [[nodiscard]] std::uint64_t lane_id() const noexcept { return lane_id_; }
    // The file was cut short under us: no receipt will be seen.
    [[nodiscard]] bool lost() const noexcept {
        return lost_.load(std::memory_order_relaxed);  // relaxed: a hint
    }

private:
    std::uint64_t lane_id_;
    std::atomic<bool> lost_{false};
    base::Mapping writer_;
    base::Mapping reader_;
    base::FaultGuard writer_guard_;
    base::FaultGuard reader_guard_;
};

}  // namespace shmbus::lane
