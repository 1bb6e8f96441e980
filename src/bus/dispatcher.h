// From a type's number to its handlers: one table per endpoint, read once per message.
//
// Changed only by the endpoint's own thread. Rows of handlers are made ready before a pool of
// handler threads sees messages of their type, and stay as they are while it runs.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/endpoint.h>

#include <array>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bus/meter.h"
#include "bus/session.h"
#include "wire/record.h"

namespace shmbus::detail {

class BusCore;

// What to do with messages of one type.
struct DispatchRow {
    enum class Verdict : std::uint8_t { handle, drop, refuse };
    Verdict verdict = Verdict::refuse;
    std::uint32_t bytes = 0;        // exact; 0: any
    std::vector<Handler> handlers;  // all of them are called
    bool takes_anything = false;    // the handler for the rest
    std::uint64_t version = 0;      // of the directory; matters where nobody handles
    Meter::Word* counted = nullptr; // where its messages are counted
};

class Dispatcher {
public:
    // Types with one handler and a fixed size, which is nearly all of them.
    struct Quick {
        FailureReason (*call)(void*, std::span<const std::byte>, Context&) = nullptr;
        FailureReason (*call_run)(void*, MessageRun&, Context&) = nullptr;
        void* callable = nullptr;
        std::uint64_t bytes = 0;
        Meter::Word* counted = nullptr;
    };
    // Records of one meta word, each with one message of such a type.
    struct Plain {
        static constexpr std::uint64_t none = ~std::uint64_t{0};  // longer than any may be
        std::uint64_t meta = none;
        Quick handler;
        std::size_t payload_offset = 0;
        std::size_t time_sent_at = 0;  // where in the record; 0: it does not tell
    };
    using Any = std::function<void(std::span<const std::byte>, Context&)>;

    Dispatcher(BusCore& core, EndpointHandle endpoint, Meter& meter) noexcept
        : core_(core), endpoint_(endpoint), meter_(meter) {}

    void add(std::uint16_t type, Handler handler);
    void add_any(Any any);
    // What arrives late of an event that was unsubscribed is dropped, whoever handles it.
    void set_subscribed(std::uint16_t type, bool subscribed);

    // The handler for records of this meta word, when nothing about them is special; else null.
    // Most records are like the one before.
    [[nodiscard, gnu::always_inline]] const Plain* plain(std::uint64_t meta) noexcept {
        return meta == plain_.meta ? &plain_ : look_up_plain(meta);
    }
    // Null call: not one of the quick ones.
    [[nodiscard]] const Quick* quick(std::uint16_t type) const noexcept {
        return type < quick_.size() && quick_[type].call != nullptr ? &quick_[type] : nullptr;
    }
    // The full answer. The row stays until handlers or subscriptions change; when a handler changes
    // them, its own row stays until it returns.
    [[nodiscard]] const DispatchRow& row(std::uint16_t type);
    [[nodiscard]] const Any& any() const noexcept { return *any_; }

private:
    struct Registered {
        std::uint16_t type;
        Handler handler;
    };
    [[nodiscard]] DispatchRow work_out(std::uint16_t type);
    [[nodiscard]] bool is_subscribed(std::uint16_t type) const;
    void forget() noexcept;
    [[nodiscard]] const Plain* look_up_plain(std::uint64_t meta) noexcept;

    BusCore& core_;
    EndpointHandle endpoint_;
    Meter& meter_;
    std::vector<Registered> registered_;
    std::vector<std::shared_ptr<void>> replaced_;  // kept as long as this
    std::set<std::uint16_t> unsubscribed_;
    std::shared_ptr<Any> any_;  // null: there was none yet
    std::vector<Quick> quick_;
    Plain plain_;
    std::vector<std::unique_ptr<DispatchRow>> rows_;
    std::vector<std::unique_ptr<DispatchRow>> former_rows_;  // see forget
};

// Whether a record's extension block is as long as its flags ask for; a stranger's record may say
// anything.
[[nodiscard, gnu::always_inline]] inline bool extensions_fit(std::uint64_t meta) noexcept {
    constexpr auto units = [] {
        std::array<std::uint8_t, 32> table{};
        for (std::uint16_t flags = 0; flags < table.size(); ++flags)
            table[flags] = static_cast<std::uint8_t>(wire::extension_bytes(flags) / 16);
        return table;
    }();
    static_assert(wire::has_trace == 1024 && wire::extension_bytes(wire::has_trace) == 32);
    static_assert(wire::has_durable == 256 && wire::extension_bytes(wire::has_durable) == 16);
    return units[meta >> 52 & 31U] + (meta >> 60 & 1U) + (meta >> 61 & 2U) == (meta >> 48 & 0xFU);
}

}  // namespace shmbus::detail
