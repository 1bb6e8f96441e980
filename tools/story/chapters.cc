// The story, chapter by chapter: what is done, and what is claimed on the way.
//
// SPDX-License-Identifier: BSL-1.0
#include "chapters.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "figures.h"
#include "roles.h"

namespace story {
namespace {

// Without any movement in any log.
constexpr std::chrono::milliseconds patience{5000};
// What billing's lanes surely hold while it is away.
constexpr std::uint64_t most_backlog = 8000;
// What shipping's lane surely holds of what is sold while it is not there.
constexpr std::uint64_t most_on_disk = 2000;

std::string orders_text(std::uint64_t count) {
    return thousands(count) + (count == 1 ? " order" : " orders");
}

}  // namespace

std::array<std::uint64_t, parts> share_out(std::uint64_t orders) {
    static constexpr std::array<std::uint64_t, parts> weights{15, 15, 8, 15, 25, 17, 5};
    static constexpr std::array<Part, parts> first_served{
        killed_seller, billing_away, reboot,      no_daemon,
        late_shipping, two_sellers,  full_speed};
    std::array<std::uint64_t, parts> shares{};
    std::uint64_t left = orders;
    for (const Part part : first_served) {
        shares[part] = std::min<std::uint64_t>(left, 1);
        left -= shares[part];
    }
    const std::uint64_t to_share = left;
    for (std::size_t part = 0; part < parts; ++part) {
        std::uint64_t share = to_share * weights[part] / 100;
        if (part == billing_away) share = std::min(share, most_backlog);
        if (part == reboot) share = std::min(share, most_on_disk);
        shares[part] += share;
        left -= share;
    }
    shares[full_speed] += left;
    return shares;
}

std::set<std::uint64_t> due_to_shipping(const Stage& stage, std::uint64_t subscribed_ns) {
    std::set<std::uint64_t> due;
    for (const LogReader* const log : stage.logs_of("sales"))
        for (const auto& [order, seen] : log->orders())
            if (seen.last_time_ns > subscribed_ns) due.insert(order);
    return due;
}

bool Chapters::open() {
    stage_.start_daemon();
    Child& orders = stage_.start_orders();
    std::string rows;
    // Reading a pipe takes as long as its other end wants.
    while (rows.empty()) {
        Stage::throw_if_interrupted();
        orders.listen(std::chrono::milliseconds{100});
        rows = orders.heard("rows").value_or("");
        if (rows.empty() && orders.has_ended()) throw StoryBroken(orders.how());
    }
    unsigned long long good = 0;
    unsigned long long bad = 0;
    std::sscanf(rows.c_str(), "%llu %llu", &good, &bad);
    course_.rows = good;
    course_.bad_lines = bad;
    std::uint64_t named = 0;
    for (; const auto line = orders.heard("bad"); ++named) stage_.tell("bad " + *line);
    if (bad > named) stage_.tell(fmt::format("and {} more bad lines", thousands(bad - named)));
    stage_.tell(fmt::format("{}, bad lines left out: {}", orders_text(good), thousands(bad)));
    shares_ = share_out(course_.rows);
    return good > 0;
}

void Chapters::tell_all() {
    bus_.emplace(open_bus(stage_.folders().bus(), "conductor"));
    tell_two_sellers();
    tell_late_shipping();
    tell_billing_away();
    tell_killed_seller();
    tell_no_daemon();
    tell_full_speed();
    tell_reboot();
    close();
}

void Chapters::tell_two_sellers() {
    stage_.chapter("Two sales processes compete for the orders; billing and a read model listen");
    for (const auto& [role, name] : {std::pair{"sales", "sales-1"}, {"sales", "sales-2"},
                                     {"billing", "billing-1"}, {"query", "query"}})
        stage_.expect(stage_.start(role, name), "ready");
    stage_.idle = [this] { ask_now_and_then(); };
    course_.calm_begin_ns = now_ns();
    send(two_sellers);
    wait_until_sent();
    wait_until_handled("sales", patience);
    const std::uint64_t first = stage_.log("sales-1").lines();
    const std::uint64_t second = stage_.log("sales-2").lines();
    const std::string text = fmt::format("sales-1 handled {}, sales-2 {}",
                                         orders_text(first), thousands(second));
    // A handful may well go to one of them.
    if (shares_[two_sellers] >= 1000) stage_.claim(first > 0 && second > 0, text);
    else stage_.tell(text);
}

void Chapters::tell_late_shipping() {
    stage_.chapter("Shipping joins late, while orders flow; nobody is told");
    const std::uint64_t before = stage_.lines("sales");
    send(late_shipping);
    stage_.wait_for([&] { return stage_.lines("sales") >= before + shares_[late_shipping] / 2; });
    const std::string when = stage_.expect(stage_.start("shipping", "shipping-1"), "ready");
    course_.subscribed_ns = std::stoull(when);
    wait_until_sent();
    wait_until_handled("sales", patience);
    course_.calm_end_ns = now_ns();
    stage_.wait_for([&] {
        return stage_.lines("shipping") > 0 && stage_.lines("billing") >= sent_;
    }, std::chrono::seconds{1});
    stage_.tell(fmt::format("shipping has {} of {}: those accepted since it subscribed",
                            thousands(stage_.lines("shipping")), orders_text(sent_)));
}

void Chapters::tell_billing_away() {
    stage_.chapter("Billing is stopped; the others go on; it returns and finds everything");
    wait_until_handled("billing", patience);
    stage_.stop("billing-1");
    const std::uint64_t before = stage_.lines("billing");
    send(billing_away);
    // Long texts may fill billing's lanes: then sales waits, and that is as it should be.
    wait_until_handled("sales", std::chrono::seconds{2});
    const std::uint64_t backlog = stage_.orders_of("sales").size() - before;
    const bool as_it_should = (backlog > 0) == (shares_[billing_away] > 0);
    stage_.claim(stage_.lines("billing") == before && as_it_should,
                 fmt::format("sales accepted {} while billing was away", orders_text(backlog)));
    const std::uint64_t back_ns = now_ns();
    stage_.expect(stage_.start("billing", "billing-2"), "ready");
    wait_until_sent();
    const bool drained = wait_until_handled("billing", patience);
    stage_.claim(drained, fmt::format("billing returned and had handled them all after {}",
                                      span_text(now_ns() - back_ns)));
}

void Chapters::tell_killed_seller() {
    stage_.chapter("A sales process is killed (SIGKILL) in the middle of a handler");
    // Whichever takes an order first: neighbours of a killed one must not wait for it.
    for (const char* name : {"sales-1", "sales-2"}) {
        stage_.child(name).say("hold");
        stage_.expect(stage_.child(name), "armed");
    }
    send(killed_seller);
    std::optional<std::string> held;
    stage_.wait_for([&] {
        for (const char* name : {"sales-1", "sales-2"}) {
            if (!held && (held = stage_.child(name).heard("holding"))) course_.killed = name;
        }
        return held.has_value();
    });
    if (!held) throw StoryBroken("no sales process took an order");
    course_.held_order = std::stoull(*held);
    course_.killed_ns = now_ns();
    stage_.kill(course_.killed);
    const std::string survivor = course_.killed == "sales-1" ? "sales-2" : "sales-1";
    stage_.child(survivor).say("release");
    stage_.tell(fmt::format("{} was killed with order {} half done", course_.killed, *held));
    wait_until_sent();
    wait_until_handled("sales", patience);
    const auto& orders = stage_.log(survivor).orders();
    const bool found = stage_.wait_for([&] { return orders.contains(course_.held_order); });
    stage_.claim(found && orders.at(course_.held_order).redelivered == 1,
                 fmt::format("{} handled order {} again, marked as redelivered", survivor, *held));
    // Its events have left: from here on it needs the daemon for nothing.
    wait_until_handled("billing", patience);
}

void Chapters::tell_no_daemon() {
    stage_.chapter("The daemon is killed (SIGKILL) and comes back; orders flow meanwhile");
    stage_.kill_daemon();
    const std::uint64_t handled_before = stage_.lines("sales");
    const std::size_t answers_before = course_.request_spans.size();
    send(no_daemon);
    const std::uint64_t half = (shares_[no_daemon] + 1) / 2;
    stage_.wait_for([&] { return stage_.lines("sales") >= handled_before + half; });
    static_cast<void>(ask("rope"));
    const std::uint64_t handled = stage_.lines("sales") - handled_before;
    stage_.claim(handled >= half, fmt::format("without a daemon sales handled {} and the query "
                                              "component answered {} requests",
                                              orders_text(handled),
                                              course_.request_spans.size() - answers_before));
    stage_.start_daemon();
    stage_.expect(stage_.start("sales", "sales-3"), "ready");
    stage_.claim(true, fmt::format("the daemon is back: sales-3 joined in place of {}",
                                   course_.killed));
    wait_until_sent();
}

void Chapters::tell_full_speed() {
    stage_.chapter("The rest, as fast as it goes");
    wait_until_handled("query", patience);
    course_.fast_begin_ns = now_ns();
    send(full_speed);
    wait_until_sent();
    const bool handled = wait_until_handled("sales", patience);
    stage_.tell(fmt::format("{} sent{}", orders_text(shares_[full_speed]),
                            handled ? "" : "; sales is still behind"));
}

void Chapters::tell_reboot() {
    stage_.chapter("Orders are sent durably; everything is killed (SIGKILL), the memory is wiped");
    for (const char* role : {"sales", "billing", "query"}) wait_until_handled(role, patience);
    course_.fast_end_ns = now_ns();
    stage_.idle = nullptr;
    // From here on nobody handles orders.
    for (const char* name : {"sales-1", "sales-2", "sales-3"})
        if (name != course_.killed) stage_.kill(name);
    const std::uint64_t handled = stage_.orders_of("sales").size();
    stage_.child("orders").say(fmt::format("send {} 0 durable", shares_[reboot]));
    sent_ += shares_[reboot];
    wait_until_sent();
    stage_.claim(stage_.orders_of("sales").size() == handled,
                 fmt::format("{} wait, each with its receipt, and nobody has seen them",
                             orders_text(shares_[reboot])));
    bus_.reset();
    for (const char* name : {"orders", "billing-2", "shipping-1", "query"}) stage_.kill(name);
    stage_.kill_daemon();
    stage_.wipe_memory();
    stage_.tell("everybody is dead, and of the bus only the journal is left");
    stage_.start_daemon();
    // Alone: its events find the subscriptions of those who are not there yet.
    stage_.expect(stage_.start("sales", "sales-4"), "ready");
    const bool all = wait_until_handled("sales", patience);
    std::uint64_t marked = 0;
    for (const auto& [order, seen] : stage_.log("sales-4").orders()) marked += seen.redelivered;
    stage_.claim(all && marked == shares_[reboot],
                 fmt::format("sales-4 handled {} out of the journal, marked: they may have been "
                             "delivered before", orders_text(marked)));
    for (const auto& [role, name] : {std::pair{"billing", "billing-3"},
                                     {"shipping", "shipping-2"}, {"query", "query-2"}})
        stage_.expect(stage_.start(role, name), "ready");
    stage_.claim(wait_until_handled("billing", patience),
                 "the subscriptions came back with it: billing has them all");
    bus_.emplace(open_bus(stage_.folders().bus(), "conductor"));
}

void Chapters::close() {
    stage_.chapter("Everybody finishes and leaves; the logs are counted");
    for (const char* role : {"sales", "billing", "query"}) wait_until_handled(role, patience);
    const std::set<std::uint64_t> due = due_to_shipping(stage_, course_.subscribed_ns);
    stage_.wait_for([&] {
        return stage_.lines("shipping") >= due.size() &&
               std::ranges::includes(stage_.orders_of("shipping"), due);
    });
    course_.answered = ask("");
    for (const char* name : {"sales-4", "billing-3", "shipping-2", "query-2"}) stage_.stop(name);
    bus_.reset();
    stage_.stop_daemon();
    stage_.read_logs();
}

void Chapters::send(Part part) {
    stage_.child("orders").say(fmt::format(
        "send {} {}", shares_[part], part == full_speed ? 0 : stage_.settings().per_second));
    sent_ += shares_[part];
}

void Chapters::wait_until_sent() { stage_.expect(stage_.child("orders"), "sent"); }

bool Chapters::wait_until_handled(const std::string& role, std::chrono::milliseconds limit) {
    const bool all = stage_.wait_for(
        // The lines are cheap to count and tell when it is worth counting orders.
        [&] { return stage_.lines(role) >= sent_ && stage_.orders_of(role).size() >= sent_; },
        std::min(limit, patience_));
    // What has not come by now is lost: the verdict says so, and nobody need wait for it again.
    if (!all && limit == patience) patience_ = std::chrono::seconds{1};
    return all;
}

void Chapters::ask_now_and_then() {
    if (now_ns() - asked_ns_ < 50'000'000) return;
    static_cast<void>(ask("rope"));
}

Totals Chapters::ask(const std::string& product) {
    asked_ns_ = now_ns();
    shmbus::RequestOptions options;
    options.deadline = std::chrono::seconds{5};
    const auto answer = bus_->request(AskTotals{product}, options).wait();
    if (answer) course_.request_spans.push_back(now_ns() - asked_ns_);
    else course_.request_errors.push_back(answer.error().text());
    return answer ? *answer : Totals{};
}

}  // namespace story
