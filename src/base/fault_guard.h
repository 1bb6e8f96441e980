// Survives a mapped file that somebody shortens: the reader sees zeros and a flag, not a crash.
//
// Called at set-up, once per mapped file that others could truncate. The SIGBUS handler lives in
// the process as long as at least one guard does, and passes on every fault that is not ours to
// the handler that was there before. A host program that installs its own handler later keeps it;
// if that one does not pass faults on to ours, the protection is off and nothing else changes.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <cstddef>

namespace shmbus::base {

// Guards [begin, begin + bytes). When an access in it finds no file behind the page, `lost` is
// set and the whole range becomes private zeros; the access is then repeated and succeeds. Readers
// look at `lost` before they believe what they read: edge LOST, other end in the handler; the flag
// is loaded with acquire, or relaxed behind an acquire load from the range. `lost` and the mapping
// outlive the guard. Moves, does not copy.
class FaultGuard {
public:
    FaultGuard() noexcept = default;  // guards nothing
    // Throws SetupError when max_guards ranges are guarded already or the handler cannot be set.
    FaultGuard(std::byte* begin, std::size_t bytes, std::atomic<bool>* lost);
    FaultGuard(FaultGuard&& other) noexcept : slot_(other.slot_) { other.slot_ = none; }
    FaultGuard& operator=(FaultGuard&& other) noexcept;
    ~FaultGuard() { release(); }

    static constexpr std::size_t max_guards = 16384;

private:
    static constexpr std::size_t none = max_guards;
    void release() noexcept;

    std::size_t slot_ = none;
};

}  // namespace shmbus::base
