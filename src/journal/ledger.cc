// The fold over records.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/ledger.h"

#include <algorithm>
#include <array>

namespace shmbus::journal {

namespace {

constexpr std::uint64_t mark_every_bytes = 512 * 1024;

template <class T>
[[nodiscard]] std::vector<T> list_of(std::span<const std::byte> payload) {
    std::vector<T> list(payload.size() / sizeof(T));
    if (!list.empty()) std::memcpy(list.data(), payload.data(), list.size() * sizeof(T));
    return list;
}

}  // namespace

bool Ledger::apply(std::uint64_t number, const RecordHead& head,
                   std::span<const std::byte> payload) {
    switch (head.kind) {
        case Kind::publish:
            return add_published(number, head);
        case Kind::acknowledge:
            return add_settled(head, payload);
        case Kind::item:
            items[{head.type, head.first}].assign(payload.begin(), payload.end());
            return true;
        case Kind::erase:
            items.erase({head.type, head.first});
            return true;
        case Kind::audience:
            return add_audience(head, payload);
        case Kind::forget:
            forget(head.first);
            return true;
        case Kind::up_to:
            if (payload.size() % 16 != 0) return false;
            for (const auto& [lane, position] : list_of<std::array<std::uint64_t, 2>>(payload)) {
                Watermark& mark = lanes[lane];
                mark.position = std::max(mark.position, position);
                mark.seconds = seconds;
                mark.gone = 0;
            }
            return true;
        case Kind::lane_gone:
            if (const auto found = lanes.find(head.first); found != lanes.end()) {
                found->second.gone = 1;
                found->second.seconds = seconds;
            }
            return true;
        case Kind::loss:
            if (head.second < head.first) return false;
            accepted_losses.add({head.first, head.second});
            doubt_what_is_known();
            return true;
        case Kind::begin:
        case Kind::batch_end:
            return true;
    }
    return false;
}

void Ledger::begin_segment(const SegmentHead& head, const SegmentBegin& begin) {
    if (const auto before = segments.find(begin.previous.number); before != segments.end()) {
        before->second.closed = true;
        before->second.end = begin.previous;
        before->second.content_end = begin.previous.offset;
        before->second.clean = begin.why == SegmentBegin::Why::full;
    }
    Segment segment;
    segment.number = head.number;
    segment.covers_to = head.number;
    segment.file_bytes = head.file_bytes;
    segment.salt = head.salt;
    segment.first_lsn = begin.previous.lsn + 1;
    segment.begin = begin.previous;
    segments[head.number] = std::move(segment);
}

void Ledger::batch_begins(std::uint64_t batch_seconds) noexcept {
    seconds = std::max(seconds, batch_seconds);
}

void Ledger::batch_done(const Place& begin) {
    if (const auto found = segments.find(begin.number); found != segments.end()) {
        std::vector<Segment::Mark>& marks = found->second.marks;
        const std::uint64_t last = marks.empty() ? first_batch_offset : marks.back().offset;
        if (begin.offset >= last + mark_every_bytes) marks.push_back({begin.lsn, begin.offset});
    }
    if (seconds > limits_.window_seconds) ids.drop_before(seconds - limits_.window_seconds);
}

bool Ledger::add_published(std::uint64_t number, const RecordHead& head) {
    const auto known = audiences.find(head.number);
    const auto holds = segments.find(number);
    if (known == audiences.end() || holds == segments.end()) return false;
    Audience& audience = known->second;
    if (audience.last_lsn <= batch_begin_lsn) audience.last_before = audience.last_lsn;
    audience.last_lsn = head.lsn;
    audience.sequence = head.sequence;
    ++audience.count;
    Share& share = holds->second.shares[head.number];
    if (share.count == 0) share.first_lsn = head.lsn;
    share.last_lsn = head.lsn;
    ++share.count;
    share.bytes += record_bytes(head.payload_bytes);
    if ((head.flags & keep_id) != 0) ids.add({head.first, head.second}, seconds);
    return true;
}

bool Ledger::add_audience(const RecordHead& head, std::span<const std::byte> payload) {
    if (payload.size() % sizeof(Endpoint) != 0 || head.number == 0) return false;
    Audience audience;
    audience.endpoints = list_of<Endpoint>(payload);
    // An endpoint is born with the first audience that it is in; nothing before was for it.
    for (const Endpoint endpoint : audience.endpoints)
        endpoints.try_emplace(endpoint, Settled{head.lsn, {}, 0, 0});
    restore(head.number, std::move(audience));
    return true;
}

void Ledger::restore(std::uint32_t number, Audience audience) {
    const bool all_there = std::ranges::all_of(
        audience.endpoints, [&](Endpoint endpoint) { return endpoints.contains(endpoint); });
    if (all_there) by_endpoints_[audience.endpoints] = number;
    audiences[number] = std::move(audience);
    next_audience = std::max(next_audience, number + 1);
}

bool Ledger::add_settled(const RecordHead& head, std::span<const std::byte> payload) {
    if (payload.size() < 8 || payload.size() % 16 != 8) return false;
    const auto found = endpoints.find(head.first);
    if (found == endpoints.end()) return true;  // gone meanwhile
    Settled& settled = found->second;
    // Whole and not a difference, so reading it twice, or an older one late, harms nothing.
    if (head.second < settled.low) return true;
    settled.low = head.second;
    settled.count = read_as<std::uint64_t>(payload);
    settled.above.clear();
    for (const Range& range : list_of<Range>(payload.subspan(8)))
        if (range.first <= range.last) settled.above.add(range);
    return true;
}

void Ledger::forget(Endpoint endpoint) {
    endpoints.erase(endpoint);
    std::erase_if(by_endpoints_, [&](const auto& entry) {
        return std::ranges::binary_search(entry.first, endpoint);
    });
}

// Ids and positions are kept without the record that they came with.
void Ledger::doubt_what_is_known() {
    if (!ids.all().empty()) doubted_to = std::max(doubted_to, ids.all().back().seconds);
    for (auto& [lane, mark] : lanes) mark.doubted = 1;
}

bool Ledger::is_doubted(MessageId id) const noexcept {
    const std::optional<std::uint64_t> seen = ids.seen_at(id);
    return seen && *seen <= doubted_to && !accepted_losses.all().empty();
}

bool Ledger::is_doubted_lane(std::uint64_t lane) const noexcept {
    const auto found = lanes.find(lane);
    return found != lanes.end() && found->second.doubted != 0;
}

bool Ledger::is_settled(Endpoint endpoint, std::uint64_t lsn) const {
    const auto found = endpoints.find(endpoint);
    return found == endpoints.end() || lsn <= found->second.low ||
           found->second.above.contains(lsn);
}

bool Ledger::is_live(std::uint32_t audience, std::uint64_t lsn) const {
    const auto found = audiences.find(audience);
    return found != audiences.end() &&
           std::ranges::any_of(found->second.endpoints,
                               [&](Endpoint endpoint) { return !is_settled(endpoint, lsn); });
}

std::uint32_t Ledger::find_audience(const std::vector<Endpoint>& sorted) const {
    const auto found = by_endpoints_.find(sorted);
    return found == by_endpoints_.end() ? 0 : found->second;
}

bool Ledger::concerns(std::uint32_t audience, Endpoint endpoint) const {
    const auto found = audiences.find(audience);
    return found != audiences.end() &&
           std::ranges::binary_search(found->second.endpoints, endpoint);
}

std::uint64_t Ledger::backlog(Endpoint endpoint) const {
    const auto found = endpoints.find(endpoint);
    if (found == endpoints.end()) return 0;
    std::uint64_t addressed = found->second.addressed_before;
    for (const auto& [number, audience] : audiences)
        if (std::ranges::binary_search(audience.endpoints, endpoint)) addressed += audience.count;
    return addressed - std::min(addressed, found->second.count);
}

std::uint64_t Ledger::last_for(Endpoint endpoint) const {
    std::uint64_t last = 0;
    for (const auto& [number, audience] : audiences)
        if (std::ranges::binary_search(audience.endpoints, endpoint))
            last = std::max(last, audience.last_lsn);
    return last;
}

std::uint64_t Ledger::last_before_for(Endpoint endpoint) const {
    std::uint64_t last = 0;
    for (const auto& [number, audience] : audiences)
        if (std::ranges::binary_search(audience.endpoints, endpoint))
            last = std::max(last, audience.last_lsn <= batch_begin_lsn ? audience.last_lsn
                                                                       : audience.last_before);
    return last;
}

std::uint64_t Ledger::live_bytes(const Segment& segment) const {
    std::uint64_t bytes = 0;
    for (const auto& [number, share] : segment.shares) {
        const auto audience = audiences.find(number);
        if (audience == audiences.end()) continue;
        // Whoever is furthest behind keeps it alive; settled ones above the low are neglected.
        std::uint64_t left = 0;
        for (const Endpoint endpoint : audience->second.endpoints) {
            const auto settled = endpoints.find(endpoint);
            if (settled == endpoints.end() || settled->second.low >= share.last_lsn) continue;
            left =
                std::max(left, share.last_lsn - std::max(settled->second.low, share.first_lsn - 1));
        }
        const std::uint64_t all = share.last_lsn - share.first_lsn + 1;
        bytes += static_cast<std::uint64_t>(static_cast<double>(share.bytes) *
                                            static_cast<double>(left) / static_cast<double>(all));
    }
    return bytes;
}

const Segment* Ledger::first_behind(std::uint64_t lsn) const {
    for (const auto& [number, segment] : segments)
        if (!segment.closed || segment.end.lsn > lsn) return &segment;
    return nullptr;
}

void Ledger::tidy() {
    std::erase_if(audiences, [&](const auto& entry) {
        for (const auto& [number, segment] : segments)
            if (segment.shares.contains(entry.first)) return false;
        for (const Endpoint endpoint : entry.second.endpoints)
            if (const auto found = endpoints.find(endpoint); found != endpoints.end())
                found->second.addressed_before += entry.second.count;
        const auto named = by_endpoints_.find(entry.second.endpoints);
        if (named != by_endpoints_.end() && named->second == entry.first)
            by_endpoints_.erase(named);
        return true;
    });
    limit_gone_lanes();
}

// A lane that brings nothing new is remembered for the window of duplicates.
void Ledger::limit_gone_lanes() {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> gone;
    for (const auto& [lane, mark] : lanes)
        if (mark.gone != 0) gone.emplace_back(mark.seconds, lane);
    std::ranges::sort(gone);
    std::size_t most = limits_.most_gone_lanes;
    for (std::size_t index = 0; index < gone.size(); ++index) {
        const bool too_old = gone[index].first + limits_.window_seconds < seconds;
        if (too_old || gone.size() - index > most) lanes.erase(gone[index].second);
    }
}

}  // namespace shmbus::journal
