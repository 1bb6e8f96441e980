// A bus that is made up: a shop with a queue that is stuck, one that runs, one that failed.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <utility>

#include "look/snapshot.h"
#include "top/model.h"

namespace top_tests {

namespace look = shmbus::look;
namespace top = shmbus::top;
using shmbus::directory::EndpointKind;

inline look::Process process(std::uint32_t index, std::string name, look::Life life, pid_t pid) {
    look::Process made;
    made.reference = shmbus::wire::make_reference(index, 1);
    made.name = std::move(name);
    made.life = life;
    made.pid = pid;
    made.program = "shop";
    return made;
}

// A lane of 64 units, with records of one unit each.
inline look::Lane lane(std::uint64_t id, std::uint32_t writer, std::uint64_t reclaim,
                       std::uint64_t head, std::uint64_t tail) {
    look::Lane made;
    made.id = id;
    made.writer = shmbus::wire::make_reference(writer, 1);
    made.capacity_bytes = 4096;
    made.reclaim = reclaim;
    made.head = made.handled = head;
    made.tail = tail;
    made.messages = tail;
    made.waiting = tail - head;
    return made;
}

inline look::Hand hand(std::uint16_t slot, std::uint32_t who, std::uint64_t lane_id,
                       std::uint64_t from, std::uint64_t end, std::uint64_t done) {
    look::Hand made;
    made.index = static_cast<std::uint16_t>(slot * 8);
    made.owner = slot;
    made.process = shmbus::wire::make_reference(who, 1);
    made.lane = lane_id;
    made.from = from;
    made.end = end;
    made.count = end - from;
    made.done = done;
    made.held_ns = 7'100'000'000;
    return made;
}

inline look::Consumer consumer(std::uint16_t slot, std::uint32_t who) {
    look::Consumer made;
    made.slot = slot;
    made.process = shmbus::wire::make_reference(who, 1);
    return made;
}

inline look::Endpoint endpoint(std::uint32_t index, std::string name,
                               EndpointKind kind = EndpointKind::ordinary) {
    look::Endpoint made;
    made.index = index;
    made.reference = shmbus::wire::make_reference(index, 1);
    made.name = std::move(name);
    made.kind = kind;
    return made;
}

// Processes: 1 web, 2 sales (stopped), 3 billing, 4 shipping (dead).
inline look::Snapshot shop() {
    look::Snapshot seen;
    seen.name = "shop";
    seen.uuid = "1";
    seen.directory = "/dev/shm/shmbus-0/shop";
    seen.monotonic_ns = 1'000'000'000;
    seen.daemon = {look::Life::alive, 4121};
    seen.memory = {74'100'000, 268'435'456, 190'000'000};
    seen.processes = {process(1, "web", look::Life::alive, 4101),
                      process(2, "sales", look::Life::alive, 4102),
                      process(3, "billing", look::Life::alive, 4103),
                      process(4, "shipping", look::Life::dead, 4104)};
    seen.processes[1].is_stopped = true;
    // sales: full, its writer waits, a stopped consumer holds four.
    look::Endpoint sales = endpoint(1, "sales");
    sales.lanes = {lane(0x11, 1, 36, 40, 100)};
    sales.lanes[0].wants_room = true;
    sales.lanes[0].oldest_ns = 7'100'000'000;
    sales.consumers = {consumer(0, 2)};
    sales.hands = {hand(0, 2, 0x11, 36, 40, 1)};
    sales.settled = 37;
    sales.types_in_hand[1] = 3;
    // billing: runs.
    look::Endpoint billing = endpoint(2, "billing");
    billing.lanes = {lane(0x12, 2, 10, 10, 12)};
    billing.lanes[0].times.wait_ns = look::Histogram({{61'000, 62'000, 9}});
    billing.consumers = {consumer(0, 3)};
    billing.settled = 10;
    billing.metrics.processing_ns = look::Histogram({{2000, 2100, 9}, {9000, 9100, 1}});
    billing.metrics.handled[2] = 10;
    // shipping: its one process is dead, with messages in its hand.
    look::Endpoint shipping = endpoint(3, "shipping");
    shipping.lanes = {lane(0x13, 2, 0, 4, 10)};
    shipping.consumers = {consumer(0, 4)};
    shipping.hands = {hand(0, 4, 0x13, 0, 4, 0)};
    // failed messages, an idle one, the journal.
    look::Endpoint error = endpoint(4, "error", EndpointKind::error);
    error.lanes = {lane(0x14, 3, 0, 0, 3)};
    look::Endpoint idle = endpoint(5, "audit");
    idle.consumers = {consumer(0, 3)};
    look::Endpoint journal = endpoint(6, "shmbus.journal", EndpointKind::journal);
    journal.lanes = {lane(0x16, 1, 5, 5, 7)};
    look::Endpoint reply = endpoint(7, "", EndpointKind::reply_inbox);
    reply.owner = seen.processes[0].reference;
    seen.endpoints = {sales, billing, shipping, error, idle, journal, reply};
    for (look::Endpoint& each : seen.endpoints) each.find_handled();
    seen.journal.path = "/var/lib/shmbus/shop";
    seen.journal.is_there = seen.journal.is_readable = seen.journal.is_in_use = true;
    seen.journal.lag = 2;
    seen.types = {{1, 1, "shop.place_order", 1, 1, 32, 1, 37},
                  {2, 2, "shop.ordered", 2, 1, 8, 0, 10}};
    seen.types[1].times.processing_ns = look::Histogram({{4400, 4600, 9}, {9400, 9600, 1}});
    seen.apart = look::apart_everywhere;
    seen.subscriptions = {{2, 2, 1, false}, {2, 3, 1, true}};
    return seen;
}

// A second later: twenty more for billing, handled, five of them timed.
inline look::Snapshot shop_later() {
    look::Snapshot seen = shop();
    seen.monotonic_ns += 1'000'000'000;
    seen.taken_ns += 1'000'000'000;
    look::Endpoint& billing = seen.endpoints[1];
    billing.lanes[0] = lane(0x12, 2, 30, 30, 32);
    billing.lanes[0].times.wait_ns = look::Histogram({{61'000, 62'000, 9}, {710'000, 720'000, 5}});
    billing.settled = 30;
    seen.types[1].times.processing_ns =
        look::Histogram({{4400, 4600, 9}, {9400, 9600, 1}, {52'000, 53'000, 5}});
    billing.metrics.processing_ns = look::Histogram({{2000, 2100, 28}, {9000, 9100, 2}});
    billing.metrics.critical_ns = look::Histogram({{300'000, 310'000, 20}});
    return seen;
}

inline top::Model model() {
    top::Model made;
    top::update(made, shop());
    top::update(made, shop_later());
    return made;
}

}  // namespace top_tests
