// References and file names: there and back, and nothing that is not exactly one.
//
// SPDX-License-Identifier: BSL-1.0
#include "wire/names.h"

#include <array>
#include <limits>

#include <doctest/doctest.h>

#include "lane/inbox_file.h"
#include "lane/lane_file.h"

using namespace shmbus;

namespace {

constexpr std::uint32_t most = std::numeric_limits<std::uint32_t>::max();

}  // namespace

TEST_SUITE("wire") {

TEST_CASE("a reference and the name of its file tell index and generation") {
    for (const std::uint32_t index : {0U, 1U, 7U, 10U, 65536U, most})
        for (const std::uint32_t generation : {1U, 3U, 99U, most}) {
            const wire::Reference reference = wire::make_reference(index, generation);
            CHECK(wire::index_of(reference) == index);
            CHECK(wire::generation_of(reference) == generation);
            const std::string name = wire::numbered_file(reference);
            CHECK(name == wire::numbered_file(index, generation));
            REQUIRE(wire::reference_of_file(name).has_value());
            CHECK(*wire::reference_of_file(name) == reference);
        }
    CHECK(wire::numbered_file(7, 3) == "7.3");
    CHECK(wire::numbered_file(7, 3) == lane::inbox_file_name(7, 3));
}

TEST_CASE("what is not exactly the name of a numbered file names nobody") {
    for (const char* name :
         {"", ".", "..", "7", "7.", ".3", "07.3", "7.03", "7.3.1", "7..3", "-7.3", "7.-3", "+7.3",
          " 7.3", "7.3 ", "7.3\n", "7,3", "a.3", "7.x", "0x7.3", "4294967296.1", "1.4294967296",
          "99999999999999999999.1", "7.3/"}) {
        CAPTURE(name);
        CHECK_FALSE(wire::reference_of_file(name).has_value());
    }
    CHECK_FALSE(wire::reference_of_file(std::string_view("7.3\0", 4)).has_value());
}

TEST_CASE("a lane's file is its number in 16 hexadecimal digits") {
    for (const std::uint64_t id :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0xF}, std::uint64_t{0x000649f1c2d3e4b5},
          std::numeric_limits<std::uint64_t>::max()}) {
        const std::string name = wire::lane_file(id);
        CHECK(name.size() == 16);
        CHECK(name == lane::lane_file_name(id));
        REQUIRE(wire::lane_id_of_file(name).has_value());
        CHECK(*wire::lane_id_of_file(name) == id);
    }
    CHECK(wire::lane_file(0x000649f1c2d3e4b5) == "000649f1c2d3e4b5");
}

TEST_CASE("what is not exactly the name of a lane's file names no lane") {
    for (const char* name :
         {"", ".", "649f1c2d3e4b5", "00649f1c2d3e4b5", "0000649f1c2d3e4b5", "000649F1C2D3E4B5",
          "0x0649f1c2d3e4b5", "000649f1c2d3e4bg", " 00649f1c2d3e4b5", "000649f1c2d3e4b5 ",
          "-00649f1c2d3e4b5", "000649f1.2d3e4b5", "ffffffffffffffffff"}) {
        CAPTURE(name);
        CHECK_FALSE(wire::lane_id_of_file(name).has_value());
    }
}
}
