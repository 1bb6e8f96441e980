// The account finds each kind of breach that it is there for.
//
// SPDX-License-Identifier: BSL-1.0
#include "support/ledger.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/support.h"

namespace shmbus::test {
namespace {

using Kind = EventKind;

// Two senders, three messages each, two receivers, one death and its marked redelivery.
std::vector<Event> good_history() {
    std::vector<Event> events;
    for (std::uint32_t sender = 1; sender <= 2; ++sender) {
        for (std::uint64_t number = 1; number <= 3; ++number) {
            events.push_back({Kind::tried, sender, number, 0, 0});
            events.push_back({Kind::accepted, sender, number, 0, 0});
            events.push_back({Kind::handled, sender, number, 10 + sender, 0});
        }
    }
    events.push_back({Kind::handled, 2, 3, 11, 1});
    events.push_back({Kind::tried, 1, 4, 0, 0});  // died before it was published
    events.push_back({Kind::tried, 1, 5, 0, 0});
    events.push_back({Kind::refused, 1, 5, 0, 0});
    return events;
}

bool finds(const std::vector<Event>& events, const std::string& what) {
    const auto found = violations(events, true);
    return found.size() == 1 && found.front().starts_with(what);
}

// The place of the `kind` event of message 2 of sender 1.
std::vector<Event>::iterator second(std::vector<Event>& events, Kind kind) {
    return std::find_if(events.begin(), events.end(), [&](const Event& event) {
        return event.kind == kind && event.sender == 1 && event.number == 2;
    });
}

TEST_SUITE("support") {
TEST_CASE("the account accepts a history with a death and a marked redelivery") {
    CHECK(violations(good_history(), true).empty());
}
TEST_CASE("the account finds a planted loss, once everything is drained") {
    auto events = good_history();
    events.erase(second(events, Kind::handled));
    CHECK(violations(events, false).empty());
    CHECK(finds(events, "lost: message 2 of sender 1"));
}
TEST_CASE("the account finds a planted unmarked duplicate") {
    auto events = good_history();
    Event again = *second(events, Kind::handled);
    again.receiver = 77;
    events.push_back(again);
    CHECK(finds(events, "handled twice without a mark: message 2 of sender 1"));
}
TEST_CASE("the account finds a second call of a handler that was not told of the first") {
    auto events = good_history();
    events.push_back({Kind::begun, 1, 2, 10, 0});  // and killed there
    events.push_back({Kind::begun, 1, 2, 11, 1});
    CHECK(violations(events, true).empty());
    events.push_back({Kind::begun, 1, 2, 12, 0});
    CHECK(finds(events, "begun twice without a mark: message 2 of sender 1"));
}
TEST_CASE("the account does not take a mark on the first delivery for a mark on the second") {
    auto events = good_history();
    second(events, Kind::handled)->marked = 1;
    Event again = *second(events, Kind::handled);
    again.receiver = 77;
    again.marked = 0;
    events.push_back(again);
    CHECK(finds(events, "handled twice without a mark"));
}
TEST_CASE("the account finds a planted phantom") {
    auto events = good_history();
    events.push_back({Kind::handled, 3, 1, 11, 0});
    CHECK(finds(events, "phantom: message 1 of sender 3"));
}
TEST_CASE("the account finds a message that was handled before it was sent") {
    auto events = good_history();
    std::iter_swap(second(events, Kind::tried), second(events, Kind::handled));
    CHECK(finds(events, "phantom: message 2 of sender 1"));
}
TEST_CASE("the account finds a planted reversal") {
    auto events = good_history();
    const auto first = second(events, Kind::handled);
    const auto next = std::find_if(first, events.end(), [](const Event& event) {
        return event.kind == Kind::handled && event.number == 3;
    });
    // Both were sent by then, so that only the order is wrong.
    const Event moved = *first;
    events.insert(next + 1, moved);
    events.erase(second(events, Kind::handled));
    CHECK(finds(events, "out of order: message 2 of sender 1 after 3"));
}
TEST_CASE("the account finds a refused message that was handled all the same") {
    auto events = good_history();
    events.push_back({Kind::handled, 1, 5, 11, 0});
    CHECK(finds(events, "handled though refused: message 5 of sender 1"));
}
TEST_CASE("the account's file keeps every event of a process that was killed in the middle") {
    const TemporaryDirectory directory;
    LedgerFile ledger(directory.path() + "/ledger");
    SharedStep step;
    Child child([&]() -> int {
        LedgerFile mine(directory.path() + "/ledger");
        for (std::uint64_t number = 1; number <= 100; ++number) mine.tried(1, number);
        step.reach(1);
        stay();
    });
    REQUIRE(step.wait_for(1));
    child.kill_now();
    ledger.accepted(1, 100);
    const auto events = ledger.read();
    REQUIRE(events.size() == 101);
    CHECK(events[99].number == 100);
    CHECK(events[100].kind == Kind::accepted);
}
}

}  // namespace
}  // namespace shmbus::test
