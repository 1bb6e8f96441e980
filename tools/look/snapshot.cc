// What follows from a snapshot alone.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/snapshot.h"

#include <algorithm>
#include <array>

namespace shmbus::look {
namespace {

template <class List, class IsIt>
[[nodiscard]] auto find(const List& list, IsIt&& is_it) noexcept -> const
    typename List::value_type* {
    const auto found = std::find_if(list.begin(), list.end(), is_it);
    return found == list.end() ? nullptr : &*found;
}

template <class Of>
[[nodiscard]] std::uint64_t sum(const std::vector<Lane>& lanes, std::uint64_t gone,
                                Of&& of) noexcept {
    for (const Lane& lane : lanes) gone += of(lane);
    return gone;
}

template <std::size_t size>
[[nodiscard]] const char* nth(const std::array<const char*, size>& names, std::size_t at) noexcept {
    return names[at < size ? at : 0];
}

}  // namespace

Troubles& Troubles::operator+=(const Troubles& more) noexcept {
    threw += more.threw;
    redelivered += more.redelivered;
    failed += more.failed;
    dropped += more.dropped;
    return *this;
}

void Times::add(const Times& more) {
    processing_ns.add(more.processing_ns);
    critical_ns.add(more.critical_ns);
    wait_ns.add(more.wait_ns);
}

Times Times::since(const Times& before) const {
    return {processing_ns.since(before.processing_ns), critical_ns.since(before.critical_ns),
            wait_ns.since(before.wait_ns)};
}

std::uint64_t Endpoint::waiting() const noexcept {
    return sum(lanes, 0, [](const Lane& lane) { return lane.waiting; });
}

std::uint64_t Endpoint::in_hand() const noexcept {
    std::uint64_t all = 0;
    for (const Hand& hand : hands)
        if (!hand.is_taking && hand.count > hand.done) all += hand.count - hand.done;
    return all;
}

std::optional<double> Lane::fill() const noexcept {
    if (capacity_bytes == 0 || sight != Sight::seen) return std::nullopt;
    const std::uint64_t units = tail > handled ? tail - handled : 0;
    return static_cast<double>(units * 64) / static_cast<double>(capacity_bytes);
}

void Endpoint::find_handled() noexcept {
    for (Lane& lane : lanes) lane.handled = lane.head;
    // One that is about to take holds nothing: its consumer may sleep over a place that somebody
    // else has taken long ago.
    for (const Hand& hand : hands)
        for (Lane& lane : lanes)
            if (lane.id == hand.lane && !hand.is_taking && hand.count > hand.done)
                lane.handled = std::max(lane.reclaim, std::min(lane.handled, hand.from));
}

std::optional<double> Endpoint::fill() const noexcept {
    std::optional<double> most;
    for (const Lane& lane : lanes)
        if (const auto fill = lane.fill()) most = std::max(most.value_or(0), *fill);
    return most;
}

OptionalNumber Endpoint::oldest_ns() const noexcept {
    OptionalNumber most;
    for (const Lane& lane : lanes)
        if (lane.oldest_ns) most = std::max(most.value_or(0), *lane.oldest_ns);
    for (const Hand& hand : hands)
        if (hand.held_ns && hand.count > hand.done)
            most = std::max(most.value_or(0), *hand.held_ns);
    return most;
}

bool Endpoint::oldest_is_at_least() const noexcept {
    return oldest_ns() && std::any_of(lanes.begin(), lanes.end(), [](const Lane& lane) {
               return lane.waiting > 0 && (!lane.oldest_ns || lane.oldest_is_at_least);
           });
}

bool Endpoint::is_full() const noexcept {
    return std::any_of(lanes.begin(), lanes.end(),
                       [](const Lane& lane) { return lane.wants_room; });
}

bool Endpoint::is_damaged() const noexcept {
    return sight == Sight::damaged || std::any_of(lanes.begin(), lanes.end(), [](const Lane& lane) {
               return lane.is_damaged();
           });
}

std::uint64_t Endpoint::refused() const noexcept {
    return sum(lanes, gone_refused, [](const Lane& lane) { return lane.refused; });
}
std::uint64_t Endpoint::dropped_newest() const noexcept {
    return sum(lanes, gone_dropped_newest, [](const Lane& lane) { return lane.dropped_newest; });
}
std::uint64_t Endpoint::dropped_oldest() const noexcept {
    return sum(lanes, gone_dropped_oldest, [](const Lane& lane) { return lane.dropped_oldest; });
}
std::uint64_t Endpoint::waits() const noexcept {
    return sum(lanes, gone_waits, [](const Lane& lane) { return lane.waits; });
}
std::uint64_t Endpoint::written_bytes() const noexcept {
    return sum(lanes, gone_bytes, [](const Lane& lane) { return lane.written_bytes(); });
}
std::uint64_t Endpoint::taken_bytes() const noexcept {
    return sum(lanes, gone_bytes, [](const Lane& lane) { return lane.taken_bytes(); });
}

const Process* Snapshot::process(Reference reference) const noexcept {
    return find(processes, [&](const Process& one) { return one.reference == reference; });
}
const Endpoint* Snapshot::endpoint(Reference reference) const noexcept {
    return find(endpoints, [&](const Endpoint& one) { return one.reference == reference; });
}
const Endpoint* Snapshot::endpoint_at(std::uint32_t index) const noexcept {
    return find(endpoints, [&](const Endpoint& one) { return one.index == index; });
}
const Type* Snapshot::type(std::uint32_t index) const noexcept {
    return find(types, [&](const Type& one) { return one.index == index; });
}

Snapshot::Open Snapshot::opened(const Endpoint& endpoint) const noexcept {
    Open open;
    for (const Consumer& consumer : endpoint.consumers) {
        // Who has no row any more is dead, and all but cleared away.
        const Process* const found = process(consumer.process);
        if (!found || found->life == Life::dead) continue;
        ++(found->life == Life::alive ? open.alive : open.unknown);
    }
    return open;
}

bool Snapshot::is_served(const Endpoint& endpoint) const noexcept {
    return opened(endpoint).alive > 0;
}

std::string Snapshot::process_name(Reference reference) const {
    if (reference == wire::daemon_reference) return "shmbusd";
    const Process* const found = process(reference);
    return found ? found->name : wire::numbered_file(reference);
}

std::string Snapshot::endpoint_name(const Endpoint& endpoint) const {
    return endpoint.name.empty() ? "reply of " + process_name(endpoint.owner) : endpoint.name;
}

std::string Snapshot::type_name(std::uint32_t index) const {
    if (index == 0) return "other types";
    const Type* const found = type(index);
    return found ? found->name : "type " + std::to_string(index);
}

const char* name_of(Life life) noexcept {
    return nth(std::array{"alive", "dead", "unknown"}, static_cast<std::size_t>(life));
}
const char* name_of(directory::EndpointKind kind) noexcept {
    return nth(std::array{"unknown", "ordinary", "reply", "error", "journal"},
               static_cast<std::size_t>(kind));
}
const char* name_of_type_kind(std::uint8_t kind) noexcept {
    return nth(std::array{"unknown", "command", "event", "reply"}, kind);
}
const char* name_of_when_full(std::uint8_t policy) noexcept {
    constexpr std::array names{"refuse", "wait", "drop_newest", "drop_oldest"};
    return policy < names.size() ? names[policy] : "unknown";
}
const char* name_of_condition(std::uint8_t condition) noexcept {
    constexpr std::array names{"in service", "disk full", "stopped"};
    return condition < names.size() ? names[condition] : "unknown";
}

}  // namespace shmbus::look
