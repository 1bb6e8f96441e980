// What a durable peer has to bring to be measured: a store that takes messages and says when they
// are on disk.
//
// `stores.cc` runs the durable ladder over it, and reads everything back afterwards.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "peer.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace shmbus::bench {

inline constexpr std::size_t stored_bytes = 256;

// Lives in the sending process, and again in the same one for reading back.
class Store {
public:
    virtual ~Store() = default;
    // Hands over a message of stored_bytes; it may lie in a buffer until acknowledged() is called.
    virtual void send(const std::byte* message) = 0;
    // Waits until something more is on disk: how many messages, the oldest ones first.
    virtual std::size_t acknowledged() = 0;
    // Calls `use` with everything that is kept, in the order in which it was sent. `count`: how
    // many are expected, for stores that can only be asked for the next.
    virtual void read_back(std::uint64_t count,
                           const std::function<void(const std::byte*)>& use) = 0;
};

// What a store needs to run: a server, a port. Held by the parent for as long as it is measured.
class StoreHouse {
public:
    virtual ~StoreHouse() = default;
    // For the sending process: a new connection each time.
    virtual std::unique_ptr<Store> open() = 0;
};

// A house in a folder on the measured disk.
using MakeHouse = std::function<std::unique_ptr<StoreHouse>(const std::string& folder)>;

void keep_in(Peer& peer, const MakeHouse& make);

}  // namespace shmbus::bench
