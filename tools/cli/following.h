// What comes to an endpoint, read without taking it, and how much of it was missed.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "cli/seen.h"

namespace shmbus::cli {

class Following {
public:
    // Who is told: of each message, lane by lane, and of how many cannot be shown any more.
    struct Told {
        std::function<void(SeenMessage&& message)> message;
        std::function<void(std::uint64_t count)> missed;
    };
    // `bus` outlives this. Throws Trouble or SetupError.
    Following(const OpenBus& bus, const directory::Endpoint& endpoint, Told told);

    // What has come since the last time; at first what still stands there. True when there was
    // something.
    bool read();
    // When nothing was read: what came and went unseen. True when there was something.
    bool count_unseen();

private:
    // One lane: where to read on, and which message of the lane that is.
    struct Followed {
        lane::LaneOnlooker* lane = nullptr;
        std::uint64_t position = 0;
        std::uint64_t number = 0;
    };
    void find_lanes();
    static void begin(Followed& followed, std::uint64_t position);
    bool read(Followed& followed);
    bool catch_up(Followed& followed);
    void missed(std::uint64_t count);

    SeenEndpoint seen_;
    Told told_;
    std::map<std::uint64_t, Followed> followed_;
    std::uint64_t known_ = 0;   // messages that were read or found missed
    std::uint64_t ever_ = 0;    // of the endpoint, at the last quiet look
    std::uint64_t before_ = 0;  // of them, before we began
    bool is_counting_ = false;
};

}  // namespace shmbus::cli
