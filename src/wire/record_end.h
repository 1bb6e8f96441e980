// Closing the end of a record, so that bytes of an earlier lap are never taken for one.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "wire/record.h"

namespace shmbus::wire {

// How many bytes of a record of this length stand where, in a lap before, a control word may have
// stood; 0 when there are none or they cover all of it.
[[nodiscard, gnu::always_inline]] constexpr std::size_t open_end(
    std::size_t record_bytes) noexcept {
    const std::size_t rest = record_bytes % unit_bytes;
    return rest < sizeof(std::uint64_t) ? rest : 0;
}

// Closes the end of a record: to be called for each before it is committed. One whose last unit has
// fewer than 8 bytes of it would overwrite a part of the control word that may stand there from an
// earlier lap. With a small lane and the right last byte the result is the valid control word of
// the very position where the next lap begins a record, and a reader takes old bytes for a new
// message. Zeros behind it make it a word that no salt can give.
[[gnu::always_inline]] inline void close_end(std::byte* record, std::size_t record_bytes) noexcept {
    const std::size_t rest = open_end(record_bytes);
    if (rest != 0) [[unlikely]]
        std::memset(record + record_bytes, 0, sizeof(std::uint64_t) - rest);
}

// Leaves nothing of a claimed record that was filled but is not to be: what was written may have
// overwritten parts of old control words.
inline void abandon_record(std::byte* record, std::uint64_t units) noexcept {
    for (std::uint64_t unit = 1; unit < units; ++unit)
        std::memset(record + unit * unit_bytes, 0, sizeof(std::uint64_t));
}

}  // namespace shmbus::wire
