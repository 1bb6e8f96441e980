// Arithmetic on sizes, and reading a field that another process may be writing.
//
// Called anywhere, from any thread; holds nothing.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace shmbus::base {

// Cores exchange memory in pieces of this size. Fixed rather than asked of the compiler: it is
// part of the layout of shared files.
inline constexpr std::size_t cache_line_bytes = 64;

template <std::unsigned_integral T>
[[nodiscard]] constexpr bool is_power_of_two(T value) noexcept {
    return value != 0 && (value & (value - 1)) == 0;
}

// The smallest multiple of `power_of_two` that is not below `value`. A value within one step of
// the type's end wraps to 0, so bound values of strangers before rounding them.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T round_up(T value, std::type_identity_t<T> power_of_two) noexcept {
    return static_cast<T>((value + (power_of_two - 1)) & ~(power_of_two - 1));
}

// The largest multiple of `power_of_two` that is not above `value`.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T round_down(T value, std::type_identity_t<T> power_of_two) noexcept {
    return static_cast<T>(value & ~(power_of_two - 1));
}

// Reads a plain field of shared memory exactly once: without this the compiler may read it again
// after the check, and find another value there.
template <class T>
    requires(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(void*))
[[nodiscard]] inline T read_once(const T& field) noexcept {
    static_assert(std::atomic_ref<T>::is_always_lock_free);
    // The reference is to const in our hands; the load does not write. std::atomic_ref<const T>
    // comes with C++26 only.
    // relaxed: what makes the field's value worth reading is the edge that the caller has taken.
    return std::atomic_ref<T>(const_cast<T&>(field)).load(std::memory_order_relaxed);
}

// Copies any number of bytes from one place to another that does not overlap it, long ones in
// pieces. For glibc copies up to the size of the second cache by one string instruction, where the
// processor has a quick one, and that writes whole lines without fetching them first; more than
// that it copies on AMD's by wide stores, which fetch each line: between distant cores at a third
// of the speed (bench: oneway --bytes 1048576). A piece fits into any second cache.
inline void copy_in_pieces(std::byte* into, const std::byte* from, std::size_t bytes) noexcept {
    constexpr std::size_t piece = std::size_t{256} << 10;
    for (; bytes > piece; bytes -= piece, into += piece, from += piece)
        std::memcpy(into, from, piece);
    std::memcpy(into, from, bytes);
}

// Asks for a line that this core is about to write, so that it travels meanwhile. A hint: any
// address will do, none is ever written.
[[gnu::always_inline]] inline void prefetch_for_write(const void* address) noexcept {
#if defined(__x86_64__)
    // Spelled out: compilers make a prefetch for reading of it unless told of a newer processor,
    // and older ones take this instruction for nothing.
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));
#else
    __builtin_prefetch(address, 1, 3);
#endif
}

// FNV-1a of 64 bits (Fowler, Noll, Vo 1991). Tells apart what nobody has chosen against it.
[[nodiscard]] inline std::uint64_t hash_of(std::span<const std::byte> bytes) noexcept {
    std::uint64_t hash = 0xCBF29CE484222325U;
    for (const std::byte byte : bytes)
        hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001B3U;
    return hash;
}

}  // namespace shmbus::base
