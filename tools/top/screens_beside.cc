// The other screens: processes, types and subscriptions, journal, columns.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "journal/segment_file.h"
#include "top/columns.h"
#include "top/screens.h"
#include "top/table.h"

namespace shmbus::top {
namespace {

[[nodiscard]] Span life_of(const look::Process& process) {
    if (process.life == look::Life::dead) return {"DEAD", Style::bad};
    if (process.is_stopped) return {"stopped", Style::warn};
    if (process.is_leaving) return {"leaving", Style::warn};
    return {look::name_of(process.life),
            process.life == look::Life::alive ? Style::good : Style::warn};
}

[[nodiscard]] std::string endpoints_of(const look::Snapshot& now, Reference process) {
    std::string names;
    for (const look::Endpoint& endpoint : now.endpoints)
        for (const look::Consumer& consumer : endpoint.consumers)
            if (consumer.process == process && !endpoint.name.empty())
                names += (names.empty() ? "" : " ") + endpoint.name;
    return names;
}

[[nodiscard]] Page types_of(const Model& model, Size size) {
    const look::Snapshot& now = model.now;
    std::vector<Field> fields{{"TYPE", 0, Side::left},
                              {"KIND", 8, Side::left},
                              {"DURABLE", 7, Side::left},
                              {"BYTES", 6},
                              {"GOES TO", 20, Side::left},
                              {"HANDLED", 8},
                              {"PER s", 7}};
    // Names first.
    if (size.columns >= 120)
        fields.insert(fields.end(), {{"PAYLOAD", 7}, {"THREW", 5}, {"AGAIN", 5}, {"FAILED", 6},
                                     {"DROPPED", 7}});
    if (size.columns >= 140) fields.insert(fields.end(), {{"P50", 6}, {"P99", 6}, {"CRIT", 6}});
    const Table table(std::move(fields), size.columns);
    Page page{table.head()};
    for (const look::Type& type : now.types) {
        const look::Endpoint* const route = now.endpoint_at(type.route);
        const look::TypeRates* const rates = model.rates_of_type(type.index);
        const auto quantile = [&](look::Histogram look::Times::*which, double q) {
            return quantile_text(rates ? &(rates->times.*which) : nullptr, type.times.*which, q);
        };
        page.push_back(
            table.row({{plain(type.name)},
                       {look::name_of_type_kind(type.kind), Style::dim},
                       {type.durability == 2 ? "yes" : "no"},
                       {type.bytes == 0 ? "any" : std::to_string(type.bytes)},
                       {route ? plain(route->name) : "-"},
                       {number(type.handled)},
                       {rates ? count_text(rates->handled_per_s) : "-"},
                       {type.handled_bytes() ? bytes_text(*type.handled_bytes()) : "-"},
                       {number(type.troubles.threw)},
                       {number(type.troubles.redelivered)},
                       {number(type.troubles.failed)},
                       {number(type.troubles.dropped)},
                       quantile(&look::Times::processing_ns, 0.5),
                       quantile(&look::Times::processing_ns, 0.99),
                       quantile(&look::Times::critical_ns, 0.99)}));
    }
    return page;
}

[[nodiscard]] Page subscriptions_of(const Model& model, Size size) {
    const look::Snapshot& now = model.now;
    const Table table({{"EVENT", 0, Side::left},
                       {"SUBSCRIBER", 20, Side::left},
                       {"WHEN FULL", 11, Side::left},
                       {"", 34, Side::left}},
                      size.columns);
    Page page{table.head()};
    for (const look::Subscription& one : now.subscriptions) {
        const look::Endpoint* const endpoint = now.endpoint_at(one.endpoint);
        page.push_back(
            table.row({{plain(now.type_name(one.event))},
                       {endpoint ? plain(endpoint->name) : "-"},
                       {look::name_of_when_full(one.when_full)},
                       {one.is_orphaned ? "ORPHANED: nobody has it open" : "", Style::warn}}));
    }
    return page;
}

}  // namespace

Page draw_processes(const Model& model, Size size) {
    const look::Snapshot& now = model.now;
    const Table table({{"PROCESS", 14, Side::left},
                       {"PID", 7},
                       {"STATE", 8, Side::left},
                       {"PROGRAM", 15, Side::left},
                       {"LANES", 5},
                       {"SENT/s", 6},
                       {"SINCE", 6},
                       {"HAS OPEN", 0, Side::left},
                       {"UID", 6},
                       {"SENT", 6}},
                      size.columns);
    Page page{table.head()};
    const std::size_t at = chosen_row(model);
    const Window window =
        window_around(at, now.processes.size(), size.rows - std::min<std::size_t>(size.rows, 1));
    for (std::size_t row = window.begin; row < window.end; ++row) {
        const look::Process& process = now.processes[row];
        const auto rate = model.rates.processes.find(process.reference);
        const std::uint64_t since =
            now.taken_ns > process.since_ns ? now.taken_ns - process.since_ns : 0;
        Line line =
            table.row({{plain(process.name)},
                       {process.pid ? std::to_string(*process.pid) : "-"},
                       life_of(process),
                       {process.program.empty() ? "-" : plain(process.program)},
                       {std::to_string(process.lanes)},
                       {rate == model.rates.processes.end() ? "-" : count_text(rate->second)},
                       {span_text(since)},
                       {plain(endpoints_of(now, process.reference))},
                       {std::to_string(process.uid)},
                       {number(process.sent)}});
        page.push_back(row == at ? chosen(std::move(line), size.columns) : std::move(line));
    }
    if (now.processes.empty()) page.push_back({{"no process is on this bus", Style::dim}});
    return page;
}

Page draw_types(const Model& model, Size size) {
    Page all = types_of(model, size);
    const std::size_t types = all.size();
    Page more = subscriptions_of(model, size);
    all.push_back({});
    all.insert(all.end(), std::make_move_iterator(more.begin()),
               std::make_move_iterator(more.end()));
    // The chosen row among both tables: two heads and an empty line are no rows.
    const std::size_t row = chosen_row(model);
    const std::size_t line = row + 1 < types ? row + 1 : row + 3;
    if (line < all.size() && row_count(model) > 0)
        all[line] = chosen(std::move(all[line]), size.columns);
    const Window window = window_around(line, all.size(), size.rows);
    return {std::make_move_iterator(all.begin() + static_cast<std::ptrdiff_t>(window.begin)),
            std::make_move_iterator(all.begin() + static_cast<std::ptrdiff_t>(window.end))};
}

namespace {

// "seg-000000000000002a at 1245184, LSN 4711"
[[nodiscard]] std::string text_of(const journal::Place& place) {
    return fmt::format("{} at {}, LSN {}",
                       journal::numbered_name(journal::segment_prefix, place.number), place.offset,
                       place.lsn);
}

using Say = std::function<void(const char*, std::string, Style)>;

void say_places(const Model& model, const Say& say) {
    const look::JournalPlaces& places = model.journal_places;
    if (places.written)
        say("written to",
            text_of(*places.written) + (places.written_is_at_least ? ", or more" : ""),
            Style::plain);
    if (places.synced) {
        const std::uint64_t now_s = model.now.taken_ns / 1'000'000'000;
        const std::uint64_t age_s = now_s - std::min(now_s, places.synced_at_s);
        say("synced to",
            fmt::format("{}, as of {} ago", text_of(*places.synced),
                        span_text(age_s * 1'000'000'000)),
            Style::plain);
    }
    if (places.checkpointed) {
        say("checkpoint", text_of(*places.checkpointed), Style::plain);
        say("needed from", journal::numbered_name(journal::segment_prefix, places.oldest_needed),
            Style::plain);
    }
    if (!places.trouble.empty()) say("", plain(places.trouble), Style::warn);
}

}  // namespace

Page draw_journal(const Model& model, Size) {
    const look::Journal& journal = model.now.journal;
    const look::Rates& rates = model.rates;
    Page page;
    const auto say = [&](const char* what, std::string text, Style style = Style::plain) {
        page.push_back({{left(what, 12), Style::head}, {std::move(text), style}});
    };
    say("path", plain(journal.path));
    if (!journal.is_there) {
        say("", "there is none: it is made for the first durable type", Style::dim);
        return page;
    }
    if (journal.is_not_taken_up())
        say("condition", "not taken up by the daemon: see its log", Style::bad);
    else
        say("condition",
            journal.is_in_use ? look::name_of_condition(journal.condition) : "not in use",
            !journal.is_in_use       ? Style::dim
            : journal.condition == 0 ? Style::good
                                     : Style::bad);
    if (journal.is_readable)
        say("files", fmt::format("{} in {} segments and {} checkpoints", bytes_text(journal.bytes),
                                 journal.segments, journal.checkpoints));
    else
        say("files", "its directory cannot be read by this user", Style::warn);
    say_places(model, say);
    if (!journal.is_in_use) return page;
    say("behind", fmt::format("{} messages sent and not yet on disk, the oldest for {}",
                              journal.lag, span_text(journal.lag_ns)));
    say("written", fmt::format("{} since the bus was made, {} now",
                               bytes_text(journal.written_bytes), journal_rate_text(rates)));
    const auto sync = [&](double q) {
        return quantile_text(&rates.sync_ns, journal.sync_ns, q).text;
    };
    say("fdatasync", fmt::format("p50 {}  p99 {}  max {}  n {}", sync(0.5), sync(0.99), sync(1),
                                 number(journal.sync_ns.count())));
    const look::Histogram& batch =
        rates.batch_records.empty() ? journal.batch_records : rates.batch_records;
    const auto records = [&](double q) {
        const auto value = batch.quantile(q);
        const char* const mark = rates.batch_records.empty() ? "*" : "";
        return value ? number(*value) + mark : std::string("-");
    };
    say("batch",
        fmt::format("p50 {} records  p99 {}  max {}", records(0.5), records(0.99), records(1)));
    return page;
}

Page draw_columns(const Model& model, Size size) {
    Page page{
        {{"columns of the main table; where not all fit, Left and Right move them", Style::head}}};
    const std::size_t at = chosen_row(model);
    const Window window =
        window_around(at, column_count, size.rows - std::min<std::size_t>(size.rows, 1));
    for (std::size_t row = window.begin; row < window.end; ++row) {
        const auto column = static_cast<Column>(row);
        const bool is_hidden = model.view.hidden.count(column) != 0;
        Line line{{fmt::format("[{}] {}", is_hidden ? ' ' : 'x', shape_of(column).head)}};
        page.push_back(row == at ? chosen(std::move(line), 20) : std::move(line));
    }
    return page;
}

}  // namespace shmbus::top
