// The sums of a batch and the record that ends it.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/batch_writer.h"

namespace shmbus::journal {

BatchEnd finish_batch(std::vector<std::byte>& bytes, std::uint64_t from, const Seed& seed,
                      BatchEnd tail, RecordHead last) {
    const auto sum = [&](std::uint64_t at) {
        auto head = read_as<RecordHead>(bytes, at);
        const std::uint64_t place = tail.begin_offset + at - from;
        const auto payload =
            std::span<const std::byte>(bytes).subspan(at + sizeof head, padded(head.payload_bytes));
        head.payload_sum = payload_sum(seed, place, payload);
        head.head_sum = head_sum(seed, place, head);
        std::memcpy(bytes.data() + at, &head, sizeof head);
        return head;
    };
    tail.chain = tail.previous_chain;
    std::uint64_t at = from;
    while (at < bytes.size()) {
        const RecordHead head = sum(at);
        tail.chain = continue_chain(tail.chain, head);
        at += record_bytes(head.payload_bytes);
    }
    const std::uint64_t end = from + base::round_up(at - from + least_end_bytes, block_bytes);
    last.kind = Kind::batch_end;
    last.payload_bytes = static_cast<std::uint32_t>(end - at - sizeof last);
    bytes.resize(end);
    std::memcpy(bytes.data() + at, &last, sizeof last);
    std::memcpy(bytes.data() + at + sizeof last, &tail, sizeof tail);
    static_cast<void>(sum(at));
    return tail;
}

}  // namespace shmbus::journal
