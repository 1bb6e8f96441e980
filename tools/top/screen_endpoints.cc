// The main table: one line per endpoint.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>

#include <algorithm>

#include "top/columns.h"
#include "top/screens.h"
#include "top/table.h"

namespace shmbus::top {
namespace {

[[nodiscard]] Style style_of_fill(std::optional<double> fill) {
    if (!fill) return Style::dim;
    return *fill > 0.9 ? Style::bad : *fill > 0.7 ? Style::warn : Style::good;
}

class Row {
public:
    Row(const Model& model, const look::Endpoint& endpoint)
        : model_(model), endpoint_(endpoint), rates_(model.rates_of(endpoint.reference)) {}

    [[nodiscard]] Span cell(Column column, std::size_t columns) const {
        const bool is_journal = endpoint_.kind == directory::EndpointKind::journal;
        switch (column) {
            case Column::state: {
                const State state = state_of(model_, endpoint_);
                return {std::string(1, letter_of(state)), style_of(state)};
            }
            case Column::name:
                return name();
            case Column::kind:
                return {look::name_of(endpoint_.kind), Style::dim};
            case Column::depth:
                return depth();
            case Column::fill:
                return {bar(endpoint_.fill().value_or(0), columns, model_.alphabet),
                        style_of_fill(endpoint_.fill())};
            case Column::in:
                return rate(&look::EndpointRates::in_per_s);
            case Column::out:
                return rate(&look::EndpointRates::out_per_s);
            case Column::p50:
                return quantile(&look::EndpointRates::processing_ns, 0.5);
            case Column::p99:
                return quantile(&look::EndpointRates::processing_ns, 0.99);
            case Column::critical:
                return quantile(&look::EndpointRates::critical_ns, 0.99);
            case Column::oldest:
                return {endpoint_.oldest_is_at_least() ? least_text(endpoint_.oldest_ns())
                                                       : span_text(endpoint_.oldest_ns())};
            case Column::consumers:
                return is_journal ? Span{"-"} : consumers();
            case Column::retries:
                return rates_ ? number(rates_->redelivered_per_s + rates_->threw_per_s) : Span{"-"};
            case Column::failed:
                return failed();
            case Column::journal_lag:
                return model_.now.journal.is_in_use
                           ? number(static_cast<double>(is_journal ? model_.now.journal.lag
                                                                   : endpoint_.journal_lag))
                           : Span{"-"};
            case Column::trend:
                return past(columns);
        }
        return {};
    }

private:
    [[nodiscard]] Span number(double value) const {
        return {count_text(value), value == 0 ? Style::dim : Style::plain};
    }
    // "?": of some of them nobody can say whether they live. Dead ones are in the drill-down.
    [[nodiscard]] Span consumers() const {
        const auto open = model_.now.opened(endpoint_);
        Span span = number(static_cast<double>(open.not_dead()));
        if (open.unknown > 0) span.text += '?';
        return span;
    }
    [[nodiscard]] Span name() const {
        const bool is_marked = model_.view.marked.count(endpoint_.reference) != 0;
        return {(is_marked ? "+" : "") + plain(model_.now.endpoint_name(endpoint_)),
                is_marked ? Style::head : Style::plain};
    }
    // "~": without a daemon that could say what waits on disk now.
    [[nodiscard]] Span depth() const {
        Span span = number(static_cast<double>(endpoint_.depth()));
        if (endpoint_.on_disk > 0 && !model_.now.is_disk_known()) span.text.insert(0, "~");
        return span;
    }
    [[nodiscard]] Span rate(double look::EndpointRates::*which) const {
        return rates_ ? number(rates_->*which) : Span{"-", Style::dim};
    }
    [[nodiscard]] Span quantile(look::Histogram look::EndpointRates::*which, double q) const {
        const look::Histogram& ever = which == &look::EndpointRates::critical_ns
                                          ? endpoint_.metrics.critical_ns
                                          : endpoint_.metrics.processing_ns;
        return quantile_text(rates_ ? &(rates_->*which) : nullptr, ever, q);
    }
    // What was given up here; in an error endpoint, what lies in it.
    [[nodiscard]] Span failed() const {
        const bool is_error = endpoint_.kind == directory::EndpointKind::error;
        const std::uint64_t count =
            is_error ? endpoint_.depth() : endpoint_.metrics.counters.failed;
        return {count_text(static_cast<double>(count)), count > 0 ? Style::bad : Style::dim};
    }
    [[nodiscard]] Span past(std::size_t columns) const {
        const auto found = model_.past.find(endpoint_.reference);
        if (found == model_.past.end()) return {};
        return {trend(found->second.depth, columns, model_.alphabet), Style::bar};
    }

    const Model& model_;
    const look::Endpoint& endpoint_;
    const look::EndpointRates* rates_;
};

}  // namespace

Page draw_endpoints(const Model& model, Size size) {
    const auto columns = columns_shown(model, size.columns);
    std::size_t spare = size.columns - std::min(size.columns, columns.size() - 1);
    for (const Column column : columns) spare -= std::min(spare, shape_of(column).columns);
    std::vector<Field> fields;
    std::vector<std::size_t> widths;
    for (const Column column : columns) {
        const ColumnShape& shape = shape_of(column);
        std::size_t wide = shape.columns;
        // What is left over first makes names whole, then the past longer.
        if (column == Column::name) {
            const std::size_t more = std::min<std::size_t>(spare, 17);
            wide += more;
            spare -= more;
        }
        if (column == Column::trend) wide += spare;
        const bool is_sorted = column == model.view.sort;
        fields.push_back({is_sorted ? std::string(shape.head) + (model.view.is_reversed ? "^" : "v")
                                    : shape.head,
                          wide, shape.side});
        // A head that is longer than its column by its mark keeps the mark.
        if (is_sorted && fields.back().head.size() > wide && wide > 1)
            fields.back().head = fields.back().head.substr(1);
        widths.push_back(wide);
    }
    const Table table(fields, size.columns + 1);
    Page page{table.head()};
    const auto rows = shown_endpoints(model);
    const std::size_t at = chosen_row(model);
    const Window window =
        window_around(at, rows.size(), size.rows - std::min<std::size_t>(size.rows, 1));
    for (std::size_t row = window.begin; row < window.end; ++row) {
        const Row cells(model, *rows[row]);
        std::vector<Span> spans;
        for (std::size_t each = 0; each < columns.size(); ++each)
            spans.push_back(cells.cell(columns[each], widths[each]));
        Line line = table.row(spans);
        page.push_back(row == at ? chosen(std::move(line), size.columns) : std::move(line));
    }
    if (rows.empty())
        page.push_back({{model.view.filter.empty()
                             ? "no endpoint was made on this bus yet"
                             : "no endpoint passes the filter " + model.view.filter.text(),
                         Style::dim}});
    return page;
}

}  // namespace shmbus::top
