// A snapshot as JSON.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/json.h"

namespace shmbus::look {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
[[nodiscard]] Json or_null(const std::optional<T>& value) {
    return value ? Json(*value) : Json(nullptr);
}

// Three digits are more than a rate is good for, and diff well.
[[nodiscard]] Json rate(const Rates& rates, double per_second) {
    if (rates.seconds <= 0) return nullptr;
    return static_cast<double>(static_cast<std::int64_t>(per_second * 1000 + 0.5)) / 1000;
}

[[nodiscard]] Json json_of(const Histogram& histogram) {
    if (histogram.empty()) return nullptr;
    return {{"count", histogram.count()},
            {"p50", or_null(histogram.quantile(0.5))},
            {"p90", or_null(histogram.quantile(0.9))},
            {"p99", or_null(histogram.quantile(0.99))},
            {"p999", or_null(histogram.quantile(0.999))},
            {"max", or_null(histogram.quantile(1))}};
}

// Nothing where nothing was timed.
[[nodiscard]] Json json_of(const Times& times) {
    return {{"processing_ns", json_of(times.processing_ns)},
            {"critical_ns", json_of(times.critical_ns)},
            {"wait_ns", json_of(times.wait_ns)}};
}

[[nodiscard]] Json json_of(const Troubles& counts) {
    return {{"threw", counts.threw},
            {"redelivered", counts.redelivered},
            {"failed", counts.failed},
            {"dropped", counts.dropped}};
}

[[nodiscard]] Json json_of(const Snapshot& snapshot, const Rates& rates, const Lane& lane) {
    const auto found = rates.lanes.find(lane.id);
    Json json{{"id", wire::lane_file(lane.id)},
              {"writer", snapshot.process_name(lane.writer)},
              {"writer_reference", wire::numbered_file(lane.writer)},
              {"state", lane.sight == Sight::damaged ? "damaged"
                        : lane.is_poisoned           ? "given up"
                        : lane.is_closed             ? "closed"
                                                     : "open"},
              {"trouble", lane.trouble.empty() ? Json(nullptr) : Json(lane.trouble)},
              {"capacity_bytes", lane.capacity_bytes},
              {"used_bytes", lane.used_bytes()},
              {"written_bytes_total", lane.written_bytes()},
              {"taken_bytes_total", lane.taken_bytes()},
              {"head", lane.head},
              {"reclaim", lane.reclaim},
              {"tail", lane.tail},
              {"messages_total", lane.messages},
              {"waiting", lane.waiting},
              {"counts_are_exact", lane.is_exact},
              {"refused_total", lane.refused},
              {"dropped_newest_total", lane.dropped_newest},
              {"dropped_oldest_total", lane.dropped_oldest},
              {"waits_total", lane.waits},
              {"wants_room", lane.wants_room},
              {"oldest_ns", or_null(lane.oldest_ns)},
              {"oldest_is_at_least", lane.oldest_is_at_least}};
    json.update(json_of(lane.times));
    const LaneRates* const own = found == rates.lanes.end() ? nullptr : &found->second;
    json["in_per_s"] = own ? rate(rates, own->in_per_s) : Json(nullptr);
    json["waits_per_s"] = own ? rate(rates, own->waits_per_s) : Json(nullptr);
    json["refused_per_s"] = own ? rate(rates, own->refused_per_s) : Json(nullptr);
    json["interval"] = json_of(own ? own->times : Times{});
    return json;
}

[[nodiscard]] Json json_of(const Snapshot& snapshot, const Hand& hand) {
    const Process* const process = snapshot.process(hand.process);
    return {
        {"hand", hand.index},
        {"process", hand.process == 0 ? Json(nullptr) : Json(snapshot.process_name(hand.process))},
        {"pid", process ? or_null(process->pid) : Json(nullptr)},
        {"lane", wire::lane_file(hand.lane)},
        {"messages", hand.count},
        {"done", hand.done},
        {"held_ns", or_null(hand.held_ns)}};
}

[[nodiscard]] Json json_of(const Snapshot& snapshot, const Consumer& consumer) {
    const Process* const process = snapshot.process(consumer.process);
    return {{"slot", consumer.slot},
            {"process", snapshot.process_name(consumer.process)},
            {"reference", wire::numbered_file(consumer.process)},
            {"pid", process ? or_null(process->pid) : Json(nullptr)},
            {"life", process ? name_of(process->life) : "unknown"},
            {"sleeps", consumer.sleeps}};
}

[[nodiscard]] Json rates_json(const Rates& rates, const Endpoint& endpoint) {
    const auto found = rates.endpoints.find(endpoint.reference);
    const bool is_known = found != rates.endpoints.end() && rates.seconds > 0;
    const EndpointRates own = is_known ? found->second : EndpointRates{};
    const auto known = [&](double value) { return is_known ? rate(rates, value) : Json(nullptr); };
    return {{"in_per_s", known(own.in_per_s)},
            {"out_per_s", known(own.out_per_s)},
            {"redelivered_per_s", known(own.redelivered_per_s)},
            {"threw_per_s", known(own.threw_per_s)},
            {"failed_per_s", known(own.failed_per_s)},
            {"dropped_per_s", known(own.dropped_per_s)},
            {"wakeups_per_s", known(own.wakeups_per_s)},
            {"processing_ns", json_of(own.processing_ns)},
            {"critical_ns", json_of(own.critical_ns)},
            {"wait_ns", json_of(own.wait_ns)}};
}

[[nodiscard]] Json json_of(const Snapshot& snapshot, const Rates& rates, const Endpoint& endpoint) {
    const Counters& counters = endpoint.metrics.counters;
    Json handled = Json::object();
    for (const auto& [index, count] : endpoint.metrics.handled)
        handled[snapshot.type_name(index)] = count;
    Json troubles = Json::object();
    for (const auto& [index, counts] : endpoint.metrics.troubles)
        troubles[snapshot.type_name(index)] = json_of(counts);
    Json times = Json::object();
    for (const auto& [index, each] : endpoint.metrics.times)
        times[snapshot.type_name(index)] = json_of(each);
    Json lanes = Json::array();
    for (const Lane& lane : endpoint.lanes) lanes.push_back(json_of(snapshot, rates, lane));
    Json hands = Json::array();
    for (const Hand& hand : endpoint.hands) hands.push_back(json_of(snapshot, hand));
    Json consumers = Json::array();
    for (const Consumer& one : endpoint.consumers) consumers.push_back(json_of(snapshot, one));
    return {{"name", snapshot.endpoint_name(endpoint)},
            {"reference", wire::numbered_file(endpoint.reference)},
            {"kind", name_of(endpoint.kind)},
            {"owner",
             endpoint.owner == 0 ? Json(nullptr) : Json(snapshot.process_name(endpoint.owner))},
            {"trouble", endpoint.trouble.empty() ? Json(nullptr) : Json(endpoint.trouble)},
            {"depth", endpoint.depth()},
            {"waiting", endpoint.waiting()},
            {"in_hand", endpoint.in_hand()},
            {"on_disk", endpoint.on_disk},
            {"on_disk_is_current", snapshot.is_disk_known()},
            {"fill", or_null(endpoint.fill())},
            {"oldest_ns", or_null(endpoint.oldest_ns())},
            {"oldest_is_at_least", endpoint.oldest_is_at_least()},
            {"journal_lag", endpoint.journal_lag},
            {"received_total", endpoint.received()},
            {"settled_total", endpoint.settled},
            {"written_bytes_total", endpoint.written_bytes()},
            {"taken_bytes_total", endpoint.taken_bytes()},
            {"refused_total", endpoint.refused()},
            {"waits_total", endpoint.waits()},
            {"threw_total", counters.threw},
            {"retried_total", counters.retried()},
            {"redelivered_total", counters.redelivered},
            {"failed_total", counters.failed},
            {"dropped_total", counters.dropped},
            {"dropped_newest_total", endpoint.dropped_newest()},
            {"dropped_oldest_total", endpoint.dropped_oldest()},
            {"wakeups_total", counters.wakeups},
            {"handled_total", std::move(handled)},
            {"troubles_total", std::move(troubles)},
            {"processing_ns", json_of(endpoint.metrics.processing_ns)},
            {"critical_ns", json_of(endpoint.metrics.critical_ns)},
            {"wait_ns", json_of(endpoint.metrics.wait_ns)},
            {"times_by_type", std::move(times)},
            {"interval", rates_json(rates, endpoint)},
            {"lanes", std::move(lanes)},
            {"hands", std::move(hands)},
            {"consumers", std::move(consumers)}};
}

[[nodiscard]] Json json_of(const Rates& rates, const Process& process) {
    const auto found = rates.processes.find(process.reference);
    return {{"name", process.name},
            {"reference", wire::numbered_file(process.reference)},
            {"pid", or_null(process.pid)},
            {"uid", process.uid},
            {"life", name_of(process.life)},
            {"is_stopped", process.is_stopped},
            {"is_leaving", process.is_leaving},
            {"program", process.program.empty() ? Json(nullptr) : Json(process.program)},
            {"cpu", or_null(process.cpu)},
            {"since_ns", process.since_ns},
            {"lanes", process.lanes},
            {"sent_in_lanes", process.sent},
            {"sent_per_s", rate(rates, found == rates.processes.end() ? 0 : found->second)}};
}

[[nodiscard]] Json json_of(const Journal& journal, const Rates& rates) {
    return {{"path", journal.path},
            {"is_there", journal.is_there},
            {"is_readable", journal.is_readable},
            {"is_in_use", journal.is_in_use},
            {"condition", journal.is_in_use          ? Json(name_of_condition(journal.condition))
                          : journal.is_not_taken_up() ? Json(not_taken_up)
                                                      : Json(nullptr)},
            {"segments", journal.segments},
            {"checkpoints", journal.checkpoints},
            {"bytes", journal.bytes},
            {"lag_messages", journal.is_in_use ? Json(journal.lag) : Json(nullptr)},
            {"lag_ns", or_null(journal.lag_ns)},
            {"written_bytes_total", journal.written_bytes},
            {"written_bytes_per_s", rate(rates, rates.journal_bytes_per_s)},
            {"sync_ns", json_of(journal.sync_ns)},
            {"batch_records", json_of(journal.batch_records)}};
}

[[nodiscard]] Json types_json(const Snapshot& snapshot, const Rates& rates) {
    Json list = Json::array();
    for (const Type& type : snapshot.types) {
        const Endpoint* const route = snapshot.endpoint_at(type.route);
        const auto found = rates.types.find(type.index);
        const TypeRates own = found == rates.types.end() ? TypeRates{} : found->second;
        list.push_back(
            {{"name", type.name},
             {"index", type.index},
             {"kind", name_of_type_kind(type.kind)},
             {"durable", type.durability == 2},
             {"bytes", type.bytes},
             {"route", route ? Json(route->name) : Json(nullptr)},
             {"handled_total", type.handled},
             {"handled_bytes_total", or_null(type.handled_bytes())},
             {"troubles_total", json_of(type.troubles)},
             {"processing_ns", json_of(type.times.processing_ns)},
             {"critical_ns", json_of(type.times.critical_ns)},
             {"wait_ns", json_of(type.times.wait_ns)},
             {"handled_per_s", rate(rates, own.handled_per_s)},
             {"interval", json_of(own.times)}});
    }
    return list;
}

[[nodiscard]] Json subscriptions_json(const Snapshot& snapshot) {
    Json list = Json::array();
    for (const Subscription& one : snapshot.subscriptions) {
        const Type* const type = snapshot.type(one.event);
        const Endpoint* const endpoint = snapshot.endpoint_at(one.endpoint);
        list.push_back({{"event", type ? Json(type->name) : Json(nullptr)},
                        {"endpoint", endpoint ? Json(endpoint->name) : Json(nullptr)},
                        {"when_full", name_of_when_full(one.when_full)},
                        {"is_orphaned", one.is_orphaned}});
    }
    return list;
}

// Of all endpoints but the journal's, through which what is durable comes a second time.
[[nodiscard]] Json totals_json(const Snapshot& snapshot) {
    Counters counters;
    std::uint64_t received = 0, settled = 0, written = 0, taken = 0, refused = 0, waits = 0;
    std::uint64_t retried = 0, dropped_newest = 0, dropped_oldest = 0;
    for (const Endpoint& one : snapshot.endpoints) {
        if (one.kind == directory::EndpointKind::journal) continue;
        counters += one.metrics.counters;
        counters.wakeups += one.metrics.counters.wakeups;
        retried += one.metrics.counters.retried();
        received += one.received();
        settled += one.settled;
        written += one.written_bytes();
        taken += one.taken_bytes();
        refused += one.refused();
        waits += one.waits();
        dropped_newest += one.dropped_newest();
        dropped_oldest += one.dropped_oldest();
    }
    return {{"received_total", received},
            {"settled_total", settled},
            {"written_bytes_total", written},
            {"taken_bytes_total", taken},
            {"refused_total", refused},
            {"waits_total", waits},
            {"threw_total", counters.threw},
            {"retried_total", retried},
            {"redelivered_total", counters.redelivered},
            {"failed_total", counters.failed},
            {"dropped_total", counters.dropped},
            {"dropped_newest_total", dropped_newest},
            {"dropped_oldest_total", dropped_oldest},
            {"wakeups_total", counters.wakeups}};
}

}  // namespace

Json json_of(const Snapshot& snapshot, const Rates& rates) {
    Json processes = Json::array();
    for (const Process& process : snapshot.processes) processes.push_back(json_of(rates, process));
    Json endpoints = Json::array();
    for (const Endpoint& one : snapshot.endpoints)
        endpoints.push_back(json_of(snapshot, rates, one));
    return {
        {"schema", top_schema},
        {"t_ns", snapshot.taken_ns},
        {"interval_ns",
         rates.seconds > 0 ? Json(static_cast<std::uint64_t>(rates.seconds * 1e9)) : Json(nullptr)},
        {"bus",
         {{"name", snapshot.name},
          {"directory", snapshot.directory},
          {"uuid", snapshot.uuid},
          {"created_ns", snapshot.created_ns},
          {"tables_version", snapshot.version},
          {"is_of_this_boot", snapshot.is_of_this_boot},
          {"daemon", name_of(snapshot.daemon.life)},
          {"daemon_pid", or_null(snapshot.daemon.pid)},
          {"daemon_is_stopped", snapshot.daemon.is_stopped}}},
        {"shm",
         {{"used_bytes", snapshot.memory.used_bytes},
          {"limit_bytes", or_null(snapshot.memory.limit_bytes)},
          {"free_bytes", or_null(snapshot.memory.free_bytes)}}},
        {"totals",
         {{"in_per_s", rate(rates, rates.in_per_s)},
          {"out_per_s", rate(rates, rates.out_per_s)},
          {"redelivered_per_s", rate(rates, rates.redelivered_per_s)},
          {"failed_per_s", rate(rates, rates.failed_per_s)}}},
        {"journal", json_of(snapshot.journal, rates)},
        {"endpoints", std::move(endpoints)},
        {"processes", std::move(processes)},
        {"types", types_json(snapshot, rates)},
        {"subscriptions", subscriptions_json(snapshot)}};
}

std::string json_text(const Snapshot& snapshot, const Rates& rates, JsonShape shape) {
    Json json = json_of(snapshot, rates);
    if (shape.has_totals) json["totals"].update(totals_json(snapshot));
    return json.dump(shape.indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace shmbus::look
