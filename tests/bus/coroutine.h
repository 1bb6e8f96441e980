// A coroutine that nobody waits for.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <coroutine>
#include <exception>

namespace bus_tests {

struct Started {
    struct promise_type {
        Started get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };
};

}  // namespace bus_tests
