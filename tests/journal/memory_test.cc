// No memory left, at each allocation in turn: what a call could not take was never there, and a
// commit that could not be ended stops the journal until it is opened anew.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "journal/journal.h"
#include "rig.h"
#include "support/own_new.h"

namespace {

using namespace shmbus::test;
using namespace shmbus::journal;

// Makes the call while its allocation of that number fails. False: it did.
template <class Call>
bool failing(std::uint64_t at, Call&& call) {
    own_new().fails_at = at;
    try {
        call();
    } catch (const std::bad_alloc&) {
        return false;
    }
    own_new().fails_at = 0;
    return true;
}

// As failing(), for each allocation in turn and at last for none; what went well.
template <class Call>
void each_time(Call&& call) {
    // Ends: no call makes so many allocations.
    for (std::uint64_t at = 1; !failing(at, [&] { call(at); }); ++at) REQUIRE(at < 1000);
}

[[nodiscard]] Message to_endpoint(const std::vector<Endpoint>& to, const std::string& text) {
    Message message;
    message.to = to;
    message.payload = std::as_bytes(std::span(text));
    return message;
}

}  // namespace

TEST_SUITE("journal") {
// The audience of the message before is remembered: never with half of the next one's.
TEST_CASE("a message that no memory was left for leaves the numbers of the next audience alone") {
    const std::vector<Endpoint> one{1};
    const std::vector<Endpoint> more{1, 2, 3, 4, 5, 6, 7, 8};
    bool went_well = false;
    // Ends: no call makes so many allocations.
    for (std::uint64_t at = 1; !went_well; ++at) {
        REQUIRE(at < 1000);
        SimDisk disk;
        const auto journal = std::make_unique<Journal>(disk, Rig::small_options());
        REQUIRE(journal->publish(to_endpoint(one, "1")).outcome == Outcome::ok);
        went_well = failing(
            at, [&] { static_cast<void>(journal->publish(to_endpoint(more, "more"))); });
        own_new().fails_at = 0;
        REQUIRE(journal->publish(to_endpoint(one, "2")).outcome == Outcome::ok);
        REQUIRE(journal->commit().outcome == Outcome::ok);
        std::map<std::uint32_t, std::vector<std::uint32_t>> numbers;
        static_cast<void>(inspect(disk, [&](auto, auto, const RecordHead& head, auto) {
            if (head.kind == Kind::publish) numbers[head.number].push_back(head.sequence);
        }));
        CHECK(numbers.begin()->second == std::vector<std::uint32_t>{1, 2});
    }
}

TEST_CASE("what no memory was left for is not in the batch, and the batch is sound") {
    SimDisk disk;
    Options options = Rig::small_options();
    auto journal = std::make_unique<Journal>(disk, options);
    std::map<Endpoint, std::vector<std::uint64_t>> published;
    std::map<std::uint64_t, std::uint64_t> positions;
    std::uint64_t settled = 0;
    for (std::uint64_t turn = 0; turn < 20; ++turn) {
        // To somebody new each time, and each time to the same.
        for (const bool is_new : {true, false}) {
            each_time([&](std::uint64_t at) {
                const Endpoint endpoint = is_new ? 1'000 + 100 * turn + at : 1;
                const std::uint64_t old = std::exchange(own_new().fails_at, 0);
                const std::vector<Endpoint> to{endpoint};
                const std::string text(1 + 400 * (turn % 2), 'x');
                std::vector<std::uint64_t>& known = published[endpoint];
                known.reserve(known.size() + 1);
                own_new().fails_at = old;
                const Appended appended = journal->publish(to_endpoint(to, text));
                own_new().fails_at = 0;
                if (appended.outcome == Outcome::ok) known.push_back(appended.lsn);
            });
        }
        each_time([&](std::uint64_t at) {
            const std::uint64_t lane = 100 * turn + at;
            const Outcome outcome = journal->up_to(lane, 10 * lane);
            own_new().fails_at = 0;
            if (outcome == Outcome::ok) positions[lane] = 10 * lane;
        });
        each_time([&](std::uint64_t at) {
            static_cast<void>(journal->put({1, 100 * turn + at}, {}));
        });
        Delivery delivery;
        if (journal->next(1, delivery) == Next::message) {
            ++settled;
            each_time([&](std::uint64_t) {
                static_cast<void>(journal->settle(1, delivery.lsn));
            });
        }
        if (turn % 5 == 4) REQUIRE(journal->commit().outcome == Outcome::ok);
        while (journal->maintain(true)) continue;
    }
    journal = std::make_unique<Journal>(disk, options);
    CHECK_MESSAGE(journal->why_stopped().empty(), journal->why_stopped());
    for (const auto& [endpoint, lsns] : published) {
        std::vector<std::uint64_t> found;
        Delivery delivery;
        while (journal->next(endpoint, delivery) == Next::message) found.push_back(delivery.lsn);
        const auto gone = static_cast<std::ptrdiff_t>(endpoint == 1 ? settled : 0);
        CHECK(found == std::vector(lsns.begin() + gone, lsns.end()));
    }
    for (const auto& [lane, position] : positions) CHECK(journal->consumed_of(lane) == position);
}

TEST_CASE("a commit that no memory was left for stops the journal; opened anew, it is sound") {
    Options options = Rig::small_options();
    bool went_well = false;
    std::uint64_t at = 0;
    // Ends: no commit makes so many allocations.
    while (!went_well) {
        REQUIRE(++at < 1000);
        SimDisk disk;
        auto journal = std::make_unique<Journal>(disk, options);
        const auto publish = [&](Endpoint endpoint) {
            const std::vector<Endpoint> to{endpoint};
            return journal->publish(to_endpoint(to, "text")).outcome;
        };
        REQUIRE(publish(1) == Outcome::ok);
        REQUIRE(journal->commit().outcome == Outcome::ok);
        Delivery delivery;
        REQUIRE(journal->next(1, delivery) == Next::message);
        REQUIRE(journal->settle(1, delivery.lsn) == Outcome::ok);
        REQUIRE(publish(2) == Outcome::ok);
        REQUIRE(journal->up_to(7, 70) == Outcome::ok);
        Outcome outcome = Outcome::ok;
        REQUIRE(failing(at, [&] { outcome = journal->commit().outcome; }));
        went_well = outcome == Outcome::ok;
        if (!went_well) {
            CHECK(outcome == Outcome::stopped);
            CHECK(publish(3) == Outcome::stopped);
            CHECK(journal->commit().outcome == Outcome::stopped);
        }
        journal = std::make_unique<Journal>(disk, options);
        CHECK_MESSAGE(journal->why_stopped().empty(), journal->why_stopped());
        // All of the batch or nothing.
        const bool is_there = journal->consumed_of(7) == 70;
        CHECK(is_there == (journal->backlog(2) == 1));
        CHECK(is_there == (journal->backlog(1) == 0));
        CHECK((is_there || !went_well));
        REQUIRE(publish(3) == Outcome::ok);
        REQUIRE(journal->commit().outcome == Outcome::ok);
    }
    CHECK(at > 1);  // some did fail
}
}
