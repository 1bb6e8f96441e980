// A memory barrier paid by the side that goes to sleep instead of the side that writes.
//
// A writer that registers here needs no fence between publishing and looking whether anybody
// sleeps: a reader that announces its sleep calls global_barrier() before it looks a last time.
// Edge ASLEEP in src/lane: both sides store, then look at what the other stored; one must see.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace shmbus::base {

// Whether this kernel has MEMBARRIER_CMD_GLOBAL_EXPEDITED (4.16). Asked once per process.
[[nodiscard]] bool barrier_available() noexcept;

// For writers, before the first publish: from here on global_barrier() of any process reaches all
// threads of this one. False when it cannot; then the writer issues a seq_cst fence itself. Lost
// by exec, kept by fork.
[[nodiscard]] bool register_for_global_barrier() noexcept;

// For sleepers: when this returns true, every running thread of every registered process has
// passed a full barrier. Takes microseconds. False when unavailable.
[[nodiscard]] bool global_barrier() noexcept;

}  // namespace shmbus::base
