// shmbus failed retry: messages out of the error endpoint, and how they are taken there.
//
// Each is sent on, or written down, before it is let go. Killed between, it is there once more and
// may come twice: transient ones marked as repeated, durable ones not even that, because the
// journal knows them. How those are passed over that are not meant: pick.h.
//
// SPDX-License-Identifier: BSL-1.0
#include <optional>

#include <fmt/core.h>

#include "cli/failed.h"
#include "cli/pace.h"
#include "cli/send_on.h"
#include "cli/stock.h"
#include "cli/trouble.h"

namespace shmbus::cli {

std::size_t lane_bytes_for(const Common& common, const FailedLine& line) {
    return lane_bytes_to_send_on(common, line.endpoint, line.all ? Sends::all : Sends::some);
}

void require_selection(const FailedLine& line, const char* verb) {
    if (line.id.empty() && line.type.empty() && line.reason.empty() && line.failed_at.empty() &&
        !line.all)
        throw Trouble(Exit::usage, std::string("say which messages to ") + verb, "",
                      std::string("shmbus failed ") + verb +
                          " ID, --type, --reason, --failed-at or --all");
}

void tell_of_meant(const Common& common, const char* command, const Meant& meant,
                   const std::string& would) {
    done(command, true)
        .add("messages", meant.count)
        .add("on_disk", meant.on_disk)
        .tell(common, would + " " + meant.text());
}

Meant require_some(const Common& common, const FailedLine& line, const char* verb) {
    require_selection(line, verb);
    const OpenBus bus(common);
    Meant meant;
    meant.on_disk = failed_on_disk(bus, line);
    for_each_failed(bus, line, [&](const SeenMessage&) { return ++meant.count != 0; });
    if (meant.count == 0 && meant.on_disk == 0 && !line.all) no_such_failed(line);
    if (meant.count > 1 && !line.id.empty())
        throw Trouble(Exit::usage, fmt::format("{} messages have ids that begin with {}",
                                               meant.count, line.id),
                      "an event that failed at two endpoints is there twice",
                      "shmbus failed ls shows them whole; --failed-at tells two with one id apart");
    return meant;
}

namespace {

// Where it failed, or who handles its type now if that endpoint is gone.
[[nodiscard]] std::optional<detail::EndpointHandle> way_back(const OpenBus& bus,
                                                             const SeenMessage& message) {
    if ((message.meta.flags & wire::has_failure) != 0)
        if (const auto there = bus.reader().endpoint(message.extensions.failure.endpoint);
            there && wire::is_failed_at(message.extensions.failure, there->index,
                                        there->row.generation))
            return detail::EndpointHandle{there->index, there->row.generation};
    const std::uint32_t route = bus.reader().route(message.meta.type);
    if (route != 0)
        if (const auto there = bus.reader().endpoint(route))
            return detail::EndpointHandle{there->index, there->row.generation};
    return std::nullopt;
}

[[noreturn]] void no_way_back(const std::string& which) {
    throw Trouble(Exit::unavailable, "the endpoint where " + which + " failed is gone",
                  "it was removed", "name another one with --to", "no_endpoint");
}

}  // namespace

void retry_failed(const Common& common, const FailedLine& line) {
    const Meant meant = require_some(common, line, "retry");
    if (line.dry_run) return tell_of_meant(common, "failed retry", meant, "would retry");
    const auto tell = [&](std::uint64_t count) {
        done("failed retry")
            .add("messages", count)
            .tell(common, fmt::format("sent back {} messages", count));
    };
    const OpenBus bus(common);
    if (has_none_yet(bus, line)) {
        // A name that is misspelt is told of all the same.
        if (!line.to.empty()) static_cast<void>(bus.endpoint(line.to));
        return tell(0);
    }
    Member member(common, lane_bytes_for(common, line));
    const auto from = member.endpoint(line.endpoint);
    std::optional<detail::EndpointHandle> named;
    if (!line.to.empty()) named = member.receiver(line.to);
    Pace pace(line.rate);
    const auto target_of = [&](const SeenMessage& message) {
        return named ? named : way_back(member.bus(), message);
    };
    const auto send_back = [&](const SeenMessage& message, bool is_again) {
        pace.keep();
        const auto to = target_of(message);
        if (!to) no_way_back("message " + message.id.text());
        send_on(member, message, {.to = *to, .from = from, .may_be_repeated = is_again});
    };
    const WantedFailed wanted(member.bus(), line);
    // Those without a way back hold up no other.
    const auto can_go = [&](const SeenMessage& message) {
        return wanted(message) && target_of(message).has_value();
    };
    const Picked picked = pick(member, line.endpoint, meant.most(),
                               {can_go, send_back, [&] { wait_until_on_disk(member); }});
    std::uint64_t stay = 0;
    for_each_failed(member.bus(), line, [&](const SeenMessage& message) {
        if (!target_of(message)) ++stay;
        return true;
    });
    if (picked.count == 0 && meant.count > stay && !picked.is_cut)
        throw Trouble(Exit::try_later, "another process holds these messages", "",
                      "shmbus endpoint show " + line.endpoint, "in_hand");
    tell(picked.count);
    if (stay != 0) no_way_back(fmt::format("{} more", stay));
    require_all(picked, line.endpoint);
}

}  // namespace shmbus::cli
