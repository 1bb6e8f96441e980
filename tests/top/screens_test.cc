// The screens of shm-top, drawn from a bus that is made up, without a terminal.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/screens.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <clocale>
#include <random>
#include <set>
#include <string>

#include "look/json.h"
#include "top/batch.h"
#include "top/columns.h"
#include "top/figures.h"
#include "top/keys.h"
#include "top/shop.h"

using namespace top_tests;
using top::Alphabet;
using top::Column;
using top::Key;
using top::Model;
using top::Page;
using top::Screen;
using top::Size;

namespace {

constexpr Size small{24, 80};
constexpr Size large{60, 200};

std::string text_of(const Page& page) {
    std::string text;
    for (const top::Line& line : page) text += top::text_of(line) + "\n";
    return text;
}

// The line that has this in it; empty without one.
std::string line_with(const Page& page, const std::string& what) {
    for (const top::Line& line : page)
        if (top::text_of(line).find(what) != std::string::npos) return top::text_of(line);
    return {};
}

bool has(const std::string& text, const std::string& what) {
    return text.find(what) != std::string::npos;
}

void press(Model& model, const std::string& keys) {
    for (const char key : keys) static_cast<void>(top::press(model, top::key_of(key), small));
}

std::string chosen_name(const Model& model) {
    const look::Endpoint* const endpoint = model.endpoint();
    return endpoint ? model.now.endpoint_name(*endpoint) : "";
}

}  // namespace

TEST_SUITE("top") {
TEST_CASE("the main table says of each endpoint how it is, the worst first") {
    const Model shown = model();
    const Page page = top::draw(shown, small);
    std::string letters;
    for (const look::Endpoint* const row : top::shown_endpoints(shown))
        letters += top::letter_of(top::state_of(shown, *row));
    CHECK(letters == "BDFRRI");
    CHECK(line_with(page, "sales").starts_with("B sales"));
    CHECK(line_with(page, "shipping").starts_with("D shipping"));
    CHECK(line_with(page, "error").starts_with("F error"));
    CHECK(line_with(page, "audit").starts_with("I audit"));
    CHECK(has(top::text_of(page[0]), "bus shop  daemon 4121 ok"));
    CHECK(has(top::text_of(page[1]), "Endpoints 7 (2 stuck)   Processes 3 (1 dead)"));
    CHECK(has(top::text_of(page[2]), "in 20/s out 20/s"));
    CHECK(has(top::text_of(page[2]), "failed 3"));
}

TEST_CASE("before there are two snapshots no rate is known, the journal's is not either") {
    Model shown = model();
    CHECK(has(top::text_of(top::draw(shown, small)[2]), "   Journal 0/s sync p99 "));
    shown.rates = {};
    const std::string line = top::text_of(top::draw(shown, small)[2]);
    CHECK(line.starts_with("Messages in - out - again - failed 3   Journal - sync p99 "));
    shown.view.screen = Screen::journal;
    CHECK(has(text_of(top::draw(shown, small)), "since the bus was made, - now"));
}

TEST_CASE("figures of the main table are those of the snapshot") {
    const Model shown = model();
    const std::string batch = top::batch_text(shown, {120, false, false});
    CAPTURE(batch);
    // 60 wait and 3 of the four in the hand are not done.
    const std::string sales = line_with(top::draw(shown, small), "sales");
    CHECK(has(sales, "    63 "));
    CHECK(has(sales, "7.1s"));
    const std::string billing = line_with(top::draw(shown, small), "billing");
    CHECK(has(billing, "20"));
    CHECK(has(billing, "2.0us"));
    CHECK(has(billing, "305us"));
    CHECK(has(batch, "sales"));
    const std::string csv = top::csv_rows(shown);
    CHECK(has(csv, "\"sales\",1.1,ordinary,B,63,60,3,1.0000,7100000000,1,1,100,37,"));
    CHECK(std::count(csv.begin(), csv.end(), '\n') == 7);
    // With totals there is more behind, and nothing else in front.
    const std::string head = top::csv_head(true);
    CHECK(head.starts_with(top::csv_head().substr(0, top::csv_head().size() - 1) + ","));
    const std::string all = top::csv_rows(shown, true);
    const std::string row = all.substr(0, all.find('\n'));
    CHECK(row == csv.substr(0, csv.find('\n')) + ",6400,2560,0,0,0,0,0,0");
    CHECK(std::count(head.begin(), head.end(), ',') == std::count(row.begin(), row.end(), ','));
}

TEST_CASE("totals are those of all endpoints but the journal, each its own") {
    look::Snapshot seen = shop();
    std::uint64_t number = 0;
    for (look::Endpoint& each : seen.endpoints) {
        for (std::uint64_t* const one :
             {&each.settled, &each.metrics.counters.threw, &each.metrics.counters.redelivered,
              &each.metrics.counters.failed, &each.metrics.counters.dropped,
              &each.metrics.counters.wakeups, &each.gone_refused, &each.gone_waits,
              &each.gone_dropped_newest, &each.gone_dropped_oldest, &each.gone_bytes})
            *one = number += 7;
        each.metrics.counters.exhausted = 1;
    }
    const auto all = nlohmann::json::parse(look::json_text(seen, {}, {.has_totals = true}));
    const auto sum = [&](const auto& of) {
        std::uint64_t found = 0;
        for (const look::Endpoint& each : seen.endpoints)
            if (each.kind != EndpointKind::journal) found += of(each);
        return found;
    };
    const auto counted = [&](auto which) {
        return sum([&](const look::Endpoint& each) { return each.metrics.counters.*which; });
    };
    using look::Counters;
    using look::Endpoint;
    const auto& totals = all["totals"];
    CHECK(totals["received_total"] == sum([](const Endpoint& each) { return each.received(); }));
    CHECK(totals["settled_total"] == sum([](const Endpoint& each) { return each.settled; }));
    CHECK(totals["written_bytes_total"] ==
          sum([](const Endpoint& each) { return each.written_bytes(); }));
    CHECK(totals["taken_bytes_total"] ==
          sum([](const Endpoint& each) { return each.taken_bytes(); }));
    CHECK(totals["refused_total"] == sum([](const Endpoint& each) { return each.refused(); }));
    CHECK(totals["waits_total"] == sum([](const Endpoint& each) { return each.waits(); }));
    CHECK(totals["threw_total"] == counted(&Counters::threw));
    CHECK(totals["retried_total"] ==
          sum([](const Endpoint& each) { return each.metrics.counters.retried(); }));
    CHECK(totals["redelivered_total"] == counted(&Counters::redelivered));
    CHECK(totals["failed_total"] == counted(&Counters::failed));
    CHECK(totals["dropped_total"] == counted(&Counters::dropped));
    CHECK(totals["dropped_newest_total"] ==
          sum([](const Endpoint& each) { return each.dropped_newest(); }));
    CHECK(totals["dropped_oldest_total"] ==
          sum([](const Endpoint& each) { return each.dropped_oldest(); }));
    CHECK(totals["wakeups_total"] == counted(&Counters::wakeups));
}

TEST_CASE("a lane is as full as what waits in it or is held, not as what is not given back yet") {
    Model shown = model();
    look::Endpoint& audit = shown.now.endpoints[4];
    audit.lanes = {lane(0x15, 1, 0, 16, 16)};
    CHECK(audit.fill() == 0.0);
    CHECK(has(line_with(top::draw(shown, small), "audit"), " ........ "));
    CHECK(audit.lanes[0].used_bytes() == 1024);
    audit.hands = {hand(0, 3, 0x15, 8, 16, 7)};
    audit.find_handled();
    CHECK(audit.fill() == 0.125);
    CHECK(has(line_with(top::draw(shown, small), "audit"), " |....... "));
    // All done, or not taken yet: it holds nothing. Below what was given back nobody does.
    audit.hands[0].done = 8;
    audit.find_handled();
    CHECK(audit.fill() == 0.0);
    audit.hands[0].done = 0;
    audit.hands[0].is_taking = true;
    audit.find_handled();
    CHECK(audit.fill() == 0.0);
    audit.lanes[0].reclaim = 12;
    audit.hands[0].is_taking = false;
    audit.find_handled();
    CHECK(audit.fill() == 0.0625);
}

TEST_CASE("only the living are counted as having an endpoint open, the unknown marked") {
    Model shown = model();
    const auto cons = [&](const std::string& name) {
        shown.view.hidden = {Column::kind,   Column::depth,   Column::fill,        Column::in,
                             Column::out,    Column::p50,     Column::p99,         Column::critical,
                             Column::oldest, Column::retries, Column::failed,      Column::trend,
                             Column::journal_lag};
        const std::string line = line_with(top::draw(shown, small), name);
        const std::size_t end = line.find_last_not_of(' ');
        const std::size_t begin = line.rfind(' ', end) + 1;
        return line.substr(begin, end + 1 - begin);
    };
    CHECK(cons("shipping") == "0");
    CHECK(cons("sales") == "1");
    CHECK(cons("shmbus.journal") == "-");
    CHECK(has(top::csv_rows(shown), "\"shipping\",3.1,ordinary,D,10,6,4,0.1562,7100000000,0,"));
    // Of a copy nobody can say who lives.
    for (look::Process& each : shown.now.processes) each.life = look::Life::unknown;
    CHECK(cons("shipping") == "1?");
    CHECK(shown.now.opened(shown.now.endpoints[2]).not_dead() == 1);
    // Nor do others put it before those that have somebody.
    shown.now.processes[3].life = look::Life::dead;
    shown.view.sort = Column::consumers;
    const auto rows = top::shown_endpoints(shown);
    REQUIRE(rows.size() == 6);
    CHECK(std::ranges::find(rows, &shown.now.endpoints[2]) - rows.begin() == 4);
    // Its row is gone: it is dead.
    shown.now.processes.clear();
    CHECK(cons("shipping") == "0");
}

TEST_CASE("the age of a message that does not say when it was sent is marked as the least it is") {
    Model shown = model();
    const auto sales = [&] { return line_with(top::draw(shown, small), "B sales"); };
    look::Endpoint& seen = shown.now.endpoints[0];
    seen.lanes[0].oldest_is_at_least = true;
    CHECK(has(sales(), " >7.1s "));
    const auto in_json = [&] {
        const auto all = nlohmann::json::parse(look::json_text(shown.now, {}));
        return all["endpoints"][0]["oldest_is_at_least"].get<bool>();
    };
    CHECK(in_json());
    // The one in a hand is known, the one that waits may be older.
    seen.lanes[0].oldest_is_at_least = false;
    seen.lanes[0].oldest_ns.reset();
    CHECK(has(sales(), " >7.1s "));
    seen.lanes[0].oldest_ns = 5'000'000'000;
    CHECK(has(sales(), "  7.1s "));
    CHECK_FALSE(in_json());
    CHECK(top::least_text(41'000'000) == ">41ms");
    CHECK(top::least_text(std::nullopt) == "-");
}

TEST_CASE("every screen fits its terminal, and in ASCII has nothing else") {
    for (const Size size : {small, large, Size{1, 1}, Size{3, 10}, Size{10, 300}})
        for (const Alphabet alphabet : {Alphabet::ascii, Alphabet::unicode})
            for (int screen = 0; screen <= static_cast<int>(Screen::help); ++screen) {
                Model shown = model();
                shown.alphabet = alphabet;
                shown.view.endpoint = shown.now.endpoints[0].reference;
                shown.view.lane = 0x11;
                shown.view.screen = static_cast<Screen>(screen);
                const Page page = top::draw(shown, size);
                CAPTURE(screen);
                CHECK(page.size() == size.rows);
                for (const top::Line& line : page) {
                    CAPTURE(top::text_of(line));
                    CHECK(top::width(line) <= size.columns);
                    for (const char c : top::text_of(line)) {
                        CHECK(static_cast<unsigned char>(c) >= ' ');
                        if (alphabet == Alphabet::ascii)
                            CHECK(static_cast<unsigned char>(c) < 127);
                    }
                }
            }
}

TEST_CASE("a narrow terminal has the columns that matter, a wide one all") {
    const Model shown = model();
    const auto narrow = top::columns_shown(shown, 80);
    for (const Column column :
         {Column::state, Column::name, Column::depth, Column::fill, Column::in, Column::out,
          Column::p99, Column::critical, Column::oldest, Column::consumers})
        CHECK(std::count(narrow.begin(), narrow.end(), column) == 1);
    CHECK(top::columns_shown(shown, 200).size() == top::column_count);
}

TEST_CASE("in a narrow terminal the columns move up to the last one, state and name stay") {
    Model shown = model();
    const auto heads = [&] { return top::text_of(top::draw(shown, small)[4]); };
    const auto go = [&](Key key) { static_cast<void>(top::press(shown, key, small)); };
    CHECK_FALSE(has(heads(), "KIND"));
    CHECK(has(text_of(top::draw(shown, small)), "Right more"));
    go(Key::left);
    CHECK(top::columns_beside(shown, 80).left == 0);
    std::string seen = heads();
    for (int step = 0; step < 20; ++step) {
        go(Key::right);
        CHECK(heads().starts_with("S ENDPOINT "));
        seen += heads();
    }
    for (const char* const head : {"KIND", "RETRY/s", "FAIL", "JLAG", "TREND"})
        CHECK(has(seen, head));
    CHECK(has(heads(), "TREND"));
    CHECK(has(text_of(top::draw(shown, small)), "Left more"));
    CHECK(shown.view.screen == Screen::endpoints);
    // As often back as there are columns on the left, and not more.
    const std::size_t left = top::columns_beside(shown, 80).left;
    CHECK(left < top::column_count);
    for (std::size_t step = 0; step < left; ++step) go(Key::left);
    CHECK(has(heads(), "DEPTH"));
    // In a wide one all fit, and nothing moves.
    static_cast<void>(top::press(shown, Key::right, large));
    CHECK(top::columns_shown(shown, 200).size() == top::column_count);
    CHECK(shown.view.columns_moved == 0);
    // Nor is it remembered there how far they were moved in the narrow one.
    go(Key::right);
    go(Key::right);
    static_cast<void>(top::press(shown, Key::left, large));
    CHECK(top::columns_beside(shown, 80).left == 0);
    go(Key::enter);
    CHECK(shown.view.screen == Screen::endpoint);
    go(Key::left);
    CHECK(shown.view.screen == Screen::endpoints);
}

TEST_CASE("the help says that there is more of it, and moves to its end and back") {
    Model shown = model();
    press(shown, "?");
    const auto help = [&] { return text_of(top::draw(shown, small)); };
    CHECK(has(help(), "lines 1 to 18 of"));
    CHECK(has(help(), "endpoints, processes, types"));
    CHECK_FALSE(has(help(), "man shm-top"));
    for (int step = 0; step < 9; ++step)
        static_cast<void>(top::press(shown, Key::page_down, small));
    CHECK(has(help(), "man shm-top"));
    static_cast<void>(top::press(shown, Key::up, small));
    CHECK_FALSE(has(help(), "man shm-top"));
    press(shown, "g");
    CHECK(has(help(), "lines 1 to 18 of"));
    // Where all of it fits, nothing is said about more, and every line is whole at 80 columns.
    CHECK_FALSE(has(text_of(top::draw(shown, large)), "lines 1 to"));
    const Page wide = top::draw(shown, {60, 300});
    for (std::size_t line = 1; line < wide.size(); ++line) CHECK(top::width(wide[line]) <= 80);
}

TEST_CASE("the legend of a lane and the keys fit 80 columns") {
    Model shown = model();
    press(shown, "/sales\n\n\n");
    REQUIRE(shown.view.screen == Screen::lane);
    CHECK(has(text_of(top::draw(shown, small)), "- done, not given back\n"));
    for (int screen = 0; screen <= static_cast<int>(Screen::help); ++screen) {
        shown.view.screen = static_cast<Screen>(screen);
        CHECK(top::width(top::draw(shown, {24, 300}).back()) <= 80);
        CHECK(has(top::text_of(top::draw(shown, small).back()), "q"));
    }
}

TEST_CASE("Space shows and hides a column, and marks nothing but on the main table") {
    Model shown = model();
    press(shown, "c");
    const auto fail = [&] { return line_with(top::draw(shown, large), "] FAIL"); };
    for (int step = 0; step < static_cast<int>(Column::failed); ++step) press(shown, "j");
    REQUIRE(has(fail(), "[x] FAIL"));
    press(shown, " ");
    CHECK(has(fail(), "[ ] FAIL"));
    CHECK(shown.view.hidden == std::set{Column::failed});
    press(shown, " ");
    CHECK(has(fail(), "[x] FAIL"));
    for (const char screen : {'c', '2', '3', '4', '5', '6', '?'}) {
        press(shown, {'1', screen, ' '});
        CHECK(shown.view.marked.empty());
    }
}

TEST_CASE("the choice stays with its endpoint when the order changes") {
    Model shown = model();
    press(shown, "jj");
    const std::string name = chosen_name(shown);
    press(shown, "r");
    CHECK(chosen_name(shown) == name);
    top::update(shown, shop_later());
    CHECK(chosen_name(shown) == name);
    press(shown, "g");
    CHECK(chosen_name(shown) == "audit");
}

TEST_CASE("filter, find, sort and pause do what their keys promise") {
    Model shown = model();
    press(shown, "fill\x1b");
    CHECK(shown.view.filter.empty());
    press(shown, "fsal\n");
    REQUIRE(top::shown_endpoints(shown).size() == 1);
    CHECK(top::shown_endpoints(shown)[0]->name == "sales");
    press(shown,
          "f\x7f\x7f\x7f"
          "depth>9\n");
    CHECK(top::shown_endpoints(shown).size() == 2);
    press(shown, "f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\n");
    press(shown, "/ship\n");
    CHECK(chosen_name(shown) == "shipping");
    press(shown, "/nobody\n");
    CHECK(has(shown.view.said, "nobody"));
    press(shown, ">>>");
    CHECK(shown.view.sort == Column::depth);
    CHECK(top::shown_endpoints(shown)[0]->name == "sales");
    press(shown, "r");
    CHECK(top::shown_endpoints(shown)[0]->name == "audit");
    press(shown, "p");
    CHECK(has(text_of(top::draw(shown, small)), "PAUSED"));
    press(shown, "d0.5\n");
    CHECK(shown.view.interval_s == 0.5);
    press(shown, "d250ms\n");
    CHECK(shown.view.interval_s == 0.25);
    press(shown, "dsoon\n");
    CHECK(shown.view.interval_s == 0.25);
    CHECK(has(shown.view.said, "soon"));
}

TEST_CASE("an order is named by its column, and turned round with a sign or a mark") {
    REQUIRE(top::order_of("depth"));
    CHECK(top::order_of("depth")->column == Column::depth);
    CHECK_FALSE(top::order_of("depth")->is_reversed);
    CHECK(top::order_of("-IN")->column == Column::in);
    CHECK(top::order_of("-IN")->is_reversed);
    CHECK(top::order_of("jlag:r")->column == Column::journal_lag);
    CHECK(top::order_of("jlag:r")->is_reversed);
    for (const char* const wrong : {"", "-", "depht", "S", "in/s", "depth:", "--depth"})
        CHECK_FALSE(top::order_of(wrong));
    CHECK(top::column_names() ==
          "state endpoint kind depth fill in out p50 p99 crit oldest cons retry fail jlag trend");
    Model shown = model();
    for (look::Endpoint& each : shown.now.endpoints)
        if (each.name == "audit") each.journal_lag = 9;
    shown.view.sort = Column::journal_lag;
    CHECK(top::shown_endpoints(shown)[0]->name == "audit");
    CHECK(top::shown_endpoints(shown)[1]->name == "shmbus.journal");
}

TEST_CASE("nothing is written where that was not wanted") {
    Model shown = model();
    CHECK(top::press(shown, top::key_of('w'), small) == top::Wish::save);
    shown.view.is_read_only = true;
    CHECK(top::press(shown, top::key_of('w'), small) == top::Wish::nothing);
    CHECK(has(text_of(top::draw(shown, small)), "--read-only"));
}

TEST_CASE("a filter that is none is refused, and a long one hides neither itself nor the pause") {
    Model shown = model();
    // Ctrl-U throws away what stood there, as in a shell.
    const auto filter = [&](const std::string& text) {
        press(shown, "f\x15" + text + "\n");
        return shown.view.filter.text();
    };
    CHECK(filter("depth>5") == "depth>5");
    CHECK(filter("fill<0.5") == "fill<0.5");
    for (const char* const wrong : {"depth>abc", "depth>", "depth>5x", "depht>5", "in>>5"}) {
        CAPTURE(wrong);
        CHECK(filter(wrong) == "fill<0.5");
        CHECK(has(text_of(top::draw(shown, small)), "'" + std::string(wrong) + "' is no filter"));
    }
    CHECK(filter("").empty());
    const std::string longer(40, 'x');
    press(shown, "fab");
    CHECK(has(text_of(top::draw(shown, small)), "in>0, fail>0): ab_"));
    press(shown, longer);
    CHECK(has(text_of(top::draw(shown, small)), "\nfilter: ab" + longer + "_"));
    press(shown, "\x1b");
    CHECK(filter(longer) == longer);
    shown.view.is_paused = true;
    const std::string said = text_of(top::draw(shown, small));
    CHECK(has(said, "PAUSED"));
    CHECK(has(said, "no endpoint passes the filter " + longer));
}

TEST_CASE("a filter is an expression for names, and a plain name is one for itself") {
    Model shown = model();
    shown.now.endpoints[4].name = "shop.audit-2";
    const auto names = [&](const std::string& filter) {
        press(shown, "f\x15" + filter + "\n");
        std::string all;
        for (const look::Endpoint* const row : top::shown_endpoints(shown))
            all += shown.now.endpoint_name(*row) + " ";
        return all;
    };
    CHECK(names("sal") == "sales ");
    CHECK(names("shop.audit-2") == "shop.audit-2 ");
    CHECK(names("^s") == "sales shipping shmbus.journal shop.audit-2 ");
    CHECK(names("(sales|or)$") == "sales error ");
    CHECK(names("^s.*[sg]$") == "sales shipping ");
    CHECK(names("\\.j") == "shmbus.journal ");
    // Also of what has no name of its own.
    CHECK(names("^reply of w") == "reply of web ");
    CHECK(names("SALES").empty());
    CHECK(names("fill>70") == "sales ");
    CHECK(names("out<1") == "sales shipping error shmbus.journal reply of web shop.audit-2 ");
    // What was wrong is told, and what was right before goes on.
    names("^s.*[sg]$");
    for (const char* const wrong : {"(", "[a", "*", "a{2}", "(a)\\1", "\\"}) {
        CAPTURE(wrong);
        CHECK(names(wrong) == "sales shipping ");
        CHECK(has(text_of(top::draw(shown, small)), "'" + std::string(wrong) + "' is no filter: "));
    }
}

TEST_CASE("no expression keeps the screen, however it is made and however long the names are") {
    const std::string name(200, 'a');
    for (const char* const costly :
         {"(a+)+$b", "(a|a)*b", "(a|aa)+b", "(.*)*(.*)*(.*)*(.*)*b", "((((a*)*)*)*)*b",
          "(a?a?a?a?a?a?a?a?a?a?a?a?)*aaaaaaaaaaaaaaaaaaaab", ".*a..........................b"}) {
        CAPTURE(costly);
        const top::Filter filter{std::string(costly)};
        // Ten thousand endpoints, at ten looks a second.
        for (int times = 0; times < 1000; ++times) CHECK_FALSE(filter.matches(name));
    }
}

TEST_CASE("marked endpoints stay on top, whatever the order and the filter") {
    Model shown = model();
    const auto names = [&] {
        std::string all;
        for (const look::Endpoint* const row : top::shown_endpoints(shown))
            all += row->name.substr(0, 3) + " ";
        return all;
    };
    CHECK(names() == "sal shi err bil shm aud ");
    press(shown, "/err\n ");
    CHECK(chosen_name(shown) == "billing");
    press(shown, "G ");
    CHECK(names() == "err aud sal shi bil shm ");
    const Page page = top::draw(shown, small);
    CHECK(top::text_of(page[5]).starts_with("F +error "));
    CHECK(line_with(page, "sales").starts_with("B sales"));
    press(shown, "fsal\n");
    CHECK(names() == "err aud sal ");
    press(shown, "r");
    CHECK(names() == "aud err sal ");
    press(shown, "/err\n r");
    CHECK(names() == "aud sal ");
    press(shown, "U");
    CHECK(names() == "sal ");
    CHECK(top::press(shown, top::key_of('u'), small) == top::Wish::look);
}

TEST_CASE("drilling down leads to an endpoint, its lane, and back") {
    Model shown = model();
    press(shown, "/sales\n\n");
    CHECK(shown.view.screen == Screen::endpoint);
    const std::string one = text_of(top::draw(shown, small));
    CHECK(has(one, "depth 63 (60 waiting, 3 in hand)  came 100  left 37"));
    CHECK(has(one, "shop.place_order 3"));
    CHECK(has(one, "0000000000000011 web"));
    CHECK(has(one, "BLOCKED"));
    CHECK(has(one, "stopped"));
    press(shown, "\n");
    CHECK(shown.view.screen == Screen::lane);
    press(shown, "\x1b\x1b");
    CHECK(shown.view.screen == Screen::endpoints);
}

TEST_CASE("a lane is drawn as it lies: free, published, in a hand, done") {
    Model shown = model();
    shown.view.endpoint = shown.now.endpoints[0].reference;
    shown.view.lane = 0x11;
    shown.view.screen = Screen::lane;
    // 64 units: [36, 40) in a hand, [40, 100) published, nothing free.
    CHECK(has(text_of(top::draw(shown, small)),
              std::string(36, '#') + "hhhh" + std::string(24, '#') + "\n"));
    look::Endpoint& sales = shown.now.endpoints[0];
    sales.lanes[0] = lane(0x11, 1, 60, 70, 75);
    sales.hands = {hand(0, 2, 0x11, 66, 70, 0)};
    // Around the end: 60 to 66 is done, 66 to 70 held, 70 to 75 published.
    CHECK(
        has(text_of(top::draw(shown, small)), "--hhhh#####" + std::string(49, '.') + "----\n"));
    shown.now.processes[1].life = look::Life::dead;
    CHECK(has(text_of(top::draw(shown, small)), "--!!!!#####"));
}

TEST_CASE("of a lane it is told where its writer runs, and what it meets there in vain") {
    Model shown;
    look::Snapshot before = shop();
    before.processes[0].cpu = 1;
    look::Snapshot after = before;
    after.monotonic_ns += 2'000'000'000;
    look::Lane& lane = after.endpoints[0].lanes[0];
    lane.messages += 60;
    lane.refused += 20;
    lane.waits += 50;
    top::update(shown, std::move(before));
    press(shown, "/sales\n\n");
    const auto row = [&] { return line_with(top::draw(shown, large), "0000000000000011 web"); };
    CHECK(has(row(), "7.1s   1         -          -"));
    top::update(shown, after);
    CHECK(has(row(), "7.1s   1        25       25 %"));
    press(shown, "\n");
    CHECK(has(text_of(top::draw(shown, small)),
              "alive on cpu 1  blocked 25/s  25 % of its tries found it full"));
    // Nothing was tried, and where it is dead nobody knows where it ran.
    look::Snapshot last = after;
    last.monotonic_ns += 1'000'000'000;
    last.processes[0].life = look::Life::dead;
    last.processes[0].cpu.reset();
    top::update(shown, std::move(last));
    CHECK(has(text_of(top::draw(shown, small)),
              "dead on cpu -  blocked 0/s  - of its tries found it full"));
    shown.now.processes.clear();
    CHECK(has(text_of(top::draw(shown, small)), "gone on cpu -"));
}

TEST_CASE("who blocks a queue is told with its number and what helps") {
    Model shown = model();
    press(shown, "/sales\nb");
    const std::string blocked = text_of(top::draw(shown, small));
    CAPTURE(blocked);
    CHECK(has(blocked, "sales (pid 4102, shop) holds 4 messages for 7.1s, 1 done"));
    CHECK(has(blocked, "kill -CONT 4102"));
    CHECK(has(blocked, "web (pid 4101, shop) waits for room"));
    press(shown, "\x1b/ship\nb");
    const std::string deserted = text_of(top::draw(shown, small));
    CHECK(has(deserted, "nobody reads it: 10 messages wait"));
    CHECK(has(deserted, "DEAD"));
    press(shown, "\x1b/audit\nb");
    CHECK(has(text_of(top::draw(shown, small)), "nobody: it is empty"));
}

TEST_CASE("messages are shown with who has them and what they say, failed ones with the reason") {
    Model shown = model();
    shown.view.endpoint = shown.now.endpoints[0].reference;
    press(shown, "m");
    CHECK(shown.view.screen == Screen::messages);
    look::Message held;
    held.type = 1;
    held.sender = shown.now.processes[0].reference;
    held.holder = shown.now.processes[1].reference;
    held.text = "order_id=7 customer=\"\x1b[31mAnn\"";
    look::Message failed = held;
    failed.holder = 0;
    failed.failure = "threw at sales, 5 attempts: no such customer";
    held.id = "00066130bd3d266c0000000000000000";
    failed.id = "00066130bd3d266c0000000000010000";
    shown.messages = {held, failed};
    const Page page = top::draw(shown, large);
    CHECK(has(text_of(page), "3 in hands, 60 wait; the first 2 are shown"));
    CHECK(has(line_with(page, "order_id=7"), "shop.place_order   web        sales"));
    CHECK(has(line_with(page, "no such customer"), "threw at sales, 5 attempts"));
    CHECK(has(line_with(page, "no such customer"), failed.id));
    // At the foot that of the chosen one, whole in any terminal.
    CHECK(line_with(top::draw(shown, small), "id ").starts_with("id " + held.id + "  "));
    CHECK_FALSE(has(text_of(top::draw(shown, small)), failed.id));
    CHECK_FALSE(has(text_of(page), "shmbus failed"));
    CHECK_FALSE(has(text_of(page), "\x1b"));
    press(shown, "G");
    CHECK(top::chosen_row(shown) == 1);
    CHECK(line_with(top::draw(shown, small), "id ").starts_with("id " + failed.id + "  "));
    shown.now.endpoints[0].kind = EndpointKind::error;
    CHECK(has(text_of(top::draw(shown, small)), "shmbus failed show|retry|edit|archive ID"));
}

TEST_CASE("a message's text is shown as it is where the terminal has its characters") {
    Model shown = model();
    shown.view.endpoint = shown.now.endpoints[0].reference;
    press(shown, "m");
    look::Message message;
    // The last ones would steer the terminal, turn what follows round, or take no column; one takes
    // two of them.
    message.text = "Gr\u00fc\u00dfe\n\u009b\u202e\u65e5\u0301\xff.";
    shown.messages = {message};
    CHECK(has(text_of(top::draw(shown, small)), "Gr??e???????."));
    const std::string before = std::setlocale(LC_CTYPE, nullptr);
    REQUIRE(std::setlocale(LC_CTYPE, "C.UTF-8") != nullptr);
    shown.alphabet = Alphabet::unicode;
    const std::string text = text_of(top::draw(shown, small));
    CHECK(has(text, "Gr\u00fc\u00dfe????\u65e5??."));
    // Whole at the foot: no character is cut into bytes at the end of a line.
    shown.messages[0].text.clear();
    for (int i = 0; i < 100; ++i) shown.messages[0].text += "\u00fc";
    const Page page = top::draw(shown, small);
    std::string row;
    for (int i = 0; i < 80; ++i) row += "\u00fc";
    CHECK(std::ranges::any_of(page, [&](const auto& line) { return top::text_of(line) == row; }));
    CHECK(std::ranges::any_of(page, [&](const auto& line) {
        return top::text_of(line) == row.substr(0, 2 * 20);
    }));
    // Nor is one of two columns put where there is room for half of it.
    shown.messages[0].text = ".";
    for (int i = 0; i < 50; ++i) shown.messages[0].text += "\u65e5";
    row = ".";
    for (int i = 0; i < 39; ++i) row += "\u65e5";
    const Page wide = top::draw(shown, small);
    CHECK(std::ranges::any_of(wide, [&](const auto& line) { return top::text_of(line) == row; }));
    CHECK(std::ranges::all_of(wide, [](const auto& line) { return top::width(line) <= 80; }));
    CHECK(top::width("\u65e5.") == 3);
    CHECK(top::left("\u65e5\u65e5", 3) == "\u65e5 ");
    CHECK(top::right("\u65e5", 3) == " \u65e5");
    std::setlocale(LC_CTYPE, before.c_str());
}

TEST_CASE("what waits on disk is in the depth, marked while nobody can say how much it is now") {
    Model shown = model();
    for (look::Endpoint& each : shown.now.endpoints)
        if (each.name == "shipping") each.on_disk = 40'000;
    CHECK(has(line_with(top::draw(shown, small), "shipping"), " 40.0k "));
    CHECK_FALSE(has(line_with(top::draw(shown, small), "shipping"), "~"));
    // A full disk takes nothing in; what comes out of it is counted on.
    shown.now.journal.condition = 1;
    CHECK_FALSE(has(line_with(top::draw(shown, small), "shipping"), "~"));
    shown.now.daemon.life = look::Life::dead;
    CHECK(has(line_with(top::draw(shown, small), "shipping"), " ~40.0k "));
    press(shown, "/shipping\n");
    press(shown, "\n");
    CHECK(has(text_of(top::draw(shown, large)), ", ~40.0k on disk)"));
}

TEST_CASE("the screens beside show processes, orphaned subscriptions and the journal") {
    Model shown = model();
    press(shown, "2");
    const Page processes = top::draw(shown, small);
    CHECK(has(line_with(processes, "shipping"), "DEAD"));
    CHECK(has(line_with(processes, "4102"), "stopped"));
    press(shown, "3");
    const Page types = top::draw(shown, small);
    CHECK(has(line_with(types, "shop.place_order"), "sales"));
    CHECK(has(text_of(types), "ORPHANED"));
    press(shown, "4");
    CHECK(has(text_of(top::draw(shown, small)), "2 messages sent and not yet on disk"));
    const look::Histogram batches({{64, 64, 10}});
    shown.now.journal.batch_records = batches;
    CHECK(has(text_of(top::draw(shown, small)), "batch       p50 64* records  p99 64*  max 64*"));
    shown.rates.batch_records = batches;
    CHECK(has(text_of(top::draw(shown, small)), "batch       p50 64 records  p99 64  max 64"));
    shown.now.taken_ns = 1'000'000'000'000;
    shown.journal_places.written = {42, 1'245'184, 4711};
    shown.journal_places.synced = {42, 1'241'088, 4709};
    shown.journal_places.synced_at_s = 997;
    shown.journal_places.checkpointed = {41, 8192, 4000};
    shown.journal_places.oldest_needed = 40;
    const Page journal = top::draw(shown, small);
    CHECK(has(line_with(journal, "written to"),
              "written to  seg-000000000000002a at 1245184, LSN 4711"));
    CHECK(has(line_with(journal, "synced to"),
              "seg-000000000000002a at 1241088, LSN 4709, as of "));
    CHECK(has(line_with(top::draw(shown, large), "synced to"), "as of 3.0s ago"));
    CHECK(has(line_with(journal, "checkpoint "), "seg-0000000000000029 at 8192, LSN 4000"));
    CHECK(has(line_with(journal, "needed from"), "seg-0000000000000028"));
    shown.journal_places.written_is_at_least = true;
    CHECK(has(line_with(top::draw(shown, small), "written to"), "LSN 4711, or more"));
    shown.journal_places = {};
    shown.journal_places.trouble = "opening a directory";
    CHECK(has(text_of(top::draw(shown, small)), "opening a directory"));
    CHECK(top::press(shown, top::key_of('4'), small) == top::Wish::see_more);
}

// How the text is shown; fails where it is not.
top::Style style_of(const Page& page, const std::string& text) {
    for (const top::Line& line : page)
        for (const top::Span& span : line)
            if (has(span.text, text)) return span.style;
    FAIL("nothing says " << text);
    return top::Style::plain;
}

TEST_CASE("times of types and lanes are those of the interval, of all time only where dim") {
    Model shown;
    top::update(shown, shop());
    const auto see = [&](const char* keys) {
        press(shown, keys);
        return top::draw(shown, large);
    };
    const Page first = see("3");
    CHECK(style_of(first, "4.5us*") == top::Style::dim);
    CHECK(style_of(first, "9.5us*") == top::Style::dim);
    CHECK_FALSE(has(line_with(first, "shop.place_order"), "us"));
    CHECK(style_of(see("1/billing\n\n"), "61us*") == top::Style::dim);
    CHECK(line_with(see(""), "processing").ends_with("n 10 ever"));
    top::update(shown, shop_later());
    CHECK(line_with(see(""), "processing").ends_with("n 20"));
    CHECK(line_with(see(""), "queue wait").ends_with("n 0"));
    const Page lanes = see("");
    CHECK(style_of(lanes, "715us") == top::Style::plain);
    CHECK_FALSE(has(text_of(lanes), "*"));
    CHECK(style_of(see("\n"), "queue wait") == top::Style::head);
    CHECK(has(line_with(see(""), "queue wait"), "p50 715us"));
    const Page types = see("3");
    CHECK(style_of(types, "52.5us") == top::Style::plain);
    CHECK_FALSE(has(text_of(types), "4.5us"));
}

TEST_CASE("a time of all time is marked also where there are no colours, and is no longer for it") {
    Model shown;
    top::update(shown, shop());
    const top::BatchText plain{80, true, false};
    const auto billing = [&] {
        const std::string text = top::batch_text(shown, plain);
        return text.substr(text.find("R billing"), 80);
    };
    CHECK(has(billing(), " 2.0us* 9.1us* "));
    top::update(shown, shop_later());
    CHECK(has(billing(), "  2.0us  9.1us "));
    // Nothing came.
    look::Snapshot idle = shop_later();
    idle.monotonic_ns += 1'000'000'000;
    top::update(shown, std::move(idle));
    CHECK(has(billing(), " 2.0us* 9.1us* 305us* "));
    const std::pair<std::uint64_t, const char*> texts[] = {
        {190, "190ns*"},          {99'900, "99us*"},          {100'000, "100us*"},
        {41'000'000, "41ms*"},    {7'100'000'000, "7.1s*"},   {59'900'000'000, "59.9s*"},
        {620'000'000'000, "10m*"}, {252'000'000'000, "4m12s*"}, {43'500'000'000'000, "12h*"},
        {11'100'000'000'000, "3h05m*"}};
    for (const auto& [ns, text] : texts) CHECK(top::ever_text(ns) == text);
    CHECK(top::ever_text(std::nullopt) == "-");
}

TEST_CASE("a screen that shows more than was looked at asks for a look, however it is reached") {
    Model shown = model();
    shown.now.apart = {};
    CHECK(top::press(shown, Key::tab, small) == top::Wish::nothing);
    CHECK(top::press(shown, Key::tab, small) == top::Wish::see_more);
    REQUIRE(shown.view.screen == Screen::types);
    shown.now.apart = look::apart_everywhere;
    CHECK(top::press(shown, Key::down, small) == top::Wish::nothing);
    shown.now.apart = {};
    CHECK(top::press(shown, top::key_of('1'), small) == top::Wish::nothing);
    CHECK(top::press(shown, Key::enter, small) == top::Wish::see_more);
    REQUIRE(shown.view.screen == Screen::endpoint);
    shown.now.apart.endpoint = shown.view.endpoint;
    CHECK(top::press(shown, Key::enter, small) == top::Wish::nothing);
    CHECK(shown.view.screen == Screen::lane);
    // Another one is not this one.
    ++shown.now.apart.endpoint;
    CHECK(top::press(shown, Key::escape, small) == top::Wish::see_more);
    const double rate = shown.rates.in_per_s;
    const std::size_t past = shown.past[shown.view.endpoint].depth.size();
    top::see_more(shown, shop_later());
    CHECK(rate == 20);
    CHECK(shown.rates.in_per_s == rate);
    CHECK(shown.past[shown.view.endpoint].depth.size() == past);
}

TEST_CASE("a name that tries to command the terminal cannot") {
    Model shown = model();
    shown.now.endpoints[0].name = "evil\x1b[2J\xc3\xa4";
    shown.now.processes[0].name = "\x1b]0;title\x07";
    for (int screen = 0; screen <= static_cast<int>(Screen::help); ++screen) {
        shown.view.screen = static_cast<Screen>(screen);
        shown.view.endpoint = shown.now.endpoints[0].reference;
        for (const top::Line& line : top::draw(shown, large))
            CHECK_FALSE(has(top::text_of(line), "\x1b"));
    }
}

TEST_CASE("numbers are short, and what is not known is a dash") {
    CHECK(top::count_text(0) == "0");
    CHECK(top::count_text(0.5) == "0.5");
    CHECK(top::count_text(118) == "118");
    CHECK(top::count_text(999.9) == "1.00k");
    CHECK(top::count_text(65536) == "65.5k");
    CHECK(top::count_text(12'000'000) == "12.0M");
    CHECK(top::bytes_text(1536) == "1.50K");
    CHECK(top::bytes_text(std::uint64_t{1} << 20) == "1.00M");
    CHECK(top::span_text(190) == "190ns");
    CHECK(top::span_text(2'400) == "2.4us");
    CHECK(top::span_text(41'000'000) == "41.0ms");
    CHECK(top::span_text(999'600) == "1.0ms");
    CHECK(top::span_text(7'100'000'000) == "7.1s");
    CHECK(top::span_text(252'000'000'000) == "4m12s");
    CHECK(top::span_text(look::OptionalNumber{}) == "-");
    CHECK(top::bar(0.5, 4, Alphabet::ascii) == "||..");
    CHECK(top::bar(0.001, 4, Alphabet::ascii) == "|...");
    CHECK(top::bar(0, 4, Alphabet::ascii) == "....");
    CHECK(top::bar(1.5, 4, Alphabet::unicode) == "████");
    CHECK(top::trend({0, 1, 2, 4}, 6, Alphabet::ascii) == "  _:=#");
}

TEST_CASE("any keys in any order leave something that can be drawn") {
    const std::uint32_t seed = std::random_device{}();
    MESSAGE("seed " << seed);
    std::mt19937 random(seed);
    Model shown = model();
    for (int step = 0; step < 20'000; ++step) {
        const auto key = static_cast<Key>(random() % 275);
        static_cast<void>(top::press(shown, key, Size{random() % 60, random() % 220}));
        if (step % 97 == 0) top::update(shown, random() % 2 == 0 ? shop() : shop_later());
        if (step % 501 == 0) shown.now.endpoints.erase(shown.now.endpoints.begin());
        const Size size{1 + random() % 70, 1 + random() % 220};
        const Page page = top::draw(shown, size);
        REQUIRE(page.size() == size.rows);
        for (const top::Line& line : page) REQUIRE(top::width(line) <= size.columns);
    }
}
}
