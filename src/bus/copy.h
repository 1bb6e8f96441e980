// Copying a message's payload into a lane: most are short, and a call to memcpy would be most of
// their cost.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "wire/record_end.h"

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
        base::copy_in_pieces(into, from, bytes);
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

using wire::close_end;
using wire::open_end;

}  // namespace shmbus::detail
