// CRC-32C by instruction or by table.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/crc32c.h"

#include <array>
#include <cstring>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace shmbus::journal {

namespace {

constexpr std::uint32_t polynomial = 0x82F63B78;  // of Castagnoli, bits reversed

constexpr std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t sum = byte;
        for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? polynomial : 0);
        made[byte] = sum;
    }
    return made;
}();

// The instruction answers after three cycles and can be begun in each: three strands of so many
// bytes are fed side by side.
constexpr std::size_t strand_bytes = 1024;

// What becomes of a sum when a strand of zeros follows, one table for each of its bytes: sums are
// linear over exclusive or. The sums of strands are joined like this in M. Adler's crc32c.c.
constexpr std::array<std::array<std::uint32_t, 256>, 4> over_zeros = [] {
    std::array<std::array<std::uint32_t, 256>, 4> made{};
    for (std::uint32_t bit = 0; bit < 32; ++bit) {
        std::uint32_t sum = 1U << bit;
        for (std::size_t i = 0; i < strand_bytes; ++i) sum = sum >> 8 ^ table[sum & 0xFFU];
        for (std::uint32_t byte = 0; byte < 256; ++byte)
            if ((byte >> bit % 8 & 1) != 0) made[bit / 8][byte] ^= sum;
    }
    return made;
}();

[[nodiscard]] std::uint32_t join(std::uint32_t sum, std::uint32_t next) noexcept {
    return over_zeros[0][sum & 0xFFU] ^ over_zeros[1][sum >> 8 & 0xFFU] ^
           over_zeros[2][sum >> 16 & 0xFFU] ^ over_zeros[3][sum >> 24] ^ next;
}

[[nodiscard]] std::uint64_t word_at(std::span<const std::byte> bytes, std::size_t at) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    return word;
}

// Feeds eight bytes at a time, then the rest one by one.
template <class Word, class Byte>
[[gnu::always_inline]] inline std::uint32_t feed(std::uint32_t sum,
                                                 std::span<const std::byte> bytes, Word add_word,
                                                 Byte add_byte) noexcept {
    for (; bytes.size() >= 3 * strand_bytes; bytes = bytes.subspan(3 * strand_bytes)) {
        std::uint32_t second = 0;
        std::uint32_t third = 0;
        for (std::size_t at = 0; at < strand_bytes; at += 8) {
            sum = add_word(sum, word_at(bytes, at));
            second = add_word(second, word_at(bytes, at + strand_bytes));
            third = add_word(third, word_at(bytes, at + 2 * strand_bytes));
        }
        sum = join(join(sum, second), third);
    }
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) sum = add_word(sum, word_at(bytes, 0));
    for (const std::byte byte : bytes) sum = add_byte(sum, std::to_integer<std::uint8_t>(byte));
    return sum;
}

#if defined(__x86_64__)
bool has_instruction() noexcept { return __builtin_cpu_supports("sse4.2") != 0; }
std::uint32_t by_instruction(std::uint32_t sum, std::span<const std::byte> bytes) noexcept {
    // As assembly: the compiler's own functions for it need a target that not every x86-64 is.
    return feed(
        sum, bytes,
        [](std::uint64_t before, std::uint64_t word) {
            asm("crc32q %1, %0" : "+r"(before) : "r"(word));
            return static_cast<std::uint32_t>(before);
        },
        [](std::uint32_t before, std::uint8_t byte) {
            asm("crc32b %1, %0" : "+r"(before) : "q"(byte));
            return before;
        });
}
#elif defined(__aarch64__)
bool has_instruction() noexcept { return (::getauxval(AT_HWCAP) & (1UL << 7)) != 0; }
std::uint32_t by_instruction(std::uint32_t sum, std::span<const std::byte> bytes) noexcept {
    return feed(
        sum, bytes,
        [](std::uint32_t before, std::uint64_t word) {
            asm(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(before) : "r"(word));
            return before;
        },
        [](std::uint32_t before, std::uint8_t byte) {
            asm(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(before) : "r"(byte));
            return before;
        });
}
#else
bool has_instruction() noexcept { return false; }
std::uint32_t by_instruction(std::uint32_t sum, std::span<const std::byte>) noexcept { return sum; }
#endif

}  // namespace

std::uint32_t crc32c_by_table(std::uint32_t before, std::span<const std::byte> bytes) noexcept {
    std::uint32_t sum = ~before;
    for (const std::byte byte : bytes)
        sum = sum >> 8 ^ table[(sum ^ std::to_integer<std::uint32_t>(byte)) & 0xFFU];
    return ~sum;
}

std::uint32_t crc32c(std::uint32_t before, std::span<const std::byte> bytes) noexcept {
    if (has_instruction()) return ~by_instruction(~before, bytes);
    return crc32c_by_table(before, bytes);
}

}  // namespace shmbus::journal
