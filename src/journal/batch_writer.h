// Finishes a batch in memory for the place where it will stand: the sums, and the batch's end.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <vector>

#include "journal/format.h"

namespace shmbus::journal {

// The sums of a batch's records: made as they come, or all at the end.
class BatchSums {
public:
    // The records stand in memory from `from` on, and will at `offset` of the file of `seed`.
    BatchSums(const Seed& seed, std::uint64_t from, std::uint64_t offset,
              std::uint32_t previous_chain) noexcept
        : seed_(seed),
          from_(from),
          offset_(offset),
          previous_chain_(previous_chain),
          at_(from),
          chain_(previous_chain) {}

    // Of the records before `to`, where one ends.
    void make(std::vector<std::byte>& bytes, std::uint64_t to);
    // Of those that are left, and of the end, which is appended up to the end of a block. What it
    // has to say comes in `tail` and `last`; its place, its chain and the sums are filled in here.
    [[nodiscard]] BatchEnd finish(std::vector<std::byte>& bytes, BatchEnd tail, RecordHead last);
    // The sums of everything before are made.
    [[nodiscard]] std::uint64_t made_to() const noexcept { return at_; }

private:
    [[nodiscard]] RecordHead sum(std::vector<std::byte>& bytes, std::uint64_t at) const;

    Seed seed_;
    std::uint64_t from_;
    std::uint64_t offset_;
    std::uint32_t previous_chain_;
    std::uint64_t at_;
    std::uint32_t chain_;
};

}  // namespace shmbus::journal
