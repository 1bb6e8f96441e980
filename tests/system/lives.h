// The lives that a storm takes: what a sender and a receiver do until they are killed.
//
// Both run in forked processes, through the public interface alone, and write down each fact in the
// ledger before they go on.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>

#include "system/board.h"

namespace shmbus::test {

enum class Fault : std::uint8_t { none, loss, duplicate };

// Where the storm takes place, the same for everybody.
struct Sky {
    std::string bus;
    std::string ledger;
    Fault planted = Fault::none;  // made up by a receiver: the account must find it
    bool has_watch = false;       // events go to the endpoint "watch" as well as to "storm"
};

// How a life ends.
enum class Ending : std::uint8_t {
    by_others,        // goes on until it is killed
    by_own_hand,      // SIGKILL to itself: a receiver in its handler, a sender with an open loan
    in_peace,         // leaves the bus properly
    when_sent_home,   // goes on until go_home
};

struct Life {
    std::uint32_t name = 0;  // never used twice
    std::uint64_t seed = 0;
    Ending ending = Ending::by_others;
    std::uint32_t messages = 0;  // sent or handled before the end comes
    std::uint32_t threads = 1;   // that handle
    bool watches = false;        // receives at "watch", where events alone come
};

// Makes the endpoints and subscribes them, before anybody sends.
void prepare_endpoints(const Sky& sky);
// Both return the exit status of the process, or do not return.
int live_as_sender(const Sky& sky, const Life& life, Board& board, Place& place);
int live_as_receiver(const Sky& sky, const Life& life, Board& board, Place& place);

}  // namespace shmbus::test
