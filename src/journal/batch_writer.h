// Finishes a batch in memory for the place where it will stand: the sums, and the batch's end.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <vector>

#include "journal/format.h"

namespace shmbus::journal {

// The records stand in `bytes` from `from` on, their sums not yet made. What the end has to say
// comes in `tail` and `last`: begin_offset, chain and the sums are filled in here.
[[nodiscard]] BatchEnd finish_batch(std::vector<std::byte>& bytes, std::uint64_t from,
                                    const Seed& seed, BatchEnd tail, RecordHead last);

}  // namespace shmbus::journal
