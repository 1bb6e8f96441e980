// The bus as a contestant: through its public typed API alone, with the guarantees it has by
// default, polled.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shmbus::bench {

// A command there, a command back from its handler. `idle_lanes` senders have once said hello to
// the answerer and are silent since. Payloads of 32 and 1024 bytes.
Contestant bus_round_trip(std::size_t payload_bytes, std::size_t idle_lanes = 0);

// Commands from one process to one handler. Payloads of any power of two from 32 to 1 MiB.
Contestant bus_stream(std::size_t payload_bytes);

// The same with 64 commands of 32 bytes to a call of send_batch.
Contestant bus_packed_stream();

// One end of a stream of 32 bytes whose ends take turns on one core.
Contestant bus_on_one_core(Half half);

// Three sending processes on one core, one handler on the other; 32 bytes.
Contestant bus_three_to_one();

// The same contestant, whose processes count and time nothing for others to see.
Contestant without_metrics(Contestant measured);

// Events of 32 bytes from one process on one core to so many subscribers, at most 64, on the other.
// The rate is that of the slowest subscriber.
Contestant bus_fanout(std::size_t subscribers);

// Open loop: 32-byte commands at a fixed rate, each counted from the moment when it was due.
Contestant bus_at_rate(std::size_t per_second);

// So many senders on one core to so many competing consumers of one endpoint on the other.
Contestant bus_consumers(std::size_t senders, std::size_t consumers);

// A request and its reply, as `request(...).wait()` has them.
Contestant bus_request();

// So many durable messages of 256 bytes pile up on disk, then a handler gets them all: the most
// memory that the daemon ever had, and `allowed_bytes` on top for a limit.
Contestant bus_daemon_memory(std::uint64_t backlog, std::uint64_t allowed_bytes);

// Filling a lane that nobody reads, and emptying it afterwards: the rate of the one or the other.
enum class Backlog { build, drain };
Contestant bus_backlog(Backlog phase);

// 10,000 events a second to three subscribers that sleep in between: their latency, beside a
// fourth one that is too slow, or without it.
Contestant bus_beside_slow(bool with_slow);

// A stream of commands while the daemon is killed and started again: the gaps between two handled.
// Durable ones need the daemon for each, transient ones for none.
Contestant bus_restart(bool durable);

// Everything at once for long: commands at a moderate rate; memory may not grow.
Contestant bus_soak();

// Round trips of 32 bytes while a third process has as many durable messages of 256 bytes on their
// way as its lane holds, or none.
Contestant bus_beside_journal(bool saturated);

// From the stamp in a command to its handler's first look at the clock, the handler's process
// asleep before.
Contestant bus_wakeup();

// From the SIGKILL of a consumer inside its handler to the start of the handler in the other
// consumer, which sleeps.
Contestant bus_redelivery();

// The limit of that: from a SIGKILL to the return of a poll on the victim's pidfd.
Contestant death_notice();

// Durable commands to one handler, so many without a receipt at a time: from sending to the
// receipt. Payloads of 256 and 65536 bytes.
Contestant bus_durable(std::size_t payload_bytes, std::size_t in_flight);

// A journal of so many bytes that nobody has handled: how fast a daemon starts on it, and how fast
// `shmbus journal verify` reads all of it, beside a plain reading of its files. Rates in bytes.
std::vector<Comparison> recovery_comparisons(std::size_t journal_bytes);

}  // namespace shmbus::bench
