// The words in front of a payload: meta, control, extensions.
//
// SPDX-License-Identifier: BSL-1.0
#include "wire/record.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace shmbus;

namespace {

constexpr std::uint16_t all_extensions = wire::has_explicit_id | wire::has_reply_to |
                                         wire::has_time_sent | wire::has_lineage |
                                         wire::has_failure;

constexpr std::array<std::uint16_t, 5> some_flags{0, 1, 0x1F, 0x800, 0xFFF};

// Every field filled with bytes of its own.
wire::Extensions filled(std::uint16_t flags, std::uint64_t seed) {
    wire::Extensions extensions;
    std::mt19937_64 random(seed);
    const auto fill = [&](auto& field) {
        std::array<std::byte, sizeof(field)> bytes;
        for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
        std::memcpy(&field, bytes.data(), bytes.size());
    };
    fill(extensions.id);
    fill(extensions.reply_to);
    fill(extensions.time_sent);
    fill(extensions.lineage);
    fill(extensions.failure);
    extensions.flags = flags;
    return extensions;
}

template <class Field>
bool same(const Field& one, const Field& other) {
    return std::memcmp(&one, &other, sizeof(Field)) == 0;
}

// The fields that the flags name are equal.
bool agree(const wire::Extensions& one, const wire::Extensions& other, std::uint16_t flags) {
    return (!(flags & wire::has_explicit_id) || same(one.id, other.id)) &&
           (!(flags & wire::has_reply_to) || same(one.reply_to, other.reply_to)) &&
           (!(flags & wire::has_time_sent) || same(one.time_sent, other.time_sent)) &&
           (!(flags & wire::has_lineage) || same(one.lineage, other.lineage)) &&
           (!(flags & wire::has_failure) || same(one.failure, other.failure));
}

// The fields in the order of their flags, back to back.
std::vector<std::byte> in_order(const wire::Extensions& extensions) {
    std::vector<std::byte> block;
    const auto put = [&](wire::Flag flag, const auto& field) {
        const auto* first = reinterpret_cast<const std::byte*>(&field);
        if (extensions.flags & flag) block.insert(block.end(), first, first + sizeof(field));
    };
    put(wire::has_explicit_id, extensions.id);
    put(wire::has_reply_to, extensions.reply_to);
    put(wire::has_time_sent, extensions.time_sent);
    put(wire::has_lineage, extensions.lineage);
    put(wire::has_failure, extensions.failure);
    return block;
}

wire::Meta meta_for(std::uint16_t flags) {
    return {0, 1, static_cast<std::uint8_t>(wire::extension_bytes(flags) / 16), flags};
}

}  // namespace

TEST_SUITE("wire") {

TEST_CASE("a meta word gives back what was put into it") {
    for (const std::uint32_t bytes : {0U, 1U, 32U, 0x7FFFFFFFU, 0xFFFFFFFFU})
        for (const std::uint16_t type : {std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{0xFFFF}})
            for (std::uint8_t units = 0; units <= 15; ++units)
                for (const std::uint16_t flags : some_flags) {
                    const wire::Meta meta{bytes, type, units, flags};
                    const wire::Meta back = wire::Meta::of(meta.word());
                    CHECK(back.payload_bytes == bytes);
                    CHECK(back.type == type);
                    CHECK(back.extension_units == units);
                    CHECK(back.flags == flags);
                    CHECK(back.word() == meta.word());
                }
}

TEST_CASE("a record takes the fewest units that hold its head, its extensions and its payload") {
    for (std::uint8_t units = 0; units <= 14; ++units)
        for (std::uint32_t bytes = 0; bytes <= 1024; ++bytes) {
            const wire::Meta meta{bytes, 1, units, 0};
            const std::size_t whole = wire::head_bytes + units * 16U + bytes;
            const std::uint64_t taken = wire::units_of(meta.word());
            CHECK(taken * wire::unit_bytes >= whole);
            CHECK((taken - 1) * wire::unit_bytes < whole);
            CHECK(meta.payload_offset() + bytes == whole);
        }
    // No sum of these wraps, whatever a stranger's word says.
    CHECK(wire::units_of(~std::uint64_t{0}) == (std::uint64_t{1} << 26) + 4);
}

TEST_CASE("a control word is never zero and is valid for one position only") {
    std::mt19937_64 random(1);
    for (int round = 0; round < 1000; ++round) {
        // As lanes choose them: from 2^63 on, and so that the last position does not wrap.
        const std::uint64_t salt = (random() >> 2) | std::uint64_t{1} << 63;
        const std::uint64_t position = random() % wire::last_position;
        const std::uint64_t other = random() % wire::last_position;
        CHECK(wire::control_word(salt, position) != 0);
        CHECK(wire::control_word(salt, position) >= salt);
        CHECK((wire::control_word(salt, position) == wire::control_word(salt, other)) ==
              (position == other));
    }
}

TEST_CASE("extensions of every combination come back as they were written, and fill their block") {
    for (std::uint16_t flags = 0; flags <= all_extensions; ++flags) {
        const std::size_t bytes = wire::extension_bytes(flags);
        CHECK(bytes % 16 == 0);
        CHECK(bytes <= 224);
        const wire::Extensions written = filled(flags, flags + 1U);
        // A border of one byte behind the block shows what is written too far.
        for (const std::byte border : {std::byte{0}, std::byte{0xFF}}) {
            std::vector<std::byte> block(bytes + 1, border);
            wire::write_extensions(written, block.data());
            CHECK(block[bytes] == border);
            const std::vector<std::byte> expected = in_order(written);
            REQUIRE(expected.size() == bytes);
            CHECK(std::equal(expected.begin(), expected.end(), block.begin()));
            wire::Extensions read;
            REQUIRE(wire::read_extensions(meta_for(flags), block.data(), read));
            CHECK(read.flags == flags);
            CHECK(agree(read, written, flags));
        }
    }
}

TEST_CASE("the other flags of a record take no room and stay what they are") {
    const std::vector<std::byte> some_block(256, std::byte{0xFF});
    for (const std::uint16_t other :
         {wire::is_packed, wire::is_repeated, wire::is_mixed_id}) {
        CHECK(wire::extension_bytes(other) == 0);
        for (std::uint16_t flags = 0; flags <= all_extensions; ++flags)
            CHECK(wire::extension_bytes(flags | other) == wire::extension_bytes(flags));
        wire::Extensions read;
        REQUIRE(wire::read_extensions(meta_for(other), some_block.data(), read));
        CHECK(read.flags == other);
        CHECK(agree(read, {}, all_extensions));
    }
}

TEST_CASE("a block whose length is not what its flags ask for is refused unread") {
    const std::vector<std::byte> some_block(256, std::byte{0xFF});
    for (std::uint16_t flags = 0; flags <= 0xFFF; ++flags)
        for (std::uint8_t units = 0; units <= 15; ++units) {
            if (units * 16U == wire::extension_bytes(flags)) continue;
            wire::Extensions read;
            CHECK_FALSE(wire::read_extensions({0, 1, units, flags}, some_block.data(), read));
            CHECK(read.flags == 0);
            CHECK(agree(read, {}, all_extensions));
        }
}
}
