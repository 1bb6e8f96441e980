// shmbus sub: which endpoint gets which event.
//
// SPDX-License-Identifier: BSL-1.0
#include <memory>
#include <optional>

#include "cli/listing.h"
#include "cli/member.h"
#include "cli/nouns.h"
#include "cli/open_bus.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

struct SubscriptionLine {
    std::string endpoint;
    std::string event;
    std::string when_full;
    bool dry_run = false;
};

// A subscription is orphaned when no living process has its endpoint open: what comes, stays.
void list_subscriptions(const Common& common) {
    const OpenBus bus(common);
    // In the order of the words of `sub add` and `sub rm`.
    Listing listing("shmbus.subscription_list/1", {"endpoint", "event", "when_full", "orphaned"});
    const look::Snapshot seen = bus.look();
    for (const look::Subscription& one : seen.subscriptions) {
        const look::Endpoint* const endpoint = seen.endpoint_at(one.endpoint);
        // Went away meanwhile.
        if (seen.type(one.event) == nullptr || endpoint == nullptr) continue;
        const bool is_served = seen.is_served(*endpoint);
        listing.add({endpoint->name, seen.type_name(one.event),
                     name_of(static_cast<WhenFull>(one.when_full)), !is_served},
                    is_served ? Paint::plain : Paint::warning);
    }
    listing.print(common);
}

[[nodiscard]] std::optional<WhenFull> policy_of(const std::string& text) {
    for (const WhenFull one : {WhenFull::refuse, WhenFull::wait, WhenFull::drop_newest,
                               WhenFull::drop_oldest})
        if (text == name_of(one)) return one;
    return std::nullopt;
}

struct Pair {
    detail::EndpointHandle endpoint;
    std::uint32_t event;
};
[[nodiscard]] Pair pair_of(const Common& common, const SubscriptionLine& line) {
    const OpenBus bus(common);
    const auto endpoint = bus.endpoint(line.endpoint);
    const auto type = bus.type(line.event);
    if (type.row.kind != static_cast<std::uint8_t>(Kind::event))
        throw Trouble(Exit::usage, "\"" + line.event + "\" is " +
                                       one_of_kind(type.row.kind) + ", not an event",
                      "only events are subscribed to; a command goes to who handles it",
                      "shmbus type show " + line.event);
    return {{endpoint.index, endpoint.row.generation}, type.index};
}

void add_subscription(const Common& common, const SubscriptionLine& line) {
    const auto session = join(common);
    const Pair pair = pair_of(common, line);
    require(session->subscribe(pair.endpoint, pair.event, policy_of(line.when_full)),
            "subscribing " + line.endpoint + " to " + line.event);
    done("sub add")
        .add("endpoint", line.endpoint)
        .add("event", line.event)
        .tell(common, "endpoint " + line.endpoint + " gets " + line.event + " from now on");
}

void remove_subscription(const Common& common, const SubscriptionLine& line) {
    const Pair pair = pair_of(common, line);
    bool is_there = false;
    for (const auto& row : OpenBus(common).subscriptions())
        is_there = is_there || (row.endpoint == pair.endpoint.index && row.event == pair.event);
    if (!is_there)
        throw Trouble(Exit::unknown_name,
                      "endpoint " + line.endpoint + " is not subscribed to " + line.event,
                      "it may get it as one of its base events, under that one's name",
                      "shmbus sub ls");
    Facts facts = done("sub rm", line.dry_run);
    facts.add("endpoint", line.endpoint).add("event", line.event);
    if (line.dry_run)
        return facts.tell(common, "would end the subscription of " + line.endpoint + " to " +
                                      line.event);
    require(join(common)->unsubscribe(pair.endpoint, pair.event),
            "ending the subscription of " + line.endpoint + " to " + line.event);
    facts.tell(common, "endpoint " + line.endpoint + " gets no " + line.event + " any more");
}

}  // namespace

void add_subscription_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<SubscriptionLine>();
    const Command sub = app.add("sub", "Subscriptions").needs_command();
    sub.add("ls", "List them; orphaned: no living process has the endpoint open")
        .runs([&common] { list_subscriptions(common); });
    const auto add_pair = [line](const Command& command) {
        command.option("endpoint", line->endpoint, "Who gets it").required();
        command.option("event", line->event, "What: the name of an event").required();
    };
    const Command add = sub.add("add", "The endpoint gets the event from now on");
    add_pair(add);
    add.option("--when-full", line->when_full,
                    "What publishers do when it is behind; default: as the endpoint says")
        .one_of({"refuse", "wait", "drop_newest", "drop_oldest"});
    add.runs([&common, line] { add_subscription(common, *line); });
    const Command remove = sub.add("rm", "The endpoint gets it no more");
    add_pair(remove);
    remove.flag("--dry-run", line->dry_run, "Only say what would be done");
    remove.runs([&common, line] { remove_subscription(common, *line); });
}

}  // namespace shmbus::cli
