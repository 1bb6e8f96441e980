// Copying a message's payload: most are short, and a call to memcpy would be most of their cost.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace shmbus::detail {

// Copies exactly `bytes`. Up to 256 bytes by moves of 16, the last of which overlaps the one before;
// below 16 by two overlapping smaller ones. Never reads or writes outside.
[[gnu::always_inline]] inline void copy_bytes(std::byte* into, const std::byte* from,
                                              std::size_t bytes) noexcept {
    const auto move = [&](std::size_t offset, auto size) {
        // A memcpy of a constant size is one or two instructions.
        __builtin_memcpy(into + offset, from + offset, decltype(size)::value);
    };
    using Sixteen = std::integral_constant<std::size_t, 16>;
    if (bytes >= 16 && bytes <= 256) [[likely]] {
        const std::size_t last = bytes - 16;
        for (std::size_t at = 0; at < last; at += 16) move(at, Sixteen{});
        move(last, Sixteen{});
        return;
    }
    if (bytes > 256) {
        std::memcpy(into, from, bytes);
        return;
    }
    if (bytes >= 8) {
        move(0, std::integral_constant<std::size_t, 8>{});
        move(bytes - 8, std::integral_constant<std::size_t, 8>{});
    } else if (bytes >= 4) {
        move(0, std::integral_constant<std::size_t, 4>{});
        move(bytes - 4, std::integral_constant<std::size_t, 4>{});
    } else {
        for (std::size_t at = 0; at < bytes; ++at) into[at] = from[at];
    }
}

}  // namespace shmbus::detail
