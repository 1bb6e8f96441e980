// One endpoint: its lanes and who writes them, its consumers and what they hold, how long it takes.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <map>
#include <utility>

#include "top/screens.h"
#include "top/table.h"

namespace shmbus::top {
namespace {

[[nodiscard]] std::string pid_text(const Model& model, Reference process) {
    if (process == wire::daemon_reference)
        return model.now.daemon.pid ? std::to_string(*model.now.daemon.pid) : "-";
    const look::Process* const found = model.now.process(process);
    return found && found->pid ? std::to_string(*found->pid) : "-";
}

[[nodiscard]] std::string cpu_text(const Model& model, Reference process) {
    const look::Process* const found = model.now.process(process);
    return found && found->cpu ? std::to_string(*found->cpu) : "-";
}

[[nodiscard]] Span life_of(const Model& model, Reference process) {
    const look::Process* const found = model.now.process(process);
    if (process == wire::daemon_reference)
        return {look::name_of(model.now.daemon.life), Style::plain};
    if (!found) return {"gone", Style::dim};
    if (found->life == look::Life::dead) return {"DEAD", Style::bad};
    if (found->is_stopped) return {"stopped", Style::warn};
    return {look::name_of(found->life),
            found->life == look::Life::alive ? Style::good : Style::warn};
}

[[nodiscard]] std::string disk_text(const Model& model, const look::Endpoint& endpoint) {
    if (endpoint.on_disk == 0) return {};
    return fmt::format(", {}{} on disk", model.now.is_disk_known() ? "" : "~",
                       number(endpoint.on_disk));
}

[[nodiscard]] Page head(const Model& model, const look::Endpoint& endpoint) {
    const look::EndpointRates* const rates = model.rates_of(endpoint.reference);
    const State state = state_of(model, endpoint);
    Line name{{fmt::format("{} ", letter_of(state)), style_of(state)},
              {plain(model.now.endpoint_name(endpoint)), Style::head},
              {fmt::format("  {}  depth {} ({} waiting, {} in hand{})  came {}  left {}",
                           look::name_of(endpoint.kind), number(endpoint.depth()),
                           number(endpoint.waiting()), number(endpoint.in_hand()),
                           disk_text(model, endpoint), number(endpoint.received()),
                           number(endpoint.settled))}};
    Page page{std::move(name)};
    if (!endpoint.trouble.empty()) page.push_back({{plain(endpoint.trouble), Style::bad}});
    const look::Metrics& ever = endpoint.metrics;
    page.push_back(quantiles_line("processing", rates ? &rates->processing_ns : nullptr,
                                  ever.processing_ns));
    page.push_back(
        quantiles_line("critical", rates ? &rates->critical_ns : nullptr, ever.critical_ns));
    page.push_back(quantiles_line("queue wait", rates ? &rates->wait_ns : nullptr, ever.wait_ns));
    const look::Counters& counters = ever.counters;
    page.push_back(
        {{left("counts", 11), Style::head},
         {fmt::format("threw {}  retried {}  redelivered {}  failed {}  unhandled {}  wakeups {}",
                      number(counters.threw), number(counters.retried()),
                      number(counters.redelivered), number(counters.failed),
                      number(counters.dropped), number(counters.wakeups))}});
    page.push_back(
        {{left("lanes", 11), Style::head},
         {fmt::format("{} written, {} taken  refused {}  waits {}  dropped {} new, {} old",
                      bytes_text(endpoint.written_bytes()), bytes_text(endpoint.taken_bytes()),
                      number(endpoint.refused()), number(endpoint.waits()),
                      number(endpoint.dropped_newest()), number(endpoint.dropped_oldest()))}});
    return page;
}

[[nodiscard]] Line past(const Model& model, const look::Endpoint& endpoint, std::size_t columns) {
    const auto found = model.past.find(endpoint.reference);
    if (found == model.past.end()) return {};
    const std::size_t each =
        std::min<std::size_t>(60, (columns - std::min<std::size_t>(columns, 30)) / 3);
    const auto part = [&](const std::vector<double>& values) {
        return Span{trend(values, each, model.alphabet), Style::bar};
    };
    return {{left("past", 11), Style::head}, {"in "},      part(found->second.in),   {"  out "},
            part(found->second.out),         {"  depth "}, part(found->second.depth)};
}

[[nodiscard]] Page lanes(const Model& model, const look::Endpoint& endpoint, std::size_t columns,
                         std::size_t rows) {
    // WAIT50 and WAIT99: from being sent to being taken. CRIT: to being handled.
    const Table table({{"LANE", 16, Side::left},
                       {"WRITER", 0, Side::left},
                       {"PID", 7},
                       {"STATE", 8, Side::left},
                       {"WAIT", 5},
                       {"FILL", 6, Side::left},
                       {"IN/s", 6},
                       {"TOTAL", 6},
                       {"OLDEST", 7},
                       {"CPU", 3},
                       {"BLOCKED/s", 9},
                       {"TRIES/FULL", 10},
                       {"WAITS", 5},
                       {"REFUSED", 7},
                       {"DROPPED", 7},
                       {"BYTES", 6},
                       {"WAIT50", 6},
                       {"WAIT99", 6},
                       {"CRIT50", 6},
                       {"CRIT99", 6}},
                      columns);
    Page page{table.head()};
    const std::size_t at = chosen_row(model);
    const Window window = window_around(at, endpoint.lanes.size(), rows);
    for (std::size_t row = window.begin; row < window.end; ++row) {
        const look::Lane& lane = endpoint.lanes[row];
        const look::LaneRates* const rates = model.rates_of_lane(lane.id);
        const auto quantile = [&](look::Histogram look::Times::*which, double q) {
            return quantile_text(rates ? &(rates->times.*which) : nullptr, lane.times.*which, q);
        };
        const bool is_bad = lane.sight == look::Sight::damaged || lane.is_poisoned;
        const char* const state = lane.sight == look::Sight::damaged           ? "damaged"
                                  : lane.is_poisoned                           ? "given up"
                                  : lane.wants_room                            ? "BLOCKED"
                                  : lane.is_closed                             ? "closed"
                                  : lane.state == directory::RowState::pending ? "ahead"
                                                                               : "open";
        const double fill = lane.fill().value_or(0);
        const std::string oldest =
            lane.oldest_is_at_least ? least_text(lane.oldest_ns) : span_text(lane.oldest_ns);
        Line line = table.row({{wire::lane_file(lane.id)},
                               {plain(model.now.process_name(lane.writer))},
                               {pid_text(model, lane.writer)},
                               {state, is_bad || lane.wants_room ? Style::bad : Style::plain},
                               {number(lane.waiting)},
                               {bar(fill, 6, model.alphabet), fill > 0.9   ? Style::bad
                                                              : fill > 0.7 ? Style::warn
                                                                           : Style::good},
                               {rates ? count_text(rates->in_per_s) : "-"},
                               {number(lane.messages)},
                               {oldest},
                               {cpu_text(model, lane.writer)},
                               {rates ? count_text(rates->waits_per_s) : "-"},
                               {share_text(rates ? rates->refused_share() : std::nullopt)},
                               {number(lane.waits)},
                               {number(lane.refused)},
                               {number(lane.dropped_newest + lane.dropped_oldest)},
                               {bytes_text(lane.capacity_bytes)},
                               quantile(&look::Times::wait_ns, 0.5),
                               quantile(&look::Times::wait_ns, 0.99),
                               quantile(&look::Times::critical_ns, 0.5),
                               quantile(&look::Times::critical_ns, 0.99)});
        page.push_back(row == at ? chosen(std::move(line), columns) : std::move(line));
    }
    if (endpoint.lanes.empty()) page.push_back({{"no lane leads here", Style::dim}});
    return page;
}

[[nodiscard]] Page consumers(const Model& model, const look::Endpoint& endpoint,
                             std::size_t columns, std::size_t rows) {
    const Table table({{"CONSUMER", 0, Side::left},
                       {"PID", 7},
                       {"STATE", 8, Side::left},
                       {"HANDS", 5},
                       {"HOLDS", 5},
                       {"DONE", 5},
                       {"SINCE", 7},
                       {"HANDLED", 8}},
                      columns);
    Page page{table.head()};
    for (const look::Consumer& consumer : endpoint.consumers) {
        if (page.size() > rows) break;
        std::size_t hands = 0;
        std::uint64_t holds = 0;
        std::uint64_t done = 0;
        look::OptionalNumber since;
        for (const look::Hand& hand : endpoint.hands) {
            if (hand.owner != consumer.slot) continue;
            ++hands;
            holds += hand.count;
            done += hand.done;
            if (hand.held_ns) since = std::max(since.value_or(0), *hand.held_ns);
        }
        std::uint64_t handled = 0;
        for (const auto& [type, count] : consumer.metrics.handled) handled += count;
        Span life = life_of(model, consumer.process);
        if (life.text == "alive" && consumer.sleeps) life = {"sleeps", Style::dim};
        page.push_back(table.row({{plain(model.now.process_name(consumer.process))},
                                  {pid_text(model, consumer.process)},
                                  life,
                                  {std::to_string(hands)},
                                  {number(holds)},
                                  {number(done)},
                                  {span_text(since)},
                                  {number(handled)}}));
    }
    if (endpoint.consumers.empty())
        page.push_back(
            {{endpoint.kind == directory::EndpointKind::journal ? "the daemon reads this"
                                                                : "no process has it open",
              Style::dim}});
    return page;
}

[[nodiscard]] Line types_in_hand(const Model& model, const look::Endpoint& endpoint) {
    Line line{{left("in hands", 11), Style::head}};
    if (endpoint.types_in_hand.empty()) line.push_back({"nothing", Style::dim});
    for (const auto& [type, count] : endpoint.types_in_hand)
        line.push_back({fmt::format("{} {}   ", plain(model.now.type_name(type)), count)});
    return line;
}

// Octaves of processing time, from the first to the last that has values.
[[nodiscard]] Page histogram(const Model& model, const look::Endpoint& endpoint,
                             std::size_t columns, std::size_t rows) {
    const look::EndpointRates* const rates = model.rates_of(endpoint.reference);
    const bool is_latest = rates && !rates->processing_ns.empty();
    const look::Histogram& shown =
        is_latest ? rates->processing_ns : endpoint.metrics.processing_ns;
    if (shown.empty() || rows < 3) return {};
    std::map<int, std::uint64_t> octaves;
    for (const auto& bucket : shown.buckets())
        octaves[static_cast<int>(std::bit_width(bucket.middle()))] += bucket.count;
    std::uint64_t most = 0;
    for (const auto& [octave, count] : octaves) most = std::max(most, count);
    Page page{{{is_latest ? "processing time of the last interval" : "processing time of all time",
                Style::head}}};
    const int first = octaves.begin()->first;
    const int last = octaves.rbegin()->first;
    for (int octave = first; octave <= last && page.size() < rows; ++octave) {
        const auto found = octaves.find(octave);
        const std::uint64_t count = found == octaves.end() ? 0 : found->second;
        const double share = static_cast<double>(count) / static_cast<double>(most);
        const std::size_t wide =
            std::min<std::size_t>(60, columns - std::min<std::size_t>(columns, 26));
        const std::uint64_t begin = octave == 0 ? 0 : std::uint64_t{1} << (octave - 1);
        page.push_back({{fmt::format("{:>8} ", span_text(begin))},
                        {bar(share, wide, model.alphabet), Style::bar},
                        {fmt::format(" {}", number(count))}});
    }
    return page;
}

void append(Page& page, Page more) {
    page.insert(page.end(), std::make_move_iterator(more.begin()),
                std::make_move_iterator(more.end()));
}

}  // namespace

Page draw_endpoint(const Model& model, Size size) {
    const look::Endpoint* const endpoint = model.endpoint();
    if (!endpoint) return {{{"this endpoint is not there any more", Style::warn}}};
    Page page = head(model, *endpoint);
    page.push_back(past(model, *endpoint, size.columns));
    page.push_back(types_in_hand(model, *endpoint));
    const std::size_t left_over = size.rows - std::min(size.rows, page.size() + 2);
    const std::size_t for_lanes =
        std::max<std::size_t>(2, std::min(endpoint->lanes.size(), left_over / 2));
    append(page, lanes(model, *endpoint, size.columns, for_lanes));
    append(page, consumers(model, *endpoint, size.columns,
                           std::max<std::size_t>(2, left_over - std::min(left_over, for_lanes))));
    if (page.size() + 4 < size.rows)
        append(page, histogram(model, *endpoint, size.columns, size.rows - page.size()));
    return page;
}

}  // namespace shmbus::top
