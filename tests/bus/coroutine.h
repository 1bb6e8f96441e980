// A coroutine that nobody waits for.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

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

// One that its owner destroys, whether it waits or not.
struct Owned {
    struct promise_type {
        Owned get_return_object() {
            return Owned{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };
    explicit Owned(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
    Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    ~Owned() { destroy(); }
    void destroy() {
        if (handle_) std::exchange(handle_, nullptr).destroy();
    }

private:
    std::coroutine_handle<promise_type> handle_;
};

}  // namespace bus_tests
