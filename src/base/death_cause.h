// By which signal a dead process ended, as far as the kernel still tells.
//
// Called by whoever adopts a dead process's messages, to name the signal in reports. Best effort:
// nothing is decided by the answer.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <optional>

#include <sys/types.h>

#include "base/file.h"

namespace shmbus::base {

// A handle that names this very process even after its number is used again. Empty File when
// there is no such process or the kernel (before 5.3) has no such handles.
[[nodiscard]] File open_process(pid_t pid) noexcept;

// The signal that ended the process, 0 when it exited by itself, nothing when nobody knows:
// asks the pidfd (Linux 6.15 and later keep the answer there), else reads /proc while the process
// is a zombie. `pidfd` may be empty. Our own children are not reaped by this.
[[nodiscard]] std::optional<int> signal_of_dead(pid_t pid, const File& pidfd) noexcept;

}  // namespace shmbus::base
