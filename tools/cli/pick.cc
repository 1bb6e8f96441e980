// Taking those that are meant. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/pick.h"

#include <bit>
#include <utility>

#include "cli/send_on.h"
#include "cli/trouble.h"

namespace shmbus::cli {

std::size_t pick_lane_bytes(const Common& common, const std::string& endpoint) {
    const OpenBus bus(common);
    const look::Snapshot all = bus.look();
    const look::Endpoint& seen = bus.endpoint(all, endpoint);
    std::uint64_t used_bytes = 0;
    for (const look::Lane& lane : seen.lanes) used_bytes += lane.used_bytes();
    // A message may come round again before the room of its first place is free.
    const std::uint64_t needed = std::bit_ceil(2 * used_bytes);
    return needed <= seen.lane_bytes ? 0 : needed;
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
                  "its begin; or the daemon, which brings them, has died",
                  "shmbus endpoint show " + endpoint);
}

}  // namespace shmbus::cli
