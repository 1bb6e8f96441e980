// Requests of this process that wait for their answers, and the private inbox where those arrive.
//
// Any thread. Whoever waits reads the inbox for all; the others sleep until it has found something
// for them or leaves. A reply carries no address of its own: its id tells which request it is an
// output of (wire/record.h), and the table here is keyed by that.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/options.h>
#include <shmbus/pending.h>
#include <shmbus/receipt.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <unordered_map>
#include <vector>

#include "bus/self_bell.h"
#include "lane/consumer.h"
#include "wire/record.h"

namespace shmbus::detail {

class BusCore;

// One request. Fields below `is_given_up` are guarded by the lock of Requests.
class PendingCore : public std::enable_shared_from_this<PendingCore> {
public:
    enum class State : std::uint8_t { waiting, answered, ended };

    std::weak_ptr<BusCore> bus;
    MessageId id;
    std::uint64_t deadline_ns = 0;
    std::stop_token stop;
    // Nobody may be called for it. Beside `ready`, because a bus that ends cannot be asked.
    std::atomic<bool> is_given_up{false};

    State state = State::waiting;
    ErrorCode why = ErrorCode::ok;  // ended: timeout, stopped, handler_failed, closed
    std::uint16_t type = 0;         // of the answer
    std::function<void()> ready;

    // The answer. Belongs to this, and stays until this goes.
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return long_.empty() ? std::span(short_).first(bytes_) : std::span(long_);
    }
    void keep(std::span<const std::byte> answer) {
        if (answer.size() > short_.size()) long_.assign(answer.begin(), answer.end());
        else std::copy(answer.begin(), answer.end(), short_.begin());
        bytes_ = answer.size();
    }

private:
    std::size_t bytes_ = 0;
    std::array<std::byte, 128> short_;
    std::vector<std::byte> long_;  // one that does not fit there
};

class Requests {
public:
    explicit Requests(BusCore& core) noexcept : core_(core) {}
    ~Requests();

    // Whether the daemon need not be asked for it.
    [[nodiscard]] bool has_address() const noexcept {
        // relaxed: nothing is read through it; address() looks for itself.
        return consumer_.load(std::memory_order_relaxed) != nullptr;
    }
    // Where answers to this process go; opens the inbox when first asked. Errors: of the session.
    Result<wire::ReplyTo> address();
    // From here on an answer to pending->id is recognised.
    void expect(const std::shared_ptr<PendingCore>& pending);
    void give_up(PendingCore& pending) noexcept;
    // It was expected and is not sent, because the handler that asked has failed.
    void end_unsent(PendingCore& pending) noexcept;

    // Waits for the answer and takes it, which is then in the PendingCore.
    Result<void> wait(PendingCore& pending, const TypeDescriptor& reply);
    // The same for those who know replies by their numbers only.
    Result<void> wait_for_any(PendingCore& pending);
    void when_ready(PendingCore& pending, std::function<void()> ready);
    // The same for a receipt.
    void when_received(Receipt receipt, std::uint64_t deadline_ns, std::function<void()> ready);
    Result<void> take(PendingCore& pending, const TypeDescriptor& reply);

    // Calls what is ready; returns how many. One load when nobody asked to be called.
    std::size_t poll();
    [[nodiscard]] bool has_callbacks() const noexcept {
        // relaxed: who registers one and then polls is one thread, or orders it by itself.
        return callbacks_.load(std::memory_order_relaxed) != 0;
    }
    [[nodiscard]] std::uint64_t late_replies() const noexcept {
        return late_.load(std::memory_order_relaxed);  // relaxed: a figure to show
    }
    // Ends all requests with `closed`.
    void close() noexcept;

private:
    struct HashId {
        std::size_t operator()(const MessageId& id) const noexcept {
            return static_cast<std::size_t>((id.high ^ id.low >> 16) * 0x9E3779B97F4A7C15U);
        }
    };
    using Table = std::unordered_map<MessageId, std::shared_ptr<PendingCore>, HashId>;
    struct ReplyInbox {
        std::uint32_t endpoint;
        std::uint32_t generation;
        SelfBell bell;
        lane::Consumer consumer;
    };
    // Reads the inbox until it is empty; the caller holds reading_. Returns how many came.
    std::size_t read_inbox() noexcept;
    void read_one(const lane::Batch& batch, const lane::Entry& entry) noexcept;
    Result<void> open();
    // The caller holds mutex_.
    void end(PendingCore& pending, ErrorCode why) noexcept;
    void leave_table(PendingCore& pending) noexcept;
    void leave_table(Table::const_iterator place) noexcept;
    void count_due(int more) noexcept;
    void end_overdue(std::uint64_t now_ns) noexcept;
    // What is to be called, at the last moment: one that is called before it may give this one up.
    [[nodiscard]] std::function<void()> take_ready(PendingCore& pending) noexcept;
    // The caller holds mutex_.
    Result<void> take_any(PendingCore& pending) noexcept;
    // Why what was taken is not what was asked for, if it is not.
    Result<void> is_a(const PendingCore& pending, const TypeDescriptor& reply);
    // Reads for everybody, sleeping until something comes; the caller holds reading_.
    void read_patiently(std::uint64_t deadline_ns) noexcept;

    BusCore& core_;
    std::mutex reading_;  // taken before mutex_
    std::mutex mutex_;    // guards all below, save the consumer
    std::condition_variable changed_;
    std::unique_ptr<ReplyInbox> inbox_;
    std::atomic<lane::Consumer*> consumer_{nullptr};  // inbox_'s, for who holds reading_
    Table waiting_;
    Table::node_type spare_;  // the node that was given back last: the next request's
    // Requests whose answers were not read yet, or never come: at most so many wait in the inbox.
    // Written under mutex_.
    std::atomic<std::uint64_t> due_{0};
    std::vector<std::shared_ptr<PendingCore>> ready_;  // to be called, if they want it still
    struct ReceiptWait {
        Receipt receipt;
        std::uint64_t deadline_ns;
        std::function<void()> ready;
    };
    std::vector<ReceiptWait> receipts_;
    std::uint64_t next_look_ns_ = 0;
    std::atomic<std::size_t> callbacks_{0};
    std::atomic<std::uint64_t> late_{0};
};

// Sends a command that is to be answered, as Bus::request.
Result<std::shared_ptr<PendingCore>> request(BusCore& core, const TypeDescriptor& type,
                                             std::span<const std::byte> bytes,
                                             const RequestOptions& options);

}  // namespace shmbus::detail
