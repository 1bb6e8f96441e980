// Copying a message's payload into a lane: most are short, and a call to memcpy would be most of
// their cost. And closing the end of the record behind it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "wire/record.h"

namespace shmbus::detail {

// The sizes that copy_middle is for.
[[nodiscard, gnu::always_inline]] inline bool is_middle_size(std::size_t bytes) noexcept {
    return bytes - 16 <= 240;
}

// Copies 16 to 256 bytes by moves of 16, the last of which overlaps the one before. Never reads or
// writes outside.
[[gnu::always_inline]] inline void copy_middle(std::byte* into, const std::byte* from,
                                               std::size_t bytes) noexcept {
    const std::size_t last = bytes - 16;
    // A memcpy of a constant size is one or two instructions. Not unrolled: most messages take two
    // turns, and the code that sends should stay in few cache lines.
#pragma GCC unroll 1
    for (std::size_t at = 0; at < last; at += 16) __builtin_memcpy(into + at, from + at, 16);
    __builtin_memcpy(into + last, from + last, 16);
}

// Copies exactly `bytes`, any number. Below 16 by two overlapping smaller moves.
[[gnu::always_inline]] inline void copy_bytes(std::byte* into, const std::byte* from,
                                              std::size_t bytes) noexcept {
    if (is_middle_size(bytes)) [[likely]] {
        copy_middle(into, from, bytes);
    } else if (bytes > 256) {
        std::memcpy(into, from, bytes);
    } else if (bytes >= 8) {
        __builtin_memcpy(into, from, 8);
        __builtin_memcpy(into + bytes - 8, from + bytes - 8, 8);
    } else if (bytes >= 4) {
        __builtin_memcpy(into, from, 4);
        __builtin_memcpy(into + bytes - 4, from + bytes - 4, 4);
    } else {
        for (std::size_t at = 0; at < bytes; ++at) into[at] = from[at];
    }
}

// How many bytes of a record of this length stand where, in a lap before, a control word may have
// stood; 0 when there are none or they cover all of it.
[[nodiscard, gnu::always_inline]] constexpr std::size_t open_end(
    std::size_t record_bytes) noexcept {
    const std::size_t rest = record_bytes % wire::unit_bytes;
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

}  // namespace shmbus::detail
