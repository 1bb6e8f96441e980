// Takes the messages that are meant out of an endpoint, however many stand in front of them.
//
// What is not meant stays in our hands, and goes back when this process leaves. Those for which
// there is no hand are sent behind the others at once: before they are let go, like what is sent
// anywhere, so that a death between may leave one twice, marked, and never none.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cli/stock.h"

namespace shmbus::cli {

// How long the lanes of a process have to be that sends on what is in this endpoint: a message may
// take a quarter of one. When it picks some out, all that is there may be sent behind the others.
enum class Sends : std::uint8_t { all, some };
[[nodiscard]] std::size_t lane_bytes_to_send_on(const Common& common, const std::string& endpoint,
                                                Sends sends);

struct Picked {
    std::uint64_t count = 0;
    // Some that are meant may not have been reached: see Stock::is_cut.
    bool is_cut = false;
};
// At most `most`. `doing` says which are meant and what is done to them.
[[nodiscard]] Picked pick(Member& member, const std::string& endpoint, std::uint64_t most,
                          Doing doing);
// Behind what was said of those that were done; throws Trouble when some were not reached.
void require_all(const Picked& picked, const std::string& endpoint);

}  // namespace shmbus::cli
