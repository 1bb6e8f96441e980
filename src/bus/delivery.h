// The message in a handler's hand, and what the handler sends: held until it returns.
//
// One per thread that handles. The dispatcher aims it at a message, calls the handler, then flushes
// or drops. What is known of the message is worked out only when somebody asks.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/context.h>

#include <memory>
#include <string>
#include <vector>

#include "bus/outbound.h"
#include "bus/requests.h"
#include "bus/session.h"
#include "lane/consumer.h"

namespace shmbus::detail {

class BusCore;

// Which message.
struct InHand {
    const lane::Entry* entry = nullptr;
    std::uint32_t item = 0;  // inside a packed record
    const std::byte* payload = nullptr;
    std::size_t bytes = 0;
    std::uint64_t lane_id = 0;
    std::uint32_t attempt = 1;
    bool redelivered = false;
};

class Delivery final : public Outbox {
public:
    static constexpr std::uint16_t most_outputs = 65'000;

    // `endpoint`: for send_local and for reports.
    Delivery(BusCore& core, EndpointHandle endpoint, std::string_view endpoint_name);
    Delivery(const Delivery&) = delete;
    Delivery& operator=(const Delivery&) = delete;

    // From here on sends of this thread join the outputs; until leave().
    void enter(Outbound& outbound) noexcept {
        outbound_ = &outbound;
        outbound.delivery = this;
    }
    void leave() noexcept { outbound_->delivery = nullptr; }
    [[nodiscard]] Outbound& outbound() const noexcept { return *outbound_; }
    [[nodiscard]] Context& context() noexcept { return context_; }

    [[gnu::always_inline]] void aim(const InHand& in_hand) noexcept {
        in_hand_ = in_hand;
        is_described_ = false;
    }
    // The same for one record after the other of a batch that was aimed at before: only the record
    // changes. What needs the payload's place aims in full.
    [[gnu::always_inline]] void aim_next(const lane::Entry& entry) noexcept {
        in_hand_.entry = &entry;
        is_described_ = false;
    }
    [[nodiscard]] const InHand& in_hand() const noexcept { return in_hand_; }
    [[nodiscard]] bool has_outputs() const noexcept { return !held_.empty(); }
    // Sends what is held, all of it or none, waiting for room first. Errors: those of the sends.
    Result<void> flush();
    // Forgets what is held.
    void drop() noexcept;

    // The extensions of the record in hand. They were checked against its header before.
    [[nodiscard]] const wire::Extensions& extensions();
    [[nodiscard]] bool is_root();  // sent outside a handler
    // The id and the lineage of the n-th output of this message's handler.
    void derive(std::uint16_t ordinal, Outgoing& into);

    // Gives the message in hand to the error endpoint and its requester a failure. False when there
    // is no way there now: keep the message and try again later.
    bool give_to_error_endpoint(std::string_view error_endpoint, wire::FailureRecord failure);
    // Why there was none.
    [[nodiscard]] const std::string& why_kept() const noexcept { return why_kept_; }

    // Called by Context, and by the verbs of Bus inside a handler.
    const Envelope& envelope() override;
    Result<void> send(const TypeDescriptor& type, std::span<const std::byte> bytes,
                      const SendOptions& options) override {
        return hold_send(type, bytes, 0, options);
    }
    Result<void> publish(const TypeDescriptor& type, std::span<const std::byte> bytes,
                         const SendOptions& options) override;
    Result<void> reply(const TypeDescriptor& type, std::span<const std::byte> bytes) override;
    Result<void> send_local(const TypeDescriptor& type, std::span<const std::byte> bytes) override;
    Result<void> hold_send(const TypeDescriptor& type, std::span<const std::byte> bytes,
                           std::uint32_t packed, const SendOptions& options);
    // `pending` learns its id and is expected from now on.
    Result<void> hold_request(const TypeDescriptor& type, std::span<const std::byte> bytes,
                              std::string_view destination,
                              const std::shared_ptr<PendingCore>& pending);

private:
    enum class Verb : std::uint8_t { send, publish, reply };
    struct Held {
        Verb verb = Verb::send;
        std::uint16_t type = 0;
        std::uint16_t ordinal = 0;
        std::uint32_t packed = 0;
        WhenFull when_full = WhenFull::wait;
        std::chrono::nanoseconds wait{0};
        const TypeDescriptor* descriptor = nullptr;
        Target* target = nullptr;  // send
        wire::ReplyTo address{};   // send: where answers go; reply: where it goes
        std::size_t offset = 0;    // in bytes_
        std::size_t bytes = 0;
    };
    // One record to one lane.
    struct Leg {
        const Held* held;
        Target* target;
        WhenFull when_full;
        std::chrono::nanoseconds wait;
        std::uint64_t units;
    };
    Result<Held*> hold(Verb verb, const TypeDescriptor& type, std::span<const std::byte> bytes);
    Result<void> hold_to(Target& target, std::uint64_t type_meta, const TypeDescriptor& type,
                         std::span<const std::byte> bytes, std::uint32_t packed,
                         const SendOptions& options);
    Result<void> plan();
    Result<void> plan_reply(const Held& held);
    [[nodiscard]] bool is_gone(const wire::ReplyTo& address) const noexcept;
    Result<void> reserve();
    Result<void> make_room(const Leg& leg);
    void write(const Leg& leg);
    [[nodiscard]] Outgoing outgoing(const Held& held, bool any_extension);
    Result<Target*> error_target(std::string_view error_endpoint, std::size_t payload_bytes);
    void tell_requester(const wire::FailureRecord& failure);

    BusCore& core_;
    EndpointHandle endpoint_;
    std::string endpoint_name_;
    Outbound* outbound_ = nullptr;
    Context context_;
    InHand in_hand_;
    bool is_described_ = false;
    bool is_root_ = true;
    wire::Extensions extensions_;
    Envelope envelope_;
    std::string failed_endpoint_;  // that the envelope's failure names
    std::string why_kept_;
    std::string type_name_;        // that the envelope names
    std::uint32_t type_named_ = ~std::uint32_t{0};
    std::uint64_t type_named_at_ = 0;
    std::vector<Held> held_;
    std::vector<std::byte> bytes_;
    std::vector<Leg> legs_;
};

}  // namespace shmbus::detail
