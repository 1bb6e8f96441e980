// What is measured over a way: round trips, streams, wakes. Each forks its crew and runs a slice.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "peers/way.h"

#include <chrono>
#include <cstddef>
#include <span>
#include <stdexcept>

namespace shmbus::bench {

// Connecting, a slow machine, what lies in queues: before and behind the slice.
inline constexpr std::chrono::milliseconds way_patience{30'000};

// There and back over two ways.
Sample way_round_trips(const MakeWay& make, std::size_t bytes, Waiting waiting,
                       std::chrono::milliseconds span);

// How a stream is sent, to how many.
struct Course {
    std::size_t receivers = 1;
    bool packed = false;
};

// One to one or to many; the slowest receiver counts.
Sample way_stream(const MakeWay& make, Course course, std::size_t bytes, Waiting waiting,
                  std::chrono::milliseconds span);

// From the sender's stamp to a receiver that was really asleep.
Sample way_wakes(const MakeWay& make, std::chrono::milliseconds span);

// Calls `use` with each message until it returns false. The way's receiver may not give out parts.
template <std::size_t size, typename Use>
void receive_until(Receiver& receiver, Waiting waiting, Use use) {
    for (;;) {
        const std::span<const std::byte> got = receiver.receive();
        if (got.size() % size != 0) throw std::runtime_error("a message of another size came");
        if (got.empty() && waiting != Waiting::sleeping) stay_away(waiting);
        for (std::size_t at = 0; at < got.size(); at += size)
            if (!use(got.data() + at)) return;
    }
}

}  // namespace shmbus::bench
