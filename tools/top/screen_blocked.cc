// Who blocks this queue: the one question that is asked when something stands still.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "top/screens.h"

namespace shmbus::top {
namespace {

[[nodiscard]] std::string who(const Model& model, Reference reference) {
    const look::Process* const process = model.now.process(reference);
    std::string text = plain(model.now.process_name(reference));
    if (!process) return text;
    if (process->pid)
        text += fmt::format(" (pid {}", *process->pid);
    else
        text += " (of another machine or container";
    if (!process->program.empty()) text += ", " + plain(process->program);
    return text + ")";
}

[[nodiscard]] Page writers_that_wait(const Model& model, const look::Endpoint& endpoint) {
    Page page;
    for (const look::Lane& lane : endpoint.lanes) {
        if (!lane.wants_room) continue;
        page.push_back({{fmt::format("  {} waits for room", who(model, lane.writer)), Style::bad}});
        page.push_back({{fmt::format("    in lane {}: {} of {} used, {} messages wait",
                                     wire::lane_file(lane.id), bytes_text(lane.used_bytes()),
                                     bytes_text(lane.capacity_bytes), lane.waiting)}});
    }
    return page;
}

[[nodiscard]] Page holder(const Model& model, const look::Hand& hand) {
    const look::Process* const process = model.now.process(hand.process);
    const bool is_dead = !process || process->life == look::Life::dead;
    const std::string name =
        hand.process == 0 ? std::string("a consumer that is gone") : who(model, hand.process);
    std::string state = "    its handler is at work";
    if (is_dead)
        state = "    DEAD: the next one who opens this endpoint takes them over";
    else if (process->is_stopped)
        state = fmt::format("    STOPPED by a signal or a debugger; 'kill -CONT {}' lets it go on",
                            process->pid.value_or(0));
    const Style style = is_dead || process->is_stopped ? Style::bad : Style::plain;
    return {{{fmt::format("  {} holds {} messages for {}, {} done", name, hand.count,
                          span_text(hand.held_ns), hand.done)}},
            {{state, style}}};
}

[[nodiscard]] Page holders(const Model& model, const look::Endpoint& endpoint) {
    std::vector<const look::Hand*> hands;
    for (const look::Hand& hand : endpoint.hands)
        if (!hand.is_taking && hand.count > hand.done) hands.push_back(&hand);
    // Who has held on longest blocks most.
    std::stable_sort(hands.begin(), hands.end(), [](const look::Hand* a, const look::Hand* b) {
        return a->held_ns.value_or(0) > b->held_ns.value_or(0);
    });
    Page page;
    for (const look::Hand* const hand : hands)
        for (Line& line : holder(model, *hand)) page.push_back(std::move(line));
    return page;
}

// Those that could take what waits.
[[nodiscard]] Page idle_consumers(const Model& model, const look::Endpoint& endpoint) {
    Page page;
    for (const look::Consumer& consumer : endpoint.consumers) {
        const look::Process* const process = model.now.process(consumer.process);
        const bool holds =
            std::any_of(endpoint.hands.begin(), endpoint.hands.end(), [&](const look::Hand& hand) {
                return hand.owner == consumer.slot && !hand.is_taking && hand.count > hand.done;
            });
        if (holds || !process || process->life == look::Life::dead) continue;
        page.push_back({{fmt::format("  {} holds nothing", who(model, consumer.process))}});
        if (process->is_stopped)
            page.push_back({{fmt::format("    STOPPED by a signal or a debugger; 'kill -CONT {}' "
                                         "lets it go on",
                                         process->pid.value_or(0)),
                             Style::bad}});
    }
    return page;
}

[[nodiscard]] Line verdict(const Model& model, const look::Endpoint& endpoint) {
    if (endpoint.is_damaged())
        return {{"something of it is damaged: see its lanes (Enter)", Style::bad}};
    if (endpoint.kind == directory::EndpointKind::journal) {
        if (model.now.daemon.life == look::Life::dead)
            return {{"there is no daemon, and it alone writes the journal", Style::bad}};
        if (model.now.journal.condition != 0)
            return {{std::string("the journal is out of service: ") +
                         look::name_of_condition(model.now.journal.condition),
                     Style::bad}};
        return {{endpoint.is_full() ? "the disk is slower than the senders" : "nobody",
                 endpoint.is_full() ? Style::warn : Style::good}};
    }
    if (endpoint.depth() == 0) return {{"nobody: it is empty", Style::good}};
    if (state_of(model, endpoint) == State::deserted || endpoint.consumers.empty())
        return {{fmt::format("nobody reads it: {} messages wait for a process that opens it",
                             endpoint.depth()),
                 Style::bad}};
    const std::uint64_t held = endpoint.in_hand();
    return {
        {fmt::format("{} messages wait, {} are in hands; who reads it, the longest holders first:",
                     endpoint.waiting(), held),
         held > 0 ? Style::warn : Style::plain}};
}

}  // namespace

Page draw_blocked(const Model& model, Size) {
    const look::Endpoint* const endpoint = model.endpoint();
    if (!endpoint) return {{{"this endpoint is not there any more", Style::warn}}};
    Page page{{{"who blocks ", Style::head},
               {plain(model.now.endpoint_name(*endpoint)), Style::head},
               {"?", Style::head}},
              verdict(model, *endpoint)};
    const Page held = holders(model, *endpoint);
    page.insert(page.end(), held.begin(), held.end());
    const Page idle = endpoint->depth() > 0 ? idle_consumers(model, *endpoint) : Page{};
    page.insert(page.end(), idle.begin(), idle.end());
    const Page waiting = writers_that_wait(model, *endpoint);
    page.push_back({});
    page.push_back({{"who is blocked by it?", Style::head}});
    page.insert(page.end(), waiting.begin(), waiting.end());
    if (waiting.empty()) page.push_back({{"nobody waits for room", Style::dim}});
    return page;
}

}  // namespace shmbus::top
