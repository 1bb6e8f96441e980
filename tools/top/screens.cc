// What all screens share: the summary on top, the keys at the bottom, the choice of a row.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/screens.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "top/columns.h"

namespace shmbus::top {
namespace {

// Lines above the table of a screen, the summary and an empty one; and below: the keys.
constexpr std::size_t summary_lines = 4;
constexpr std::size_t lines_around = summary_lines + 1;

// Where not all columns fit, that there are more.
[[nodiscard]] std::string keys_of_endpoints(const Model& model, std::size_t columns) {
    const Beside beside = columns_beside(model, columns);
    const std::string keys = "? help  / find  f filter  <> sort  Enter open  b block  p pause  ";
    return keys + (beside.right > 0 ? "Right more"
                   : beside.left > 0 ? "Left more"
                                     : "r reverse") + "  q";
}

[[nodiscard]] Line keys_of(const Model& model, std::size_t columns) {
    const View& view = model.view;
    if (view.input != Input::none) {
        std::string ask =
            view.input == Input::find ? "find: "
            : view.input == Input::filter
                ? "filter (name or regex, or depth>1000, fill>70, in>0, fail>0): "
                : "seconds between looks: ";
        // What is typed comes before what may be typed.
        if (ask.size() + view.typed.size() + 1 > columns)
            ask = ask.substr(0, ask.find_first_of(" :")) + ": ";
        return {{ask, Style::key}, {view.typed + "_", Style::plain}};
    }
    if (!view.said.empty()) return {{view.said, Style::warn}};
    if (!model.trouble.empty()) return {{model.trouble, Style::bad}};
    std::string keys;
    switch (view.screen) {
        case Screen::endpoints:
            keys = keys_of_endpoints(model, columns);
            break;
        case Screen::endpoint:
            keys = "Enter draw this lane  m messages  b who blocks  Esc back  q quit";
            break;
        case Screen::columns:
            keys = "Space show or hide  Esc back  q quit";
            break;
        case Screen::messages:
            // The id is that of the chosen one, at the foot.
            keys = "Esc back  q quit";
            if (model.endpoint() && model.endpoint()->kind == directory::EndpointKind::error)
                keys += "    in a shell: shmbus failed show|retry|edit|archive ID";
            break;
        case Screen::lane:
        case Screen::blocked:
            keys = "Esc back  q quit";
            break;
        case Screen::help:
            keys = "Up Down PgUp PgDn more  Esc back  q quit";
            break;
        default:
            keys = "1 endpoints  2 processes  3 types  4 journal  5 failed  6 log  ? help  q quit";
            break;
    }
    return {{keys, Style::key}};
}

[[nodiscard]] Page draw_body(const Model& model, Size size) {
    switch (model.view.screen) {
        case Screen::endpoints:
            return draw_endpoints(model, size);
        case Screen::endpoint:
            return draw_endpoint(model, size);
        case Screen::lane:
            return draw_lane(model, size);
        case Screen::messages:
            return draw_messages(model, size);
        case Screen::blocked:
            return draw_blocked(model, size);
        case Screen::processes:
            return draw_processes(model, size);
        case Screen::types:
            return draw_types(model, size);
        case Screen::journal:
            return draw_journal(model, size);
        case Screen::columns:
            return draw_columns(model, size);
        case Screen::log:
            return draw_log(model, size);
        case Screen::help:
            return draw_help(model, size);
    }
    return {};
}

// "[||||....]" as wide as that.
[[nodiscard]] Span memory_bar(const Model& model) {
    const look::Memory& memory = model.now.memory;
    if (!memory.limit_bytes || *memory.limit_bytes == 0) return {};
    const double share =
        static_cast<double>(memory.used_bytes) / static_cast<double>(*memory.limit_bytes);
    const Style style = share > 0.9 ? Style::bad : share > 0.7 ? Style::warn : Style::good;
    return {bar(share, 10, model.alphabet), style};
}

[[nodiscard]] Line first_line(const Model& model, std::size_t columns) {
    const look::Snapshot& now = model.now;
    Line line{{"shm-top", Style::head}, {"  bus "}, {plain(now.name), Style::head}, {"  daemon "}};
    switch (now.daemon.life) {
        case look::Life::alive:
            if (now.daemon.is_stopped) {
                line.push_back({fmt::format("{} STOPPED", now.daemon.pid.value_or(0)), Style::bad});
                break;
            }
            line.push_back(
                {now.daemon.pid ? fmt::format("{} ok", *now.daemon.pid) : "ok", Style::good});
            break;
        case look::Life::dead:
            line.push_back({"none", Style::bad});
            break;
        case look::Life::unknown:
            line.push_back({"unknown", Style::warn});
            break;
    }
    if (!now.is_of_this_boot) line.push_back({"  of an earlier boot, or a copy", Style::warn});
    // The interval goes first where there is no room, then the filter.
    const std::string clock = (model.view.is_paused ? "PAUSED  " : "") + clock_text(now.taken_ns);
    const std::string every = fmt::format("  every {} s", model.view.interval_s);
    const std::string filter =
        model.view.filter.empty() ? "" : "filter " + model.view.filter.text() + "  ";
    const std::size_t used = width(line);
    for (const std::string& end : {filter + clock + every, filter + clock, clock})
        if (used + end.size() + 2 <= columns) {
            line.push_back({right(end, columns - used)});
            break;
        }
    return line;
}

[[nodiscard]] Line second_line(const Model& model) {
    const look::Snapshot& now = model.now;
    std::size_t in_trouble = 0;
    for (const look::Endpoint& endpoint : now.endpoints)
        in_trouble += state_of(model, endpoint) <= State::deserted ? 1 : 0;
    std::size_t alive = 0;
    std::size_t dead = 0;
    for (const look::Process& process : now.processes) {
        alive += process.life == look::Life::alive ? 1 : 0;
        dead += process.life == look::Life::dead ? 1 : 0;
    }
    Line line{{fmt::format("Endpoints {}", now.endpoints.size())}};
    if (in_trouble > 0) line.push_back({fmt::format(" ({} stuck)", in_trouble), Style::bad});
    line.push_back({fmt::format("   Processes {}", alive)});
    if (dead > 0) line.push_back({fmt::format(" ({} dead)", dead), Style::warn});
    if (alive + dead < now.processes.size())
        line.push_back(
            {fmt::format(" ({} unknown)", now.processes.size() - alive - dead), Style::warn});
    line.push_back({"   Shm " + bytes_text(now.memory.used_bytes)});
    if (now.memory.limit_bytes) {
        line.push_back({" of " + bytes_text(*now.memory.limit_bytes) + " "});
        line.push_back(memory_bar(model));
    }
    return line;
}

[[nodiscard]] Line third_line(const Model& model) {
    const look::Rates& rates = model.rates;
    const auto rate = [&](double value) {
        return rates.seconds > 0 ? count_text(value) + "/s" : std::string("-");
    };
    std::uint64_t failed = 0;
    for (const look::Endpoint& endpoint : model.now.endpoints)
        if (endpoint.kind == directory::EndpointKind::error) failed += endpoint.depth();
    Line line{{fmt::format("Messages in {} out {} again {} failed ", rate(rates.in_per_s),
                           rate(rates.out_per_s), rate(rates.redelivered_per_s))},
              {count_text(static_cast<double>(failed)), failed > 0 ? Style::bad : Style::plain}};
    const look::Journal& journal = model.now.journal;
    if (journal.is_not_taken_up()) {
        line.push_back({"   Journal "});
        line.push_back({look::not_taken_up, Style::bad});
        return line;
    }
    if (!journal.is_in_use) {
        line.push_back({"   Journal not in use", Style::dim});
        return line;
    }
    line.push_back({"   Journal "});
    if (journal.condition != 0)
        line.push_back({std::string(look::name_of_condition(journal.condition)) + " ", Style::bad});
    line.push_back({fmt::format("{} sync p99 {} lag {}", journal_rate_text(rates),
                                quantile_text(&rates.sync_ns, journal.sync_ns, 0.99).text,
                                count_text(static_cast<double>(journal.lag)))});
    return line;
}

}  // namespace

Page draw_summary(const Model& model, std::size_t columns) {
    return {first_line(model, columns), second_line(model), third_line(model), {}};
}

Page draw(const Model& model, Size size) {
    Page page;
    if (!model.has_bus) {
        page.push_back({{"shm-top", Style::head}});
        page.push_back({});
        page.push_back({{model.trouble.empty() ? "looking ..." : model.trouble, Style::bad}});
    } else {
        page = draw_summary(model, size.columns);
        const std::size_t rows = size.rows - std::min(size.rows, lines_around);
        Page body = draw_body(model, {rows, size.columns});
        page.insert(page.end(), std::make_move_iterator(body.begin()),
                    std::make_move_iterator(body.end()));
    }
    page.resize(size.rows);
    if (size.rows > 0) page.back() = keys_of(model, size.columns);
    for (Line& line : page) cut_to(line, size.columns);
    return page;
}

std::size_t page_rows(Size size) {
    return size.rows - std::min(size.rows, lines_around + 1);
}

std::size_t chosen_row(const Model& model) {
    const View& view = model.view;
    if (view.screen == Screen::endpoints) {
        const auto rows = shown_endpoints(model);
        const auto found = std::find_if(rows.begin(), rows.end(), [&](const look::Endpoint* row) {
            return row->reference == view.endpoint;
        });
        return found == rows.end() ? 0 : static_cast<std::size_t>(found - rows.begin());
    }
    if (view.screen == Screen::endpoint) {
        const look::Endpoint* const endpoint = model.endpoint();
        for (std::size_t at = 0; endpoint && at < endpoint->lanes.size(); ++at)
            if (endpoint->lanes[at].id == view.lane) return at;
        return 0;
    }
    const auto found = view.row.find(view.screen);
    const std::size_t rows = row_count(model);
    // Of the log the newest, until somebody chose another one.
    if (view.screen == Screen::log && found == view.row.end()) return rows == 0 ? 0 : rows - 1;
    return found == view.row.end() ? 0 : std::min(found->second, rows == 0 ? 0 : rows - 1);
}

std::size_t row_count(const Model& model) {
    switch (model.view.screen) {
        case Screen::endpoints:
            return shown_endpoints(model).size();
        case Screen::processes:
            return model.now.processes.size();
        case Screen::types:
            return model.now.types.size() + model.now.subscriptions.size();
        case Screen::messages:
            return model.messages.size();
        case Screen::columns:
            return column_count;
        case Screen::log:
            return model.log.lines().size();
        case Screen::help:
            return help_lines();
        case Screen::endpoint:
            return model.endpoint() ? model.endpoint()->lanes.size() : 0;
        default:
            return 0;
    }
}

std::string journal_rate_text(const look::Rates& rates) {
    if (!(rates.seconds > 0)) return "-";
    return bytes_text(static_cast<std::uint64_t>(rates.journal_bytes_per_s)) + "/s";
}

Span quantile_text(const look::Histogram* latest, const look::Histogram& ever, double q) {
    if (latest && !latest->empty()) return {span_text(latest->quantile(q))};
    return {ever_text(ever.quantile(q)), Style::dim};
}

Line quantiles_line(const char* what, const look::Histogram* latest,
                    const look::Histogram& ever) {
    const bool is_latest = latest && !latest->empty();
    const look::Histogram& shown = is_latest ? *latest : ever;
    const auto at = [&](double q) { return span_text(shown.quantile(q)); };
    return {{left(what, 11), Style::head},
            {fmt::format("p50 {:<6} p90 {:<6} p99 {:<6} p99.9 {:<6} max {:<6} n {}{}", at(0.5),
                         at(0.9), at(0.99), at(0.999), at(1),
                         count_text(static_cast<double>(shown.count())),
                         is_latest || shown.empty() ? "" : " ever"),
             is_latest ? Style::plain : Style::dim}};
}

Window window_around(std::size_t chosen, std::size_t count, std::size_t rows) {
    if (rows == 0) return {};
    const std::size_t begin = count <= rows ? 0 : std::min(chosen / rows * rows, count - rows);
    return {begin, std::min(count, begin + rows)};
}

Line chosen(Line line, std::size_t columns) {
    const std::size_t used = width(line);
    if (used < columns) line.push_back({std::string(columns - used, ' ')});
    for (Span& span : line) span.is_chosen = true;
    return line;
}

}  // namespace shmbus::top
