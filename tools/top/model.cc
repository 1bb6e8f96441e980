// What shm-top knows and what its user has chosen.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/model.h"

#include <algorithm>
#include <utility>

namespace shmbus::top {
namespace {

constexpr std::size_t most_past = 240;

void push(std::vector<double>& values, double value) {
    if (values.size() == most_past) values.erase(values.begin());
    values.push_back(value);
}

void remember(Model& model) {
    std::map<Reference, Model::Past> kept;
    for (const look::Endpoint& endpoint : model.now.endpoints) {
        Model::Past past = std::move(model.past[endpoint.reference]);
        push(past.depth, static_cast<double>(endpoint.depth()));
        if (const auto* rates = model.rates_of(endpoint.reference)) {
            push(past.in, rates->in_per_s);
            push(past.out, rates->out_per_s);
        }
        kept[endpoint.reference] = std::move(past);
    }
    model.past = std::move(kept);
}

[[nodiscard]] double quantile_of(const look::Histogram& histogram, double q) {
    return static_cast<double>(histogram.quantile(q).value_or(0));
}

[[nodiscard]] std::uint64_t journal_lag_of(const Model& model, const look::Endpoint& endpoint) {
    return endpoint.kind == directory::EndpointKind::journal ? model.now.journal.lag
                                                             : endpoint.journal_lag;
}

// What a column is sorted by, the greatest first.
[[nodiscard]] double weight(const Model& model, const look::Endpoint& endpoint, Column column) {
    const look::EndpointRates* const found = model.rates_of(endpoint.reference);
    const look::EndpointRates rates = found ? *found : look::EndpointRates{};
    switch (column) {
        case Column::state:
            return -static_cast<double>(state_of(model, endpoint));
        case Column::name:
            return 0;
        case Column::kind:
            return -static_cast<double>(endpoint.kind);
        case Column::trend:
        case Column::depth:
            return static_cast<double>(endpoint.depth());
        case Column::fill:
            return endpoint.fill().value_or(0);
        case Column::in:
            return rates.in_per_s;
        case Column::out:
            return rates.out_per_s;
        case Column::p50:
            return quantile_of(rates.processing_ns, 0.5);
        case Column::p99:
            return quantile_of(rates.processing_ns, 0.99);
        case Column::critical:
            return quantile_of(rates.critical_ns, 0.99);
        case Column::oldest:
            return static_cast<double>(endpoint.oldest_ns().value_or(0));
        case Column::consumers:
            return static_cast<double>(model.now.opened(endpoint).not_dead());
        case Column::retries:
            return rates.redelivered_per_s + rates.threw_per_s;
        case Column::failed:
            return static_cast<double>(endpoint.metrics.counters.failed);
        case Column::journal_lag:
            return static_cast<double>(journal_lag_of(model, endpoint));
    }
    return 0;
}

// Whoever looks at an older line of the log keeps it under the eyes; the others follow the end.
void add_to_log(Model& model, std::vector<LogLine> lines) {
    const auto row = model.view.row.find(Screen::log);
    const std::size_t chosen = row == model.view.row.end() ? 0 : row->second;
    const std::size_t moved = model.log.add(std::move(lines), chosen);
    if (row != model.view.row.end()) row->second -= moved;
}

}  // namespace

const look::Lane* Model::lane() const noexcept {
    const look::Endpoint* const of = endpoint();
    if (!of) return nullptr;
    for (const look::Lane& one : of->lanes)
        if (one.id == view.lane) return &one;
    return nullptr;
}

const look::EndpointRates* Model::rates_of(Reference reference) const noexcept {
    const auto found = rates.endpoints.find(reference);
    return rates.seconds > 0 && found != rates.endpoints.end() ? &found->second : nullptr;
}

const look::LaneRates* Model::rates_of_lane(std::uint64_t id) const noexcept {
    const auto found = rates.lanes.find(id);
    return found == rates.lanes.end() ? nullptr : &found->second;
}

const look::TypeRates* Model::rates_of_type(std::uint32_t type) const noexcept {
    const auto found = rates.types.find(type);
    return found == rates.types.end() ? nullptr : &found->second;
}

look::Apart apart_of(const View& view) noexcept {
    switch (view.screen) {
        case Screen::types:
            return look::apart_everywhere;
        case Screen::endpoint:
        case Screen::lane:
            return {.endpoint = view.endpoint};
        default:
            return {};
    }
}

void update(Model& model, look::Snapshot snapshot) {
    model.rates = model.has_bus ? look::rates_of(model.now, snapshot) : look::Rates{};
    see_more(model, std::move(snapshot));
    remember(model);
}

void see_more(Model& model, look::Snapshot snapshot) {
    if (!model.trouble.empty())
        add_to_log(model, {{snapshot.taken_ns, "the bus is seen again", Style::good, 1,
                            snapshot.taken_ns}});
    add_to_log(model, model.has_bus ? changes_between(model.now, snapshot) : first_lines(snapshot));
    model.now = std::move(snapshot);
    model.has_bus = true;
    model.trouble.clear();
    if (!model.endpoint()) {
        const auto rows = shown_endpoints(model);
        if (!rows.empty() && model.view.screen == Screen::endpoints)
            model.view.endpoint = rows.front()->reference;
    }
}

void see_nothing(Model& model, std::string why, std::uint64_t now_ns) {
    if (model.trouble.empty()) add_to_log(model, {{now_ns, why, Style::bad, 1, now_ns}});
    model.trouble = std::move(why);
}

State trouble_of(const look::Snapshot& seen, const look::Endpoint& endpoint) {
    if (endpoint.is_damaged()) return State::damaged;
    if (endpoint.kind == directory::EndpointKind::journal && seen.journal.condition != 0)
        return State::journal;
    if (endpoint.is_full()) return State::blocked;
    if (endpoint.kind == directory::EndpointKind::journal) return State::idle;
    bool any_alive = false;
    bool any_stopped = false;
    for (const look::Consumer& consumer : endpoint.consumers) {
        const look::Process* const process = seen.process(consumer.process);
        if (!process) continue;
        any_alive = any_alive || process->life != look::Life::dead;
        any_stopped = any_stopped || process->is_stopped;
    }
    const bool has_messages = endpoint.depth() > 0;
    if (endpoint.kind == directory::EndpointKind::error)
        return has_messages ? State::failures : State::idle;
    if (has_messages && !any_alive) return State::deserted;
    return any_stopped ? State::stopped : State::idle;
}

State state_of(const Model& model, const look::Endpoint& endpoint) {
    const State trouble = trouble_of(model.now, endpoint);
    // An error endpoint is no less idle for what is taken out of it.
    if (trouble != State::idle || endpoint.kind == directory::EndpointKind::error) return trouble;
    if (endpoint.kind == directory::EndpointKind::journal)
        return endpoint.waiting() > 0 ? State::running : State::idle;
    const look::EndpointRates* const rates = model.rates_of(endpoint.reference);
    const bool moves = rates && rates->in_per_s + rates->out_per_s > 0;
    return moves || endpoint.depth() > 0 ? State::running : State::idle;
}

char letter_of(State state) noexcept { return "XBDPFJRI"[static_cast<std::size_t>(state)]; }

const char* meaning_of(State state) noexcept {
    constexpr const char* words[] = {"a file of it is damaged",
                                     "a writer waits for room",
                                     "messages, nobody reads them",
                                     "a consumer is stopped",
                                     "failed messages lie here",
                                     "the journal is out of service",
                                     "in use",
                                     "idle"};
    return words[static_cast<std::size_t>(state)];
}

Style style_of(State state) noexcept {
    switch (state) {
        case State::damaged:
        case State::blocked:
        case State::deserted:
        case State::failures:
            return Style::bad;
        case State::stopped:
        case State::journal:
            return Style::warn;
        case State::running:
            return Style::good;
        case State::idle:
            return Style::dim;
    }
    return Style::plain;
}

bool passes(const Model& model, const look::Endpoint& endpoint, const Filter& filter) {
    if (!filter.limit()) return filter.matches(model.now.endpoint_name(endpoint));
    const auto value = [&] {
        switch (filter.limit()->figure) {
            case Figure::fill:
                return endpoint.fill().value_or(0) * 100;
            case Figure::in:
                return weight(model, endpoint, Column::in);
            case Figure::out:
                return weight(model, endpoint, Column::out);
            case Figure::fail:
                return weight(model, endpoint, Column::failed);
            case Figure::depth:
                break;
        }
        return static_cast<double>(endpoint.depth());
    }();
    return filter.limit()->is_above ? value > filter.limit()->value
                                    : value < filter.limit()->value;
}

std::vector<const look::Endpoint*> shown_endpoints(const Model& model) {
    struct Row {
        double weight;
        std::string name;
        const look::Endpoint* endpoint;
    };
    std::vector<Row> rows;
    for (const look::Endpoint& endpoint : model.now.endpoints) {
        const bool is_noise = endpoint.kind == directory::EndpointKind::reply_inbox &&
                              state_of(model, endpoint) == State::idle;
        const bool is_wanted =
            model.view.filter.empty() ? !is_noise : passes(model, endpoint, model.view.filter);
        if (is_wanted || model.view.marked.count(endpoint.reference) != 0)
            rows.push_back({weight(model, endpoint, model.view.sort),
                            model.now.endpoint_name(endpoint), &endpoint});
    }
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
        return a.weight != b.weight ? a.weight > b.weight : a.name < b.name;
    });
    if (model.view.is_reversed) std::reverse(rows.begin(), rows.end());
    std::stable_partition(rows.begin(), rows.end(), [&](const Row& row) {
        return model.view.marked.count(row.endpoint->reference) != 0;
    });
    std::vector<const look::Endpoint*> shown;
    for (const Row& row : rows) shown.push_back(row.endpoint);
    return shown;
}

}  // namespace shmbus::top
