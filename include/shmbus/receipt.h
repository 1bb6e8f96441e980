// Receipts of durable messages: whether one is on disk yet.
//
//     auto sent = bus.send(PlaceOrder{.order_id = 7});      // PlaceOrder is declared durable
//     if (sent && sent->wait(std::chrono::seconds{1})) acknowledge_to_customer();
//
// A durable message with a receipt is delivered whatever dies: its sender, its receiver, the
// daemon, the machine. One without may be lost with the machine, not with a process.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/result.h>

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>

namespace [[gnu::visibility("default")]] shmbus {

namespace detail {
// A lane into the journal as those see it who wait.
class ReceiptLane;
[[nodiscard, gnu::visibility("default")]] bool is_received(
    const ReceiptLane& lane, std::uint64_t end) noexcept;
// Errors: timeout, lane_lost, closed.
[[gnu::visibility("default")]] Result<void> wait_for_receipt(
    ReceiptLane& lane, std::uint64_t end, std::chrono::nanoseconds limit);
[[gnu::visibility("default")]] void when_received(
    const std::shared_ptr<ReceiptLane>& lane, std::uint64_t end, std::chrono::nanoseconds limit,
    std::function<void()> ready);
}  // namespace detail

// Copying is cheap; any thread of the process may ask any copy. Outlives the Bus: then it answers
// what is known. In a forked child nothing is: not there, and wait says closed.
class Receipt {
public:
    // Of a message that is not durable: there is nothing to wait for.
    Receipt() noexcept = default;
    Receipt(std::shared_ptr<detail::ReceiptLane> lane, std::uint64_t end) noexcept
        : lane_(std::move(lane)), end_(end) {}
    // Of a handler's output, which is sent after the handler has returned.
    [[nodiscard]] static Receipt of_output() noexcept {
        Receipt receipt;
        receipt.end_ = not_sent;
        return receipt;
    }
    // Of a Bus that is closed to this process: nothing is known.
    [[nodiscard]] static Receipt of_closed() noexcept {
        Receipt receipt;
        receipt.end_ = closed;
        return receipt;
    }

    // The message is on disk, or need not be. One load.
    [[nodiscard]] bool is_there() const noexcept {
        return lane_ == nullptr ? end_ < closed : detail::is_received(*lane_, end_);
    }
    // Blocks until it is there, at most `limit`. Errors: timeout (the details say whether the
    // daemon is away or its disk full; the message stays on its way), lane_lost, would_block: of a
    // handler's output, inside the handler; closed: of a moved-from Bus, or in a forked child.
    Result<void> wait(std::chrono::nanoseconds limit = std::chrono::seconds{30}) const {
        if (is_there()) return {};
        if (lane_ == nullptr)
            return Error(end_ == closed ? ErrorCode::closed : ErrorCode::would_block);
        return detail::wait_for_receipt(*lane_, end_, limit);
    }

    // co_await receipt.within(limit): a Result<void>, as of wait. The coroutine goes on in
    // Endpoint::poll or Bus::poll of the Bus that sent, in the thread that polls.
    class Within {
    public:
        Within(const Receipt& receipt, std::chrono::nanoseconds limit)
            : receipt_(receipt), limit_(limit) {}
        [[nodiscard]] bool await_ready() const noexcept {
            return receipt_.is_there() || receipt_.lane_ == nullptr;
        }
        void await_suspend(std::coroutine_handle<> handle) {
            waiting_ = std::make_shared<bool>(true);
            detail::when_received(receipt_.lane_, receipt_.end_, limit_,
                                  [handle, there = std::weak_ptr<bool>(waiting_)] {
                                      if (!there.expired()) handle.resume();
                                  });
        }
        Result<void> await_resume() const {
            return receipt_.wait(std::chrono::nanoseconds{0});
        }

    private:
        const Receipt& receipt_;
        std::chrono::nanoseconds limit_;
        std::shared_ptr<bool> waiting_;  // goes with the coroutine, if that is destroyed
    };
    [[nodiscard]] Within within(std::chrono::nanoseconds limit) const { return {*this, limit}; }

    // Where the message ends in its lane into the journal; grows with every durable message of a
    // thread. 0: none.
    [[nodiscard]] std::uint64_t position() const noexcept {
        return lane_ == nullptr ? 0 : end_;
    }

private:
    // In place of an end, without a lane.
    static constexpr std::uint64_t not_sent = ~std::uint64_t{0};
    static constexpr std::uint64_t closed = not_sent - 1;
    std::shared_ptr<detail::ReceiptLane> lane_;
    std::uint64_t end_ = 0;
};

}  // namespace shmbus
