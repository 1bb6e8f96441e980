// Payloads as JSON and text, and back.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <shmbus/message.h>
#include <shmbus/result.h>

#include "look/message_text.h"

namespace shmbus::tools {
namespace {

struct Trade {
    static constexpr auto message = shmbus::command("test.trade", shmbus::transient);
    std::uint64_t number;
    double price;
    std::int32_t change;
    std::int16_t small;
    std::uint8_t side;
    bool is_open;
    char customer[6];
    std::array<std::uint16_t, 3> legs;
    struct {
        std::uint8_t parts[4];
    } rest;
    static constexpr auto fields = shmbus::fields(
        shmbus::field<&Trade::number>("number"), shmbus::field<&Trade::price>("price"),
        shmbus::field<&Trade::change>("change"), shmbus::field<&Trade::small>("small"),
        shmbus::field<&Trade::side>("side"), shmbus::field<&Trade::is_open>("is_open"),
        shmbus::field<&Trade::customer>("customer"), shmbus::field<&Trade::legs>("legs"),
        shmbus::field<&Trade::rest>("rest"));
};

std::vector<wire::Field> fields_of_trade() {
    const auto& type = descriptor_of<Trade>;
    return wire::parse_fields(wire::text_of_fields({type.fields, type.field_count}), type.bytes)
        .value();
}

std::vector<std::byte> from(const char* json) {
    return bytes_of_json(fields_of_trade(), nlohmann::json::parse(json), sizeof(Trade));
}

TEST_SUITE("look") {
TEST_CASE("a payload becomes JSON and text by its fields, and the JSON the same payload again") {
    Trade trade{};
    trade.number = std::numeric_limits<std::uint64_t>::max();
    trade.price = 9.75;
    trade.change = -2'000'000'000;
    trade.small = -3;
    trade.side = 200;
    trade.is_open = true;
    std::memcpy(trade.customer, "Ann", 3);
    trade.legs = {1, 65'535, 3};
    trade.rest = {{0x00, 0x1f, 0xa0, 0xff}};
    const auto payload = std::as_bytes(std::span(&trade, 1));
    const nlohmann::json json = json_of(fields_of_trade(), payload);
    CHECK(json == nlohmann::json::parse(R"({"number": 18446744073709551615, "price": 9.75,
        "change": -2000000000, "small": -3, "side": 200, "is_open": true, "customer": "Ann",
        "legs": [1, 65535, 3], "rest": "001fa0ff"})"));
    CHECK(text_of(fields_of_trade(), payload) ==
          "number=18446744073709551615 price=9.75 change=-2000000000 small=-3 side=200 "
          "is_open=true customer=\"Ann\" legs=[1,65535,3] rest=\"001fa0ff\"");
    Trade again{};
    const std::vector<std::byte> bytes = bytes_of_json(fields_of_trade(), json, sizeof(Trade));
    REQUIRE(bytes.size() == sizeof(again));
    std::memcpy(&again, bytes.data(), sizeof(again));
    CHECK(nlohmann::json(json_of(fields_of_trade(), std::as_bytes(std::span(&again, 1)))) == json);
}

TEST_CASE("fields that lie beyond a short payload, and numbers that JSON has no word for") {
    Trade trade{};
    trade.price = std::numeric_limits<double>::infinity();
    const auto payload = std::as_bytes(std::span(&trade, 1));
    const nlohmann::json json = json_of(fields_of_trade(), payload.first(16));
    CHECK(json == nlohmann::json::parse(R"({"number": 0, "price": null})"));
}

TEST_CASE("text that is no UTF-8, or that would steer a terminal, is marked, and no other is") {
    const auto shown = [](std::string_view customer) {
        Trade trade{};
        std::memcpy(trade.customer, customer.data(), customer.size());
        const auto json = json_of(fields_of_trade(), std::as_bytes(std::span(&trade, 1)));
        CHECK_NOTHROW(static_cast<void>(json.dump()));
        return json["customer"].get<std::string>();
    };
    CHECK(shown("J\xF6rg") == "J\xEF\xBF\xBDrg");  // as ISO 8859-1 has it
    CHECK(shown("J\xC3\xB6rg") == "J\xC3\xB6rg");
    CHECK(shown("a\xC2\x9B" "2J") == "a\xEF\xBF\xBD\xEF\xBF\xBD" "2J");
    // Cut off in the middle of a character.
    CHECK(shown("a\xE2\x82\xAC\xE2\x82") == "a\xE2\x82\xAC\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST_CASE("JSON that does not fit its type is refused by the field's name") {
    CHECK(from("{}") == std::vector<std::byte>(sizeof(Trade)));
    for (const char* json :
         {R"({"nombre": 1})", R"({"number": -1})", R"({"number": 1.5})", R"({"number": "1"})",
          R"({"change": 2147483648})", R"({"change": -2147483649})", R"({"small": 32768})",
          R"({"side": 256})", R"({"is_open": 1})", R"({"price": "x"})", R"({"customer": 7})",
          R"({"customer": "too long"})", R"({"legs": [1, 2, 3, 4]})", R"({"legs": 1})",
          R"({"legs": [65536]})", R"({"rest": "00"})", R"({"rest": "0"})", R"({"rest": "zz"})",
          "[1]", "7"}) {
        CAPTURE(json);
        CHECK_THROWS_AS(from(json), SetupError);
    }
}
}

}  // namespace
}  // namespace shmbus::tools
