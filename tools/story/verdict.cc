// The end of the story.
//
// SPDX-License-Identifier: BSL-1.0
#include "verdict.h"

#include <algorithm>
#include <cstdio>
#include <fstream>

#include <fmt/format.h>

#include "figures.h"

namespace story {
namespace {

constexpr std::uint64_t always = ~std::uint64_t{0};

std::string money(std::int64_t cents) {
    return fmt::format("{}.{:02}", thousands(static_cast<std::uint64_t>(cents / 100)),
                       cents % 100);
}

// What sales keeps: each order once, however often it stands there.
std::pair<std::uint64_t, std::int64_t> sums_of_store(const std::string& folder) {
    std::ifstream file(folder + "/accepted.txt");
    std::unordered_map<std::uint64_t, std::int64_t> cents_of;
    std::uint64_t order = 0;
    std::uint64_t quantity = 0;
    std::int64_t cents = 0;
    while (file >> order >> quantity >> cents) cents_of[order] = cents;
    std::int64_t sum = 0;
    for (const auto& [id, one] : cents_of) sum += one;
    return {cents_of.size(), sum};
}

}  // namespace

void Verdict::give() {
    const std::set<std::uint64_t> sent = stage_.orders_of("orders");
    const std::vector<Tally> tallies{tally("orders to sales", "sales", sent),
                                     tally("sales to billing", "billing", sent),
                                     tally("sales to shipping", "shipping",
                                           due_to_shipping(stage_, course_.subscribed_ns)),
                                     tally("sales to read model", "query", sent)};
    claim_nothing_lost(tallies);
    claim_duplicates_marked(tallies);
    claim_money_agrees(tallies);
    stage_.claim(course_.request_errors.empty() && !course_.request_spans.empty(),
                 fmt::format("{} of {} requests to the query component were answered{}",
                             course_.request_spans.size(),
                             course_.request_spans.size() + course_.request_errors.size(),
                             course_.request_errors.empty()
                                 ? ""
                                 : "; the first other one: " + course_.request_errors.front()));
    print_counts(tallies);
    print_rates();
    print_latencies();
}

Verdict::Tally Verdict::tally(const std::string& way, const std::string& role,
                              const std::set<std::uint64_t>& expected) const {
    Tally sum;
    sum.way = way;
    sum.expected = expected.size();
    std::unordered_map<std::uint64_t, Seen> all;
    for (const LogReader* const log : stage_.logs_of(role)) {
        for (const auto& [order, seen] : log->orders()) {
            Seen& one = all[order];
            one.lines += seen.lines;
            one.marked += seen.marked;
            one.cents = seen.cents;
            sum.lines += seen.lines;
            sum.redelivered += seen.redelivered;
            sum.repeated += seen.repeated;
        }
    }
    for (const auto& [order, seen] : all) {
        sum.twice += seen.lines > 1;
        sum.unmarked += seen.lines - seen.marked > 1;
        sum.cents += seen.cents;
    }
    for (const std::uint64_t order : expected) sum.lost += !all.contains(order);
    return sum;
}

void Verdict::claim_nothing_lost(const std::vector<Tally>& tallies) {
    for (const Tally& sum : tallies)
        stage_.claim(sum.lost == 0, fmt::format("{}: {} due, lost {}", sum.way,
                                                thousands(sum.expected), thousands(sum.lost)));
    stage_.claim(stage_.orders_of("orders").size() == course_.rows,
                 fmt::format("sent: {} of {} orders of the input",
                             thousands(stage_.orders_of("orders").size()),
                             thousands(course_.rows)));
}

void Verdict::claim_duplicates_marked(const std::vector<Tally>& tallies) {
    std::uint64_t strangers = 0;
    const auto& killed = stage_.log(course_.killed).orders();
    std::unordered_map<std::uint64_t, std::uint32_t> lines_of;
    for (const LogReader* const log : stage_.logs_of("sales"))
        for (const auto& [order, seen] : log->orders()) lines_of[order] += seen.lines;
    for (const auto& [order, lines] : lines_of) strangers += lines > 1 && !killed.contains(order);
    stage_.claim(strangers == 0 && tallies[0].unmarked == 0 && tallies[0].twice >= 1,
                 fmt::format("{} handled twice by sales: held by {} when it was killed, the "
                             "second time marked",
                             tallies[0].twice, course_.killed));
    std::uint64_t unmarked = 0;
    for (const Tally& sum : tallies) unmarked += sum.unmarked;
    stage_.claim(unmarked == 0, "no duplicate anywhere is unmarked");
    std::uint32_t marked = 0;
    for (const LogReader* const log : stage_.logs_of("billing"))
        if (log->orders().contains(course_.held_order))
            marked += log->orders().at(course_.held_order).repeated;
    stage_.claim(marked >= 1, fmt::format("what sales published about order {} is marked as "
                                          "repeated",
                                          course_.held_order));
}

void Verdict::claim_money_agrees(const std::vector<Tally>& tallies) {
    std::int64_t sent = 0;
    for (const auto& [order, seen] : stage_.log("orders").orders()) sent += seen.cents;
    const auto [stored_orders, stored_cents] = sums_of_store(stage_.folders().store("sales"));
    const bool agree = stored_cents == sent && tallies[0].cents == sent &&
                       tallies[1].cents == sent && course_.answered.cents == sent;
    stage_.claim(agree, fmt::format("orders {}, the store of sales {}, billing {}, the read model "
                                    "{}: the same money",
                                    money(sent), money(stored_cents), money(tallies[1].cents),
                                    money(course_.answered.cents)));
    stage_.claim(stored_orders == course_.rows && course_.answered.orders == course_.rows,
                 "the store of sales and the read model know every order once");
}

void Verdict::print_counts(const std::vector<Tally>& tallies) const {
    fmt::print("\n   {:<20} {:>9} {:>9} {:>12} {:>9} {:>6} {:>5}\n", "", "sent", "handled",
               "redelivered", "repeated", "twice", "lost");
    for (const Tally& sum : tallies)
        fmt::print("   {:<20} {:>9} {:>9} {:>12} {:>9} {:>6} {:>5}\n", sum.way,
                   thousands(sum.expected), thousands(sum.lines), thousands(sum.redelivered),
                   thousands(sum.repeated), thousands(sum.twice), thousands(sum.lost));
}

void Verdict::print_rates() const {
    fmt::print("\n   per second, in the chapter that goes as fast as it can\n");
    for (const char* role : {"orders", "sales", "billing", "shipping", "query"}) {
        std::uint64_t count = 0;
        std::uint64_t last_ns = course_.fast_begin_ns;
        for (const LogReader* const log : stage_.logs_of(role)) {
            for (const Span& span : log->spans()) {
                const bool is_fast = span.time_ns >= course_.fast_begin_ns &&
                                     span.time_ns <= course_.fast_end_ns;
                count += is_fast;
                if (is_fast) last_ns = std::max(last_ns, span.time_ns);
            }
        }
        const double seconds = static_cast<double>(last_ns - course_.fast_begin_ns) / 1e9;
        const std::string rate =
            count < 100 ? "too few to tell"
                        : thousands(static_cast<std::uint64_t>(static_cast<double>(count) /
                                                               seconds));
        fmt::print("   {:<20} {:>9}\n", role, rate);
    }
}

std::vector<std::uint64_t> Verdict::spans(const std::string& role, std::uint64_t from_ns,
                                          std::uint64_t to_ns) const {
    std::vector<std::uint64_t> sorted;
    for (const LogReader* const log : stage_.logs_of(role))
        for (const Span& span : log->spans())
            if (span.span_ns != 0 && span.time_ns >= from_ns && span.time_ns <= to_ns)
                sorted.push_back(span.span_ns);
    std::ranges::sort(sorted);
    return sorted;
}

void Verdict::print_latencies() const {
    const auto print = [](const std::string& what, const std::vector<std::uint64_t>& sorted) {
        fmt::print("   {:<34} {:>9} {:>9} {:>9} {:>9}\n", what,
                   span_text(percentile(sorted, 50)), span_text(percentile(sorted, 90)),
                   span_text(percentile(sorted, 99)), span_text(percentile(sorted, 100)));
    };
    fmt::print("\n   {:<34} {:>9} {:>9} {:>9} {:>9}\n", "from sending to handling", "50 %", "90 %",
               "99 %", "all");
    const std::uint64_t from = course_.calm_begin_ns;
    const std::uint64_t to = course_.calm_end_ns;
    print("orders to sales, calm chapters", spans("sales", from, to));
    print("sales to billing, calm chapters", spans("billing", from, to));
    print("staleness of the read side, calm", spans("query", from, to));
    print("orders to sales, all chapters", spans("sales", 0, always));
    print("sales to billing, all chapters", spans("billing", 0, always));
    print("staleness of the read side, all", spans("query", 0, always));
    std::vector<std::uint64_t> requests = course_.request_spans;
    std::ranges::sort(requests);
    print("request and reply, all chapters", requests);
    fmt::print("   calm: {} orders a second, nobody stopped or killed; staleness: from publishing "
               "to the commit\n",
               thousands(stage_.settings().per_second));
    std::fflush(stdout);
}

}  // namespace story
