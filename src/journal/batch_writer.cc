// The sums of a batch and the record that ends it.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/batch_writer.h"

namespace shmbus::journal {

RecordHead BatchSums::sum(std::vector<std::byte>& bytes, std::uint64_t at) const {
    auto head = read_as<RecordHead>(bytes, at);
    const std::uint64_t place = offset_ + at - from_;
    const auto payload =
        std::span<const std::byte>(bytes).subspan(at + sizeof head, padded(head.payload_bytes));
    head.payload_sum = payload_sum(seed_, place, payload);
    head.head_sum = head_sum(seed_, place, head);
    std::memcpy(bytes.data() + at, &head, sizeof head);
    return head;
}

void BatchSums::make(std::vector<std::byte>& bytes, std::uint64_t to) {
    while (at_ < to) {
        const RecordHead head = sum(bytes, at_);
        chain_ = continue_chain(chain_, head);
        at_ += record_bytes(head.payload_bytes);
    }
}

BatchEnd BatchSums::finish(std::vector<std::byte>& bytes, BatchEnd tail, RecordHead last) {
    make(bytes, bytes.size());
    tail.begin_offset = offset_;
    tail.previous_chain = previous_chain_;
    tail.chain = chain_;
    const std::uint64_t end =
        from_ + base::round_up(at_ - from_ + least_end_bytes, block_bytes);
    last.kind = Kind::batch_end;
    last.payload_bytes = static_cast<std::uint32_t>(end - at_ - sizeof last);
    bytes.resize(end);
    std::memcpy(bytes.data() + at_, &last, sizeof last);
    std::memcpy(bytes.data() + at_ + sizeof last, &tail, sizeof tail);
    static_cast<void>(sum(bytes, at_));
    return tail;
}

}  // namespace shmbus::journal
