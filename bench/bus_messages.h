// The messages of the bus scenarios: cargo with a name.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "cargo.h"

#include <shmbus/message.h>

namespace shmbus::bench {

// One measurement uses one size, and each has a bus of its own: the names need not tell the size.
template <std::size_t size>
struct Parcel : Cargo<size> {
    static constexpr auto message = shmbus::command("bench.parcel", shmbus::transient);
};

template <std::size_t size>
struct Ping : Cargo<size> {
    static constexpr auto message = shmbus::command("bench.ping", shmbus::transient);
};

template <std::size_t size>
struct Pong : Cargo<size> {
    static constexpr auto message = shmbus::command("bench.pong", shmbus::transient);
};

struct Answer : Cargo<32> {
    static constexpr auto message = shmbus::reply("bench.answer", shmbus::transient);
};

struct Question : Cargo<32> {
    static constexpr auto message = shmbus::command("bench.question", shmbus::transient);
    using reply = Answer;
};

template <std::size_t size>
struct News : Cargo<size> {
    static constexpr auto message = shmbus::event("bench.news", shmbus::transient);
};

// To be kept on disk.
template <std::size_t size>
struct Kept : Cargo<size> {
    static constexpr auto message = shmbus::command("bench.kept", shmbus::durable);
};

// Sent once by each idle lane, to bring it into being.
struct Hello {
    static constexpr auto message = shmbus::command("bench.hello", shmbus::transient);
    std::uint64_t sender;
};

// Wakes a sleeping handler.
struct Wake {
    static constexpr auto message = shmbus::command("bench.wake", shmbus::transient);
    std::uint64_t number;
    std::uint64_t sent_ticks;
    std::uint64_t last;  // 1: the handler's endpoint shall stop
    std::uint64_t unused;
};

// To be held by a consumer when it is killed.
struct Burden {
    static constexpr auto message = shmbus::command("bench.burden", shmbus::transient);
    std::uint64_t number;
    std::uint64_t unused[3];
};

static_assert(sizeof(Parcel<32>) == 32 && sizeof(News<1024>) == 1024 && sizeof(Wake) == 32 &&
              sizeof(Burden) == 32);

}  // namespace shmbus::bench
