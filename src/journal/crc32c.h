// CRC-32C (Castagnoli), by the processor where it can and by a table where it cannot.
//
// Called from any thread; holds nothing. The values are those of RFC 3720, appendix B.4.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace shmbus::journal {

// The sum of what was summed to `before` and then `bytes`: sums of parts can be continued, and a
// number put in front is a seed. Starts with 0.
[[nodiscard]] std::uint32_t crc32c(std::uint32_t before, std::span<const std::byte> bytes) noexcept;

// The same by the table alone, for machines without the instruction and for the test that
// compares the two.
[[nodiscard]] std::uint32_t crc32c_by_table(std::uint32_t before,
                                            std::span<const std::byte> bytes) noexcept;

}  // namespace shmbus::journal
