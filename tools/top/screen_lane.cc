// One lane: its ring drawn, one character for as many bytes as it takes.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "top/screens.h"
#include "wire/record.h"

namespace shmbus::top {
namespace {

// In the order in which they win where one character stands for several things.
constexpr char free_room = '.';
constexpr char done = '-';
constexpr char published = '#';
constexpr char in_hand = 'h';
constexpr char in_dead_hand = '!';

class Ring {
public:
    Ring(std::uint64_t units, std::size_t cells) : units_(units), cells_(cells, free_room) {}

    // Positions [from, end), at most once around.
    void mark(std::uint64_t from, std::uint64_t end, char with) {
        if (end <= from) return;
        from = std::max(from, end - std::min(end, units_));
        const std::uint64_t count = cells_.size();
        // Ends: each turn goes on to the next character, and all are at most one ring.
        for (std::uint64_t position = from; position < end;) {
            const std::uint64_t offset = position % units_;
            const std::uint64_t cell = offset * count / units_;
            cells_[cell] = with;
            position += (cell + 1) * units_ / count + ((cell + 1) * units_ % count != 0) - offset;
        }
    }
    [[nodiscard]] const std::string& cells() const noexcept { return cells_; }

private:
    std::uint64_t units_;
    std::string cells_;
};

[[nodiscard]] Style style_of_cell(char cell) {
    switch (cell) {
        case free_room:
            return Style::dim;
        case published:
            return Style::bar;
        case in_hand:
            return Style::good;
        case in_dead_hand:
            return Style::bad;
        default:
            return Style::plain;
    }
}

[[nodiscard]] Line styled(const std::string& cells) {
    Line line;
    for (const char cell : cells) {
        if (line.empty() || line.back().text.back() != cell)
            line.push_back({"", style_of_cell(cell)});
        line.back().text += cell;
    }
    return line;
}

[[nodiscard]] Page legend(const look::Lane& lane, std::uint64_t units, std::size_t cells) {
    Line what{{". free", Style::dim},
              {"  # waits", Style::bar},
              {"  h in a hand", Style::good},
              {"  ! in a dead one's hand", Style::bad},
              {"  - done, not given back"}};
    Line scale{{fmt::format("one character is {}", bytes_text(units * wire::unit_bytes / cells))}};
    if (!lane.is_exact) scale.push_back({"; it moves: counts are estimates", Style::dim});
    return {std::move(what), std::move(scale)};
}

// How its writer fares.
[[nodiscard]] Line writer(const Model& model, const look::Lane& lane) {
    const look::Process* const process = model.now.process(lane.writer);
    const look::LaneRates* const rates = model.rates_of_lane(lane.id);
    return {{left("writer", 11), Style::head},
            {fmt::format("{} on cpu {}  blocked {}/s  {} of its tries found it full",
                         process ? look::name_of(process->life) : "gone",
                         process && process->cpu ? std::to_string(*process->cpu) : "-",
                         rates ? count_text(rates->waits_per_s) : "-",
                         share_text(rates ? rates->refused_share() : std::nullopt))}};
}

void append_times(Page& page, const Model& model, const look::Lane& lane) {
    const look::LaneRates* const rates = model.rates_of_lane(lane.id);
    const auto add = [&](const char* what, look::Histogram look::Times::*which) {
        page.push_back(
            quantiles_line(what, rates ? &(rates->times.*which) : nullptr, lane.times.*which));
    };
    add("processing", &look::Times::processing_ns);
    add("critical", &look::Times::critical_ns);
    add("queue wait", &look::Times::wait_ns);
}

}  // namespace

Page draw_lane(const Model& model, Size size) {
    const look::Endpoint* const endpoint = model.endpoint();
    const look::Lane* const lane = model.lane();
    if (!endpoint || !lane) return {{{"this lane is not there any more", Style::warn}}};
    Page page;
    page.push_back({{"lane " + wire::lane_file(lane->id), Style::head},
                    {fmt::format("  {} -> {}  {}", plain(model.now.process_name(lane->writer)),
                                 plain(model.now.endpoint_name(*endpoint)),
                                 bytes_text(lane->capacity_bytes))}});
    page.push_back({{fmt::format(
        "written {}  waiting {}  used {} of {}  oldest {}{}", lane->messages, lane->waiting,
        bytes_text(lane->used_bytes()), bytes_text(lane->capacity_bytes),
        lane->oldest_is_at_least ? "at least " : "", span_text(lane->oldest_ns))}});
    page.push_back({{fmt::format("tail {}  head {}  given back to {}", lane->tail, lane->head,
                                 lane->reclaim)}});
    page.push_back(writer(model, *lane));
    append_times(page, model, *lane);
    if (!lane->trouble.empty()) page.push_back({{plain(lane->trouble), Style::bad}});
    const std::uint64_t units = lane->capacity_bytes / wire::unit_bytes;
    const std::size_t hands = std::min<std::size_t>(endpoint->hands.size(), 6);
    const std::size_t rows = size.rows - std::min(size.rows, page.size() + hands + 2);
    const std::size_t cells = static_cast<std::size_t>(std::min<std::uint64_t>(
        units, std::uint64_t{size.columns} * std::max<std::size_t>(rows, 1)));
    if (units == 0 || lane->sight != look::Sight::seen || cells == 0) return page;
    Ring ring(units, cells);
    ring.mark(lane->reclaim, lane->head, done);
    ring.mark(lane->head, lane->tail, published);
    Page held;
    for (const bool dead_ones : {false, true})
        for (const look::Hand& hand : endpoint->hands) {
            const look::Process* const process = model.now.process(hand.process);
            const bool is_dead = !process || process->life == look::Life::dead;
            if (hand.lane != lane->id || hand.is_taking || is_dead != dead_ones) continue;
            ring.mark(hand.from, hand.end, is_dead ? in_dead_hand : in_hand);
            held.push_back(
                {{fmt::format("hand {:>3}  {} (pid {})  {} messages, {} done, for {}", hand.index,
                              plain(model.now.process_name(hand.process)),
                              process && process->pid ? std::to_string(*process->pid) : "-",
                              hand.count, hand.done, span_text(hand.held_ns)),
                  is_dead ? Style::bad : Style::plain}});
        }
    for (Line& line : legend(*lane, units, cells)) page.push_back(std::move(line));
    for (std::size_t at = 0; at < cells; at += size.columns)
        page.push_back(styled(ring.cells().substr(at, size.columns)));
    page.insert(page.end(), held.begin(), held.end());
    return page;
}

}  // namespace shmbus::top
