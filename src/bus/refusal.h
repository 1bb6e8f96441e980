// The details of this thread's latest refusal, and refusing in one line.
//
// Used by the slow halves of all calls, in the calling thread.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/result.h>

#include <string_view>

namespace shmbus::detail {

// The calling thread's details, emptied. They live as long as the thread.
[[nodiscard]] Refusal& fresh_refusal() noexcept;

// An error with one sentence, which may be that of an earlier refusal.
[[nodiscard]] Error refuse(ErrorCode code, std::string_view reason);

}  // namespace shmbus::detail
