// Waiting for receipts. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "lane/receipt.h"

namespace shmbus::lane {

ReceiptView::ReceiptView(const base::File& lane)
    : lane_id_(read_lane_identity(lane).lane_id),
      writer_(lane, {writer_page_at, page_bytes}, base::Access::read_write),
      reader_(lane, {reader_page_at, page_bytes}, base::Access::read_only),
      writer_guard_(writer_.data(), page_bytes, &lost_),
      reader_guard_(reader_.data(), page_bytes, &lost_) {}

void ReceiptView::wait(std::uint64_t position, std::chrono::nanoseconds limit) noexcept {
    auto& wants = writer_.at<StdWriterPage>().wants_receipt;
    const auto& bell = reader_.at<StdReaderPage>().receipt_bell;
    // seq_cst: see give_receipt. A thread that dies here leaves one too many, which costs the
    // daemon a call per batch.
    wants.fetch_add(1, std::memory_order_seq_cst);
    // RUNG, before the look. Other end: give_receipt.
    const std::uint32_t rung = bell.load(std::memory_order_acquire);
    if (!has(position)) base::wait(base::watch(bell, rung), limit);
    // relaxed: a wish seen too long rings once for nothing.
    wants.fetch_add(~std::uint32_t{0}, std::memory_order_relaxed);  // minus one
}

}  // namespace shmbus::lane
