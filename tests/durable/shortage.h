// A daemon's want of guards, which others can end. See base/fault_guard.h.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <cstddef>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include <shmbus/bus.h>

#include "base/fault_guard.h"
#include "served_bus.h"

namespace durable_tests {

// Shared with the daemon.
struct Shortage {
    std::atomic<bool> has_begun{false};
    std::atomic<bool> is_over{false};

    static Shortage& make() {
        void* const memory = ::mmap(nullptr, sizeof(Shortage), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        return *new (memory) Shortage;
    }
    // Of those that a process may have, all but so many, until it is over. Once.
    void take_guards(std::size_t left) {
        if (has_begun) return;
        static std::atomic<bool> lost{false};
        static std::byte nothing{};
        std::vector<shmbus::base::FaultGuard> taken;
        try {
            // Ends: there is a bound.
            for (;;) taken.emplace_back(&nothing, 0, &lost);
        } catch (const shmbus::SetupError&) {
            taken.resize(taken.size() - left);
        }
        has_begun = true;
        std::thread([this, taken = std::move(taken)] {
            static_cast<void>(wait_until([&] { return is_over.load(); }));
        }).detach();
    }
};

}  // namespace durable_tests
