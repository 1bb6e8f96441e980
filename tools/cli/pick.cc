// Taking those that are meant. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/pick.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "cli/send_on.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

// Lanes are seldom shorter than the first, and as long as the second when nobody says otherwise.
constexpr std::uint64_t least_lane_bytes = 16'384;
constexpr std::uint64_t usual_lane_bytes = 1 << 20;
// What a record has besides its payload, at most.
constexpr std::uint64_t most_head_bytes = 512;

// In which the longest message of it fits, of those that are seen: for longer ones on disk send_on
// opens another lane when they come.
[[nodiscard]] std::uint64_t lane_for_longest(const OpenBus& bus, const look::Endpoint& seen) {
    std::uint64_t longest = 0;
    SeenEndpoint(bus, bus.endpoint(seen.name)).for_each([&](const SeenMessage& message) {
        longest = std::max<std::uint64_t>(longest, message.payload.size());
        return true;
    });
    return std::bit_ceil(4 * (longest + most_head_bytes));
}

}  // namespace

std::size_t lane_bytes_to_send_on(const Common& common, const std::string& endpoint, Sends sends) {
    const OpenBus bus(common);
    const look::Snapshot all = bus.look();
    const look::Endpoint& seen = bus.endpoint(all, endpoint);
    const std::uint64_t usual = std::max<std::uint64_t>(seen.lane_bytes, usual_lane_bytes);
    const std::uint64_t longest = lane_for_longest(bus, seen);
    std::uint64_t needed = longest <= least_lane_bytes ? 0 : std::max(longest, usual);
    if (sends == Sends::all) return needed;
    std::uint64_t used_bytes = 0;
    for (const look::Lane& lane : seen.lanes) used_bytes += lane.used_bytes();
    // A message may come round again before the room of its first place is free.
    const std::uint64_t round = std::bit_ceil(2 * used_bytes);
    return round <= seen.lane_bytes ? needed : std::max(needed, round);
}

Picked pick(Member& member, const std::string& endpoint, std::uint64_t most, Doing doing) {
    const auto here = member.endpoint(endpoint);
    Stock stock(member, member.bus().endpoint(endpoint));
    doing.put_behind = [&](const SeenMessage& message, bool is_again) {
        send_on(member, message,
                {.to = here, .from = here, .keeps_failure = true, .may_be_repeated = is_again});
    };
    const std::uint64_t count = take_wanted(stock, most, doing);
    return {count, stock.is_cut() && count < most};
}

void require_all(const Picked& picked, const std::string& endpoint) {
    if (!picked.is_cut) return;
    throw Trouble(Exit::try_later,
                  "some messages that are meant wait on disk and were not reached",
                  "there is no room for them in the lane: another process holds what stands at "
                  "its begin; or in the memory of the bus for a lane; or the daemon, which brings "
                  "them, has died",
                  "shmbus endpoint show " + endpoint + "; shmbus doctor");
}

}  // namespace shmbus::cli
