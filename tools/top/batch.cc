// What shm-top prints when it shows no screen.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/batch.h"

#include <fmt/core.h>

#include <optional>

#include "top/screens.h"

namespace shmbus::top {
namespace {

template <class T>
[[nodiscard]] std::string or_nothing(const std::optional<T>& value) {
    return value ? fmt::format("{}", *value) : std::string();
}

[[nodiscard]] std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
    return out + '"';
}

}  // namespace

std::string batch_text(const Model& model, const BatchText& wanted) {
    // As long as it takes: nothing scrolls here.
    const Size size{model.now.endpoints.size() + 2, wanted.columns};
    Page page = draw_endpoints(model, size);
    for (Line& line : page)
        for (Span& span : line) span.is_chosen = false;
    if (wanted.is_quiet)
        page.erase(page.begin());
    else {
        const Page summary = draw_summary(model, wanted.columns);
        page.insert(page.begin(), summary.begin(), summary.end());
    }
    const std::string time = wanted.has_time ? clock_text(model.now.taken_ns) + " " : "";
    std::string text;
    for (Line& line : page) {
        cut_to(line, wanted.columns);
        std::string shown = time + text_of(line);
        shown.erase(shown.find_last_not_of(' ') + 1);
        text += shown + "\n";
    }
    return text;
}

std::string csv_head(bool has_totals) {
    std::string head =
        "t_ns,interval_ns,bus,endpoint,reference,kind,state,depth,waiting,in_hand,fill,oldest_"
        "ns,"
        "consumers,lanes,received_total,settled_total,threw_total,redelivered_total,"
        "failed_total,dropped_total,in_per_s,out_per_s,processing_p50_ns,processing_p99_ns,"
        "critical_p99_ns,on_disk";
    if (has_totals)
        head +=
            ",written_bytes_total,taken_bytes_total,refused_total,waits_total,retried_total,"
            "dropped_newest_total,dropped_oldest_total,wakeups_total";
    return head + "\n";
}

std::string csv_rows(const Model& model, bool has_totals) {
    std::string text;
    for (const look::Endpoint& endpoint : model.now.endpoints) {
        const look::EndpointRates* const rates = model.rates_of(endpoint.reference);
        const look::EndpointRates known = rates ? *rates : look::EndpointRates{};
        const auto rate = [&](double value) {
            return rates ? fmt::format("{:.3f}", value) : std::string();
        };
        const look::Counters& counters = endpoint.metrics.counters;
        text += fmt::format(
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            model.now.taken_ns,
            rates ? fmt::format("{:.0f}", model.rates.seconds * 1e9) : std::string(),
            quoted(model.now.name), quoted(model.now.endpoint_name(endpoint)),
            wire::numbered_file(endpoint.reference), look::name_of(endpoint.kind),
            letter_of(state_of(model, endpoint)), endpoint.depth(), endpoint.waiting(),
            endpoint.in_hand(),
            endpoint.fill() ? fmt::format("{:.4f}", *endpoint.fill()) : std::string(),
            or_nothing(endpoint.oldest_ns()), model.now.opened(endpoint).not_dead(),
            endpoint.lanes.size(), endpoint.received(), endpoint.settled, counters.threw,
            counters.redelivered, counters.failed, counters.dropped, rate(known.in_per_s),
            rate(known.out_per_s), or_nothing(known.processing_ns.quantile(0.5)),
            or_nothing(known.processing_ns.quantile(0.99)),
            or_nothing(known.critical_ns.quantile(0.99)), endpoint.on_disk);
        if (has_totals)
            text += fmt::format(",{},{},{},{},{},{},{},{}", endpoint.written_bytes(),
                                endpoint.taken_bytes(), endpoint.refused(), endpoint.waits(),
                                counters.retried(), endpoint.dropped_newest(),
                                endpoint.dropped_oldest(), counters.wakeups);
        text += "\n";
    }
    return text;
}

}  // namespace shmbus::top
