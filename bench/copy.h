// Copies into shared memory as quickly as is known: for the limits, and for peers that leave the
// copy to their user.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace shmbus::bench {

inline void copy(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
    if (bytes <= 256) {
        std::memcpy(to, from, bytes);
        return;
    }
    // In pieces, as the library does: above the size of the second cache the C library takes
    // another way, which between distant cores is a third as quick.
    constexpr std::size_t longest_piece = std::size_t{256} << 10;
    while (bytes > 0) {
        std::size_t piece = std::min(bytes, longest_piece);
        // Of a copy of known length the compiler may make one string instruction, which for short
        // ones is slower than the library's wide stores; so its length is hidden.
        asm volatile("" : "+r"(piece));
        std::memcpy(to, from, piece);
        to += piece;
        from += piece;
        bytes -= piece;
    }
}

}  // namespace shmbus::bench
