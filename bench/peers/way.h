// What a peer has to bring to be measured: a way for messages from one process to others.
//
// `way_measures.h` is what runs over it; a peer's own file says only how it sends and receives.
// Calls through virtual functions cost a nanosecond or two, no peer less than a hundred.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "peer.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace shmbus::bench {

// What an end does when there is nothing to receive, or no room to send.
enum class Waiting { spinning, yielding, sleeping };

// Spins or yields once. A sleeping end sleeps in its own call and never gets here.
void stay_away(Waiting waiting) noexcept;

// Lives in the sender's process.
class Sender {
public:
    virtual ~Sender() = default;
    // Hands over `count` messages that lie one behind the other, and waits for room. One that must
    // know its receivers first waits for them in its first call. Throws if it cannot go on.
    virtual void send(const std::byte* messages, std::size_t count) = 0;
};

// Lives in a receiver's process.
class Receiver {
public:
    virtual ~Receiver() = default;
    // Whole messages that have come, valid until the next call. Empty if there are none; a sleeping
    // receiver sleeps instead.
    virtual std::span<const std::byte> receive() = 0;
};

// Made by the parent before it forks; opens no thread and no library there. Senders are made
// before receivers, all of them before the first message.
class Way {
public:
    virtual ~Way() = default;
    virtual std::unique_ptr<Sender> sender(Waiting waiting) = 0;
    virtual std::unique_ptr<Receiver> receiver(std::size_t index, Waiting waiting) = 0;
};

// A way for messages of `bytes` to so many receivers, each of which gets all of them.
using MakeWay =
    std::function<std::unique_ptr<Way>(std::size_t bytes, std::size_t receivers)>;

// Fills in pingpong, oneway, wakeup and fanout.
void run_over(Peer& peer, const MakeWay& make);
// Packed streams, for peers that can be handed many messages at once.
void pack_over(Peer& peer, const MakeWay& make);

}  // namespace shmbus::bench
