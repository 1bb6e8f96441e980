// What the hardware and the kernel charge at least: the figures that everything is compared with.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <cstddef>

namespace shmbus::bench {

inline constexpr std::size_t mebibyte = std::size_t{1} << 20;

// A stream of messages through one bare ring, from one process to another. Payloads of any power
// of two from 32 to 1 MiB.
Contestant bare_stream(std::size_t payload_bytes, std::size_t ring_bytes);

// The same, 32 bytes through 1 MiB, by a writer that also stores a word in each of 1, 2 or 4 lines
// of its own with every message.
Contestant bare_stream_beside(unsigned other_lines);

// One message there and back through two bare rings. Each side computes for `work` between what it
// has read and what it writes.
Contestant bare_round_trip(std::size_t payload_bytes, std::chrono::nanoseconds work = {});

// One end of a stream of 32 bytes whose ends take turns on one core, through a bare ring.
Contestant bare_on_one_core(Half half);

// A stream at a fixed rate through a bare ring of 1 MiB: see open_loop.h.
Contestant bare_at_rate(std::size_t per_second);

// Three processes on one core, a bare ring of 1 MiB each, to one reader on the other core.
Contestant bare_three_to_one(std::size_t payload_bytes);

// From the waker's stamp to the sleeper's first look at the clock, the sleeper really asleep.
Contestant futex_wake();

// Two processes that wake each other in turn.
Contestant futex_round_trip();

// 64 KiB copied from one place to another that both stay in cache, on one core.
Contestant copy_in_cache();

// A process that only looks at the clock: what it misses, no software can be blamed for. The
// latency is the time between two looks, the rate counts gaps of more than 1 ms.
Contestant machine_pauses();

}  // namespace shmbus::bench
