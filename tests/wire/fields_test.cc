// How the fields of a type are told and read.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

#include <shmbus/message.h>

#include "wire/fields.h"

namespace {

enum class Side : std::uint8_t { buy, sell };

struct Trade {
    static constexpr auto message = shmbus::command("test.trade", shmbus::transient);
    std::uint64_t number;
    double price;
    std::int32_t change;
    Side side;
    bool is_open;
    char customer[13];
    std::array<std::uint16_t, 3> legs;
    struct {
        int inner[2];
    } rest;
    static constexpr auto fields = shmbus::fields(
        shmbus::field<&Trade::number>("number"), shmbus::field<&Trade::price>("price"),
        shmbus::field<&Trade::change>("change"), shmbus::field<&Trade::side>("side"),
        shmbus::field<&Trade::is_open>("is_open"), shmbus::field<&Trade::customer>("customer"),
        shmbus::field<&Trade::legs>("legs"), shmbus::field<&Trade::rest>("rest"));
};

struct Foreign {
    std::uint32_t value;
};

struct Plain {
    static constexpr auto message = shmbus::command("test.plain", shmbus::transient);
    std::uint32_t value;
};

}  // namespace

template <>
struct shmbus::Declare<Foreign> {
    static constexpr auto message = shmbus::event("vendor.foreign", shmbus::transient);
    static constexpr auto fields = shmbus::fields(shmbus::field<&Foreign::value>("value"));
};

namespace shmbus::wire {
namespace {

std::string text_of(const TypeDescriptor& type) {
    return text_of_fields({type.fields, type.field_count});
}

TEST_SUITE("wire") {
TEST_CASE("a type tells its fields' names, kinds and places") {
    const auto& type = descriptor_of<Trade>;
    const auto fields = parse_fields(text_of(type), type.bytes);
    REQUIRE(fields);
    using enum FieldKind;
    const std::vector<Field> expected{
        {"number", unsigned_number, 8, offsetof(Trade, number), 1},
        {"price", floating, 8, offsetof(Trade, price), 1},
        {"change", signed_number, 4, offsetof(Trade, change), 1},
        {"side", unsigned_number, 1, offsetof(Trade, side), 1},
        {"is_open", boolean, 1, offsetof(Trade, is_open), 1},
        {"customer", text, 1, offsetof(Trade, customer), 13},
        {"legs", unsigned_number, 2, offsetof(Trade, legs), 3},
        {"rest", bytes, 8, offsetof(Trade, rest), 1},
    };
    CHECK(*fields == expected);
    CHECK(text_of(descriptor_of<Foreign>) == "value u4 0 1\n");
    CHECK(text_of(descriptor_of<Plain>).empty());
}

TEST_CASE("a description that no type tells is refused") {
    CHECK(parse_fields("", 8));
    CHECK(parse_fields("a u8 0 1\n", 8));
    for (const char* text :
         {"a u8 0 1", "a u8 0 1\n\n", "a u8 1 1\n", "a u8 0 2\n", "a u3 0 1\n", "a z8 0 1\n",
          "a u8 0 0\n", " u8 0 1\n", "a b u8 0 1\n", "a u8 -1 1\n", "a u8 0 99999999999\n",
          "a x4294967295 4294967295 4294967295\n", "a/b u8 0 1\n", "a\n", "a u", "\n"})
        CHECK_MESSAGE(!parse_fields(text, 8), text);
    std::string many;
    for (int i = 0; i < 65; ++i) many += "a u1 0 1\n";
    CHECK_FALSE(parse_fields(many, 8));
    CHECK(parse_fields(many.substr(9), 8));
}
}

}  // namespace
}  // namespace shmbus::wire
