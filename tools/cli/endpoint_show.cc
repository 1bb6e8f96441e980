// shmbus endpoint show: one endpoint, its lanes, consumers, what is in hands, and its totals.
//
// SPDX-License-Identifier: BSL-1.0
#include <bit>

#include "cli/endpoint.h"
#include "cli/living.h"
#include "cli/times.h"

namespace shmbus::cli {

std::map<std::uint32_t, Json> handled_by_endpoint(const OpenBus& bus) {
    std::map<std::uint32_t, Json> lists;
    for (const auto& type : bus.types())
        if (type.row.route != 0) lists[type.row.route].push_back(type.name());
    return lists;
}

namespace {

[[nodiscard]] Json lanes_of(const OpenBus& bus, const look::Endpoint& seen, Living& living) {
    Json lanes = Json::array();
    for (const look::Lane& lane : seen.lanes)
        lanes.push_back({{"lane", wire::lane_file(lane.id)},
                         {"writer", bus.name_of_participant(lane.writer)},
                         {"writer_state", lane.writer == wire::daemon_reference
                                              ? "daemon"
                                              : name_of(living.state_of(lane.writer))},
                         {"waiting", lane.waiting},
                         {"messages", lane.messages},
                         {"bytes", lane.capacity_bytes},
                         {"used_bytes", lane.used_bytes()},
                         {"written_bytes", lane.written_bytes()},
                         {"taken_bytes", lane.taken_bytes()},
                         {"refused", lane.refused},
                         {"dropped_newest", lane.dropped_newest},
                         {"dropped_oldest", lane.dropped_oldest},
                         {"waits", lane.waits},
                         {"writer_waits", lane.wants_room},
                         {"closed", lane.is_closed},
                         {"damaged", lane.is_damaged()}});
    return lanes;
}

[[nodiscard]] Json hands_of(const OpenBus& bus, const look::Endpoint& seen, Living& living) {
    Json hands = Json::array();
    for (const look::Hand& hand : seen.hands) {
        const wire::Reference owner = hand.process;
        const auto row = bus.reader().participant(wire::index_of(owner));
        hands.push_back({{"holder", owner == 0 ? Json() : Json(bus.name_of_participant(owner))},
                         {"pid", row && owner != 0 ? Json(row->row.pid) : Json()},
                         {"state", owner == 0 ? "left" : name_of(living.state_of(owner))},
                         {"lane", wire::lane_file(hand.lane)},
                         {"records", hand.records},
                         {"done", std::popcount(hand.done_records)}});
    }
    return hands;
}

[[nodiscard]] Json types_of(const look::Snapshot& all, const look::Endpoint& seen) {
    std::map<std::uint32_t, look::Troubles> rows = seen.metrics.troubles;
    for (const auto& [type, count] : seen.metrics.handled) rows[type];
    Json types = Json::array();
    for (const auto& [type, troubles] : rows) {
        const auto handled = seen.metrics.handled.find(type);
        types.push_back({{"type", all.type_name(type)},
                         {"handled", handled == seen.metrics.handled.end() ? 0 : handled->second},
                         {"threw", troubles.threw},
                         {"redelivered", troubles.redelivered},
                         {"failed", troubles.failed},
                         {"dropped", troubles.dropped}});
    }
    return types;
}

[[nodiscard]] Json times_of(const look::Snapshot& all, const look::Endpoint& seen) {
    Json rows = Json::array();
    for (const auto& [type, times] : seen.metrics.times) {
        Json row{{"type", all.type_name(type)}};
        row.update(quantiles_of(times));
        rows.push_back(std::move(row));
    }
    return rows;
}

// Of lanes that have a row for it.
[[nodiscard]] Json times_by_lane(const OpenBus& bus, const look::Endpoint& seen) {
    Json rows = Json::array();
    for (const look::Lane& lane : seen.lanes) {
        if (lane.times.processing_ns.empty() && lane.times.critical_ns.empty()) continue;
        Json row{{"lane", wire::lane_file(lane.id)},
                 {"writer", bus.name_of_participant(lane.writer)}};
        row.update(quantiles_of(lane.times));
        rows.push_back(std::move(row));
    }
    return rows;
}

// Since the endpoint was made.
void add_totals(Facts& facts, const look::Endpoint& seen) {
    const look::Counters& counters = seen.metrics.counters;
    facts.add("came", seen.received());
    facts.add("left", seen.settled);
    facts.add("written_bytes", seen.written_bytes());
    facts.add("taken_bytes", seen.taken_bytes());
    facts.add("refused", seen.refused());
    facts.add("waits", seen.waits());
    facts.add("dropped", counters.dropped);
    facts.add("dropped_newest", seen.dropped_newest());
    facts.add("dropped_oldest", seen.dropped_oldest());
    facts.add("threw", counters.threw);
    facts.add("retried", counters.retried());
    facts.add("redelivered", counters.redelivered);
    facts.add("failed", counters.failed);
    facts.add("wakeups", counters.wakeups);
}

void print_table_of(const Common& common, const char* title, const Json& rows) {
    if (rows.empty()) return;
    std::vector<std::string> columns;
    for (const auto& [name, value] : rows.front().items()) columns.push_back(name);
    Listing listing("", columns);
    for (const Json& row : rows) {
        std::vector<Json> cells;
        for (const std::string& column : columns) cells.push_back(row[column]);
        listing.add(std::move(cells));
    }
    print_line(std::string("\n") + title);
    listing.print(common);
}

}  // namespace

void show_endpoint(const Common& common, const std::string& name) {
    const OpenBus bus(common);
    const auto endpoint = bus.endpoint(name);
    const look::Snapshot all = bus.look(look::Apart{.endpoint = endpoint.reference()});
    const look::Endpoint& seen = bus.endpoint(all, name);
    Living living(bus);
    const Json lanes = lanes_of(bus, seen, living);
    const Json hands = hands_of(bus, seen, living);
    Json events = Json::array();
    for (const auto& row : bus.subscriptions())
        if (row.endpoint == endpoint.index) events.push_back(bus.name_of_type(row.event));
    Json consumers = Json::array();
    for (const look::Consumer& one : seen.consumers)
        if (living.state_of(one.process) == Living::State::alive)
            consumers.push_back(bus.name_of_participant(one.process));
    Facts facts("shmbus.endpoint/1");
    facts.add("endpoint", endpoint.name());
    facts.add("kind", name_of(endpoint.row.kind));
    facts.add("number", wire::numbered_file(endpoint.reference()));
    facts.add("lane_bytes", endpoint.row.lane_bytes);
    facts.add("events_when_full", name_of(static_cast<WhenFull>(endpoint.row.events_when_full)));
    facts.add("handles", or_empty(handled_by_endpoint(bus)[endpoint.index]));
    facts.add("subscribed_to", events);
    facts.add("consumers", consumers);
    facts.add("waiting", seen.waiting());
    facts.add("in_hand", seen.in_hand());
    facts.add("on_disk", seen.on_disk);
    facts.add("on_disk_is_current", all.is_disk_known());
    add_totals(facts, seen);
    const Json by_type = types_of(all, seen);
    const Json times = times_of(all, seen);
    const Json lane_times = times_by_lane(bus, seen);
    if (common.is_json()) {
        facts.add("types", by_type);
        facts.add("times", times);
        facts.add("lane_times", lane_times);
        facts.add("lanes", lanes);
        facts.add("hands", hands);
    }
    facts.print(common);
    if (common.format != Format::table) return;
    print_table_of(common, "by type", by_type);
    print_table_of(common, "times by type", times);
    print_table_of(common, "times by lane", lane_times);
    print_table_of(common, "lanes into it", lanes);
    print_table_of(common, "batches in hands", hands);
}

}  // namespace shmbus::cli
