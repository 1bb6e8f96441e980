// What shm-top saw happen, from looks at a bus that is made up.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/log.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "top/figures.h"
#include "top/keys.h"
#include "top/screens.h"
#include "top/shop.h"

using namespace top_tests;
using top::Key;
using top::Log;
using top::LogLine;
using top::Model;
using top::Screen;
using Lines = std::vector<std::string>;

namespace {

constexpr top::Size log_size{24, 80};

Lines texts_of(const std::vector<LogLine>& lines) {
    Lines texts;
    for (const LogLine& line : lines) texts.push_back(line.text);
    return texts;
}

// What the second of two looks at the shop tells, where it differs in just this.
Lines told(const std::function<void(look::Snapshot&)>& before,
           const std::function<void(look::Snapshot&)>& after) {
    look::Snapshot old = shop();
    before(old);
    look::Snapshot now = shop();
    after(now);
    return texts_of(top::changes_between(old, now));
}
Lines told(const std::function<void(look::Snapshot&)>& after) {
    return told([](look::Snapshot&) {}, after);
}

LogLine line(std::uint64_t at_s, std::string text) {
    return {at_s * 1'000'000'000, std::move(text), top::Style::plain, 1, at_s * 1'000'000'000};
}

std::string screen_of(const Model& model, top::Size size = {24, 80}) {
    std::string text;
    for (const top::Line& each : top::draw(model, size)) text += top::text_of(each) + "\n";
    return text;
}

}  // namespace

TEST_SUITE("top") {
TEST_CASE("traffic alone leaves nothing in the log") {
    CHECK(top::changes_between(shop(), shop()).empty());
    CHECK(top::changes_between(shop(), shop_later()).empty());
}

TEST_CASE("the log tells of processes that come, die, leave, stop and go on, and what they had") {
    CHECK(told([](auto& now) {
              now.processes.push_back(process(5, "clerk", look::Life::alive, 4105));
          }) == Lines{"clerk (pid 4105) came"});
    const auto kill = [](look::Snapshot& now) {
        now.processes[2].life = look::Life::dead;
        now.processes[2].has_left = false;
    };
    CHECK(told([&](auto& now) {
              kill(now);
              now.processes[2].is_leaving = true;
          }) == Lines{"billing (pid 4103) died; it read billing, audit",
                      "billing: D messages, nobody reads them"});
    CHECK(told([&](auto& now) {
              kill(now);
              now.processes[2].has_left = true;
          }) == Lines{"billing (pid 4103) left; it read billing, audit",
                      "billing: D messages, nobody reads them"});
    // Its places go with it: that it closed them is not told as well.
    CHECK(told([&](auto& now) {
              kill(now);
              now.endpoints[1].consumers.clear();
              now.endpoints[4].consumers.clear();
          }) == Lines{"billing (pid 4103) died; it read billing, audit",
                      "billing: D messages, nobody reads them"});
    CHECK(told([](auto& old) { old.processes[0].lanes = 2; },
               [](auto& now) { now.processes.erase(now.processes.begin()); }) ==
          Lines{"web (pid 4101) is gone; it wrote 2 lanes"});
    // Dead before, in its row: no second death.
    CHECK(told([](auto& now) { now.processes.erase(now.processes.begin() + 3); }) ==
          Lines{"shipping (pid 4104) was cleared away"});
    CHECK(told([](auto& now) { now.processes[0].is_stopped = true; }) ==
          Lines{"web (pid 4101) is stopped by a signal or a debugger"});
    CHECK(told([](auto& now) { now.processes[1].is_stopped = false; }) ==
          Lines{"sales (pid 4102) goes on"});
}

TEST_CASE("the log tells of the daemon and the journal") {
    CHECK(told([](auto& now) { now.daemon = {look::Life::dead, std::nullopt}; }) ==
          Lines{"daemon 4121 is gone"});
    CHECK(told([](auto& old) { old.daemon = {look::Life::dead, std::nullopt}; },
               [](auto&) {}) == Lines{"daemon 4121 serves the bus"});
    CHECK(told([](auto& now) { now.daemon.pid = 5000; }) ==
          Lines{"daemon 4121 is gone", "daemon 5000 serves the bus"});
    CHECK(told([](auto& now) { now.daemon.is_stopped = true; }) ==
          Lines{"daemon 4121 is stopped by a signal or a debugger"});
    // Its number cannot be read for a moment: it has not gone for that.
    CHECK(told([](auto& now) { now.daemon.pid.reset(); }).empty());
    CHECK(told([](auto& now) { now.journal.condition = 1; }) ==
          Lines{"the journal is out of service: disk full",
                "shmbus.journal: J the journal is out of service"});
    CHECK(told([](auto& old) { old.journal.condition = 2; }, [](auto&) {}) ==
          Lines{"the journal is in service again", "shmbus.journal: not J any more"});
    CHECK(told([](auto& old) { old.journal.is_in_use = false; }, [](auto&) {}) ==
          Lines{"the journal is in use"});
    CHECK(told([](auto& now) { now.uuid = "2"; }) == Lines{"another bus was made in this place"});
}

TEST_CASE("the log tells of endpoints: made, removed, opened, closed, in trouble, what they lost") {
    CHECK(told([](auto& now) { now.endpoints.push_back(endpoint(9, "new")); }) ==
          Lines{"new: the endpoint was made"});
    CHECK(told([](auto& now) { now.endpoints.erase(now.endpoints.begin() + 4); }) ==
          Lines{"audit: the endpoint was removed"});
    // Inboxes for replies come and go with whoever asks.
    CHECK(told([](auto& now) { now.endpoints.pop_back(); }).empty());
    CHECK(told([](auto& now) { now.endpoints[4].consumers.push_back(consumer(1, 1)); }) ==
          Lines{"web (pid 4101) opened audit"});
    CHECK(told([](auto& now) { now.endpoints[4].consumers.clear(); }) ==
          Lines{"billing (pid 4103) closed audit"});
    CHECK(told([](auto& now) { now.endpoints[1].lanes[0].wants_room = true; }) ==
          Lines{"billing: B a writer waits for room"});
    CHECK(told([](auto& now) { now.endpoints[0].lanes[0].wants_room = false; }) ==
          Lines{"sales: P a consumer is stopped"});
    CHECK(told([](auto& now) { now.endpoints[3].lanes.clear(); }) ==
          Lines{"error: not F any more"});
    CHECK(told([](auto& now) {
              now.endpoints[1].lanes[0].sight = look::Sight::damaged;
              now.endpoints[1].lanes[0].trouble = "its file\x1b went";
          }) == Lines{"billing: X a file of it is damaged",
                      "billing: lane 0000000000000012 of sales is damaged: its file? went"});
    look::Snapshot later = shop_later();
    later.endpoints[1].metrics.counters.failed = 3;
    later.endpoints[1].metrics.counters.dropped = 5;
    later.endpoints[1].lanes[0].dropped_newest = 2;
    later.endpoints[1].lanes[0].dropped_oldest = 4;
    const auto lost = top::changes_between(shop(), later);
    REQUIRE(texts_of(lost) == Lines{"billing: a message was given up, to the error endpoint",
                                    "billing: a message was dropped, nobody there handles its type",
                                    "billing: a new message was dropped, no room",
                                    "billing: an old message was dropped, no room"});
    CHECK(lost[0].times == 3);
    CHECK(lost[1].times == 5);
    CHECK(lost[2].times == 2);
    CHECK(lost[3].times == 4);
}

TEST_CASE("what happens again soon is one line with a count, and the log has an end") {
    Log log;
    log.add({line(1, "a"), line(2, "b"), line(3, "a")});
    CHECK(texts_of(log.lines()) == Lines{"b", "a"});
    CHECK(log.lines()[1].times == 2);
    CHECK(log.lines()[1].since_ns == 1'000'000'000);
    log.add({line(14, "a")});
    CHECK(texts_of(log.lines()) == Lines{"b", "a", "a"});
    for (std::uint64_t at = 0; at < 2 * Log::most_lines; ++at)
        log.add({line(20, std::to_string(at))});
    CHECK(log.lines().size() == Log::most_lines);
    CHECK(log.lines().front().text == "500");
    CHECK(log.lines().back().text == "999");
    // Three lines go, two of them above the tenth: 500 and 505 make room or come again at the end.
    CHECK(log.add({line(20, "new"), line(20, "505"), line(20, "900")}, 10) == 2);
}

TEST_CASE("the log follows its end, stays where it is read, and says where more is") {
    Model shown = model();
    shown.now.daemon.log = "/dev/shm/shmbus-0/shop/daemon.log";
    static_cast<void>(top::press(shown, top::key_of('6'), log_size));
    REQUIRE(shown.view.screen == Screen::log);
    const std::string first = screen_of(shown);
    CHECK(first.find("first look at this bus") != std::string::npos);
    CHECK(first.find("sales: B a writer waits for room") != std::string::npos);
    CHECK(first.find("/dev/shm/shmbus-0/shop/daemon.log") != std::string::npos);
    for (int at = 0; at < 100; ++at) {
        look::Snapshot next = at % 2 == 0 ? shop() : shop_later();
        next.taken_ns = static_cast<std::uint64_t>(at + 1) * 60'000'000'000;
        next.monotonic_ns = next.taken_ns;
        next.daemon.pid = 5000 + at;
        top::update(shown, std::move(next));
    }
    CHECK(screen_of(shown).find("daemon 5099 serves the bus") != std::string::npos);
    shown.view.is_paused = true;
    for (int at = 0; at < 3; ++at) static_cast<void>(top::press(shown, Key::page_up, log_size));
    const std::string upwards = screen_of(shown);
    CHECK(upwards.find("daemon 5099 serves") == std::string::npos);
    const std::string chosen = shown.log.lines()[top::chosen_row(shown)].text;
    look::Snapshot next = shop();
    next.taken_ns = 102 * 60'000'000'000ULL;
    top::update(shown, std::move(next));
    CHECK(shown.log.lines()[top::chosen_row(shown)].text == chosen);
    static_cast<void>(top::press(shown, Key::end, log_size));
    CHECK(screen_of(shown).find("daemon 4121 serves the bus") != std::string::npos);
    // The end again, so what comes is followed again, in the last line above the keys.
    next = shop_later();
    next.taken_ns = 103 * 60'000'000'000ULL;
    next.daemon.pid = 6000;
    top::update(shown, std::move(next));
    CHECK(top::chosen_row(shown) + 1 == shown.log.lines().size());
    const top::Page page = top::draw(shown, log_size);
    CHECK(top::text_of(page[page.size() - 2]).find("daemon 6000 serves") != std::string::npos);
}

TEST_CASE("the line that is read stays the chosen one when lines above it go") {
    Model shown = model();
    static_cast<void>(top::press(shown, top::key_of('6'), log_size));
    for (int at = 0; at < 3; ++at) {
        look::Snapshot next = shop();
        next.taken_ns = static_cast<std::uint64_t>(at) * 1'000'000'000;
        next.daemon.pid = at % 2 == 0 ? 5000 : 4121;
        top::update(shown, std::move(next));
    }
    static_cast<void>(top::press(shown, Key::up, log_size));
    const std::string chosen = shown.log.lines()[top::chosen_row(shown)].text;
    REQUIRE(chosen == "daemon 4121 is gone");
    // What happens once more goes from its place above to the end.
    look::Snapshot next = shop();
    next.taken_ns = 3'000'000'000;
    top::update(shown, std::move(next));
    CHECK(shown.log.lines()[top::chosen_row(shown)].text == chosen);
}

TEST_CASE("the log says how often the same happened, and since when") {
    Model shown = model();
    static_cast<void>(top::press(shown, top::key_of('6'), log_size));
    const auto failed = [&](std::uint64_t count, std::uint64_t at_s) {
        look::Snapshot next = shop_later();
        next.taken_ns = at_s * 1'000'000'000;
        next.endpoints[1].metrics.counters.failed = count;
        top::update(shown, std::move(next));
        return screen_of(shown, {24, 120});
    };
    const std::string given_up = ": a message was given up, to the error endpoint";
    CHECK(failed(1, 1).find(given_up + " ") != std::string::npos);
    CHECK(screen_of(shown, {24, 120}).find("times") == std::string::npos);
    CHECK(failed(4, 60).find(given_up + "  (3 times)") != std::string::npos);
    CHECK(failed(5, 62).find(given_up + "  (4 times since " +
                             top::clock_text(60'000'000'000) + ")") != std::string::npos);
    // In a wide terminal a long one is whole.
    top::see_nothing(shown, std::string(170, 'w'), 63'000'000'000);
    CHECK(screen_of(shown, {60, 200}).find(std::string(170, 'w')) != std::string::npos);
}

TEST_CASE("that the bus went away and came again is in the log") {
    Model shown = model();
    top::see_nothing(shown, "the bus is gone", 2);
    top::see_nothing(shown, "the bus is gone", 3);
    CHECK(shown.log.lines().back().text == "the bus is gone");
    CHECK(shown.log.lines().back().times == 1);
    top::update(shown, shop_later());
    CHECK(shown.log.lines().back().text == "the bus is seen again");
    CHECK(shown.trouble.empty());
}

TEST_CASE("Tab leads through all six screens and round again") {
    Model shown = model();
    std::vector<Screen> seen;
    for (int at = 0; at < 6; ++at) {
        static_cast<void>(top::press(shown, Key::tab, log_size));
        seen.push_back(shown.view.screen);
    }
    CHECK(seen == std::vector{Screen::processes, Screen::types, Screen::journal, Screen::messages,
                              Screen::log, Screen::endpoints});
    // Nothing has ever failed here.
    shown.now.endpoints.erase(shown.now.endpoints.begin() + 3);
    for (int at = 0; at < 4; ++at) static_cast<void>(top::press(shown, Key::tab, log_size));
    CHECK(shown.view.screen == Screen::log);
}
}
