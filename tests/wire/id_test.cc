// Message ids: what they tell, and that no two messages share one.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/bytes.h"
#include "wire/record.h"

using namespace shmbus;

namespace {

bool all_differ(std::vector<MessageId> ids) {
    const auto as_pair = [](const MessageId& id) { return std::pair(id.high, id.low); };
    std::sort(ids.begin(), ids.end(), [&](const MessageId& one, const MessageId& other) {
        return as_pair(one) < as_pair(other);
    });
    return std::adjacent_find(ids.begin(), ids.end()) == ids.end();
}

constexpr std::uint64_t last_lane = (std::uint64_t{1} << 52) - 1;
constexpr std::array lanes{std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{4096},
                           std::uint64_t{1} << 40, last_lane};
constexpr std::array<std::uint16_t, 5> ordinals{1, 2, 3, 65'000, 65'535};
constexpr std::array positions{std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{65536},
                               wire::last_position - 1, wire::last_position};

}  // namespace

TEST_SUITE("wire") {

TEST_CASE("the id of a message is told by its lane, its position and its place in a batch") {
    std::vector<MessageId> ids;
    for (const std::uint64_t lane : lanes)
        for (const std::uint64_t position : positions)
            for (std::uint32_t index = 0; index < wire::most_packed; index += 315) {
                const MessageId id = wire::id_at(lane, position, index);
                CHECK((id.high >> 12) == lane);
                CHECK((id.high & 0xFFFU) == index);
                CHECK((id.low >> 16) == position);
                CHECK((id.low & 0xFFFFU) == 0);
                ids.push_back(id);
            }
    CHECK(all_differ(std::move(ids)));
    CHECK(wire::id_at(last_lane, 0, wire::most_packed - 1).high == ~std::uint64_t{0});
}

TEST_CASE("an output of a root message's handler names its parent and its ordinal") {
    for (const std::uint64_t lane : lanes)
        for (const std::uint64_t position : positions) {
            const MessageId parent = wire::id_at(lane, position, 17);
            std::vector<MessageId> ids{parent};
            for (std::uint32_t ordinal = 1; ordinal <= 0xFFFF; ++ordinal) {
                const MessageId id =
                    wire::id_of_output(parent, static_cast<std::uint16_t>(ordinal));
                if (wire::root_of(id) == parent && (id.low & 0xFFFFU) == ordinal) ids.push_back(id);
            }
            CHECK(ids.size() == 0x10000);
            CHECK(all_differ(std::move(ids)));
        }
}

TEST_CASE("an id that is mixed is the same whoever mixes it, and nobody else's") {
    const std::array names{std::string_view("a"), std::string_view("b"), std::string_view("sales"),
                           std::string_view("sales-2"), std::string_view("")};
    std::vector<std::uint64_t> by;
    for (const std::string_view name : names)
        by.push_back(base::hash_of(std::as_bytes(std::span(name))));
    std::vector<MessageId> generation;
    for (const std::uint64_t lane : lanes)
        for (const std::uint64_t position : positions)
            for (std::uint16_t ordinal = 1; ordinal <= 3; ++ordinal)
                generation.push_back(wire::id_of_output(wire::id_at(lane, position, 0), ordinal));
    std::vector<MessageId> ids = generation;
    for (int depth = 0; depth < 2; ++depth) {
        std::vector<MessageId> next;
        for (const MessageId& parent : generation)
            for (const std::uint64_t one : by)
                for (const std::uint16_t ordinal : ordinals) {
                    next.push_back(wire::id_mixed(parent, one, ordinal));
                    CHECK(wire::id_mixed(parent, one, ordinal) == next.back());
                }
        ids.insert(ids.end(), next.begin(), next.end());
        generation = std::move(next);
    }
    CHECK(ids.size() == 75 + 75 * 25 + 75 * 25 * 25);
    CHECK(all_differ(std::move(ids)));
}

TEST_CASE("every output of one message, and every message of a packed one, has an id of its own") {
    const MessageId parent = wire::id_of_output(wire::id_at(5, 64, 0), 1);
    std::vector<MessageId> ids;
    for (std::uint32_t ordinal = 1; ordinal <= 0xFFFF; ++ordinal)
        ids.push_back(wire::id_mixed(parent, 7, static_cast<std::uint16_t>(ordinal)));
    for (const MessageId first : {MessageId{77, 1}, MessageId{78, 1}})
        for (std::uint32_t item = 0; item < wire::most_packed; ++item)
            ids.push_back(wire::id_of_item(first, true, item));
    for (std::uint32_t item = 0; item < wire::most_packed; ++item) {
        ids.push_back(wire::id_of_item(wire::id_at(5, 64, 0), false, item));
        CHECK(ids.back() == wire::id_at(5, 64, item));
    }
    CHECK(all_differ(std::move(ids)));
}

TEST_CASE("what a record came of tells numbers, endpoints and what is sent on apart") {
    const std::array numbers{std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1} << 20,
                             (std::uint64_t{1} << 43) - 1};
    const std::array endpoints{1U, 2U, 1U << 10, wire::most_endpoints - 1};
    std::vector<std::uint64_t> words{0};
    for (const std::uint64_t number : numbers)
        for (const std::uint32_t endpoint : endpoints) {
            words.push_back(wire::output_of(number, endpoint));
            CHECK_FALSE(wire::is_sent_on(words.back()));
            words.push_back(wire::sent_on_from(number, endpoint));
            CHECK(wire::is_sent_on(words.back()));
        }
    std::ranges::sort(words);
    CHECK(std::ranges::adjacent_find(words) == words.end());
    // Of no endpoint.
    CHECK(wire::sent_on_from(0, 0) != 0);
}
}
