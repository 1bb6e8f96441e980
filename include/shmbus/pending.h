// A reply on its way: wait for it, be called back, or co_await it.
//
// Dropping a Pending gives the answer up: it is dropped and counted when it comes. A reply is
// handed out once. Callbacks and coroutines run in Endpoint::poll or Bus::poll of the Bus that
// asked, in the thread that polls. What one of them throws comes out of that call, and the others
// are called by the next. When the Bus ends they run in the thread that ends it, and what they
// throw is told to the log.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/context.h>

#include <coroutine>
#include <functional>
#include <memory>
#include <span>
#include <utility>

namespace [[gnu::visibility("default")]] shmbus {

namespace detail {

// One request's state, shared by its Pending and the table of requests of the Bus.
class PendingCore;
// Waits for the answer until the request's deadline or stop; its bytes are the core's. Errors:
// timeout, stopped, would_block (inside a handler), wrong_type, closed.
[[gnu::visibility("default")]] Result<std::span<const std::byte>> wait_for(
    PendingCore& core, const TypeDescriptor& reply);
// Arranges that `ready` is called when the answer, the deadline or the stop has come.
[[gnu::visibility("default")]] void when_ready(PendingCore& core, std::function<void()> ready);
// Takes the answer that has come, or says why there is none. Never waits.
[[gnu::visibility("default")]] Result<std::span<const std::byte>> take_answer(
    PendingCore& core, const TypeDescriptor& reply);
[[gnu::visibility("default")]] void give_up(PendingCore& core) noexcept;

template <class R>
Result<R> decoded(const Result<std::span<const std::byte>>& answer) {
    if (!answer) return answer.error();
    const std::span<const std::byte> bytes = *answer;
    if constexpr (InPlace<R>) {
        if (bytes.size() != sizeof(R)) return Error(ErrorCode::not_decodable);
        alignas(R) std::byte copy[sizeof(R)];
        std::copy(bytes.begin(), bytes.end(), copy);
        return *std::launder(reinterpret_cast<const R*>(copy));
    } else {
        R value{};
        if (!Codec<R>::decode(bytes, value)) return Error(ErrorCode::not_decodable);
        return value;
    }
}

}  // namespace detail

// Belongs to one thread. Movable.
template <class R>
class [[nodiscard]] Pending {
public:
    explicit Pending(std::shared_ptr<detail::PendingCore> core) noexcept : core_(std::move(core)) {}
    explicit Pending(Error refused) noexcept : refused_(refused) {}
    // What is left is closed, as one whose answer was handed out.
    Pending(Pending&& other) noexcept
        : core_(std::move(other.core_)), refused_(std::exchange(other.refused_, handed_out)) {}
    Pending& operator=(Pending&& other) noexcept {
        if (this != &other) {
            if (core_) detail::give_up(*core_);
            core_ = std::move(other.core_);
            refused_ = std::exchange(other.refused_, handed_out);
        }
        return *this;
    }
    ~Pending() {
        if (core_) detail::give_up(*core_);
    }

    // Blocks until the answer is there, the deadline of the request has passed or its stop token
    // was triggered. Errors: those of the send (full, no_route ...), timeout, stopped,
    // would_block when called inside a handler (whose thread would have to answer), wrong_type,
    // not_decodable, handler_failed; closed: it was handed out before, or its Bus has gone.
    Result<R> wait() {
        if (!core_) return refused_;
        const std::shared_ptr<detail::PendingCore> core = hand_out();
        return detail::decoded<R>(detail::wait_for(*core, descriptor_of<R>));
    }

    // Calls `function` with a Result<R> once, when the answer, the deadline or the stop has come.
    // At once, from here, when the request was refused.
    void then(std::function<void(Result<R>)> function) {
        if (!core_) {
            function(Result<R>(refused_));
            return;
        }
        const std::shared_ptr<detail::PendingCore> core = hand_out();
        detail::when_ready(*core, [core, function = std::move(function)] {
            function(detail::decoded<R>(detail::take_answer(*core, descriptor_of<R>)));
        });
    }

    // co_await pending: a Result<R>; never blocks, so it is allowed inside handlers.
    [[nodiscard]] bool await_ready() const noexcept { return core_ == nullptr; }
    void await_suspend(std::coroutine_handle<> handle) {
        detail::when_ready(*core_, [handle] { handle.resume(); });
    }
    Result<R> await_resume() {
        if (!core_) return refused_;
        const std::shared_ptr<detail::PendingCore> core = hand_out();
        return detail::decoded<R>(detail::take_answer(*core, descriptor_of<R>));
    }

private:
    static constexpr Error handed_out{ErrorCode::closed};
    [[nodiscard]] std::shared_ptr<detail::PendingCore> hand_out() noexcept {
        refused_ = handed_out;
        return std::move(core_);
    }
    std::shared_ptr<detail::PendingCore> core_;
    Error refused_;
};

}  // namespace shmbus
