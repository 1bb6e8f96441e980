// A memory barrier paid by the side that waits instead of the side that goes on.
//
// A writer that registers here needs no fence between publishing and looking whether anybody
// sleeps: a reader that announces its sleep calls global_barrier() before it looks a last time. So
// does a writer that waits for room, and consumers, registered too, need no fence between letting
// go of a hand and looking whether anybody waits (WISHED in src/lane). Both sides store, then look
// at what the other stored; one must see.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace shmbus::base {

// Whether this kernel has MEMBARRIER_CMD_GLOBAL_EXPEDITED (4.16). Asked once per process.
[[nodiscard]] bool barrier_available() noexcept;

// For who goes on, before the first store that counts: from here on global_barrier() of any
// process reaches all threads of this one. False when it cannot; then it issues a seq_cst fence
// itself. Lost by exec, kept by fork.
[[nodiscard]] bool register_for_global_barrier() noexcept;

// For who waits: when this returns true, every running thread of every registered process has
// passed a full barrier. Takes microseconds. False when unavailable.
[[nodiscard]] bool global_barrier() noexcept;

}  // namespace shmbus::base
