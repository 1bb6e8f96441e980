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

// A record of a batch, and in a packed one which of its messages. One word, so that it is passed on
// in a register.
class Place {
public:
    constexpr Place() noexcept = default;
    [[nodiscard]] static constexpr Place at(std::uint32_t record, std::uint32_t item) noexcept {
        return Place(std::uint64_t{record} << 32 | item);
    }
    // No message's.
    [[nodiscard]] static constexpr Place none() noexcept { return Place(~std::uint64_t{0}); }
    [[nodiscard]] constexpr std::uint32_t record() const noexcept {
        return static_cast<std::uint32_t>(word_ >> 32);
    }
    [[nodiscard]] constexpr std::uint32_t item() const noexcept {
        return static_cast<std::uint32_t>(word_);
    }
    [[nodiscard]] constexpr std::uint64_t word() const noexcept { return word_; }
    [[nodiscard]] constexpr Place plus(Place distance) const noexcept {
        return Place(word_ + distance.word_);
    }
    [[nodiscard]] constexpr std::uint64_t* address() noexcept { return &word_; }
    [[nodiscard]] static constexpr Place of(std::uint64_t word) noexcept { return Place(word); }
    friend constexpr bool operator==(Place, Place) noexcept = default;

private:
    constexpr explicit Place(std::uint64_t word) noexcept : word_(word) {}
    std::uint64_t word_ = 0;
};

// Which message.
struct InHand {
    const lane::Batch* batch = nullptr;
    Place place;
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
        described_ = missed_at_ = Place::none();
    }
    // The same in two halves, for first attempts at a batch whose taker lives: only the record and
    // the item in it change from one message to the next. What needs the payload's place aims in
    // full.
    void aim_at(const lane::Batch& batch) noexcept {
        in_hand_.batch = &batch;
        in_hand_.lane_id = batch.lane->lane_id();
        in_hand_.attempt = 1;
        in_hand_.redelivered = false;
        described_ = missed_at_ = Place::none();
    }
    [[gnu::always_inline]] void aim_next(Place place) noexcept { in_hand_.place = place; }
    // Messages up to the place `end`, whose places are told one by one where this looks. The run
    // ends before that when one of them has outputs.
    [[gnu::always_inline]] void follow(MessageRun& run, std::uint64_t end) noexcept {
        run.in_hand = in_hand_.place.address();
        run.until = &run_until_;
        run_until_ = end;
    }
    [[nodiscard]] const InHand& in_hand() const noexcept { return in_hand_; }
    [[nodiscard]] bool has_outputs() const noexcept { return outputs_ != 0; }
    // Sends what is held, all of it or none, waiting for room first. Errors: those of the sends.
    Result<void> flush() {
        if (staged_.target == nullptr) return flush_held();
        publish_staged();
        return {};
    }
    // The same; throws std::runtime_error saying which error when there is one.
    void flush_or_throw() {
        if (staged_.target != nullptr) [[likely]] publish_staged();
        else flush_held_or_throw();
    }
    // Forgets what is held.
    void drop() noexcept;

    // The extensions of the record in hand. They were checked against its header before.
    [[nodiscard]] const wire::Extensions& extensions();

    // Something was refused for the message in hand because the daemon could not be reached: that
    // its handler failed says nothing about it.
    [[nodiscard]] bool daemon_missed() const noexcept {
        return missed_at_ == in_hand_.place;
    }

    // Gives the message in hand to the error endpoint and its requester a failure. False when there
    // is no way there now: keep the message and try again later.
    bool give_to_error_endpoint(std::string_view error_endpoint, wire::FailureRecord failure);
    // Why there was none, or what the daemon was missed for.
    [[nodiscard]] const std::string& why_kept() const noexcept { return why_kept_; }

    // The call that was just made is told as a span, if somebody wants to know.
    void tell_span(std::uint64_t begin_ns, std::uint64_t end_ns,
                   std::string_view complaint) noexcept;

    // Called by Context, and by the verbs of Bus inside a handler.
    const Envelope& envelope() override;
    Result<void> send(const TypeDescriptor& type, std::span<const std::byte> bytes,
                      const SendOptions& options) override;
    Result<void> publish(const TypeDescriptor& type, std::span<const std::byte> bytes,
                         const SendOptions& options) override;
    Result<void> reply(const TypeDescriptor& type, std::span<const std::byte> bytes) override;
    Result<void> send_local(const TypeDescriptor& type, std::span<const std::byte> bytes) override;
    Result<void> hold_send(const TypeDescriptor& type, std::span<const std::byte> bytes,
                           std::uint32_t packed, const SendOptions& options);
    // `pending` learns its id and is expected from now on.
    Result<void> hold_request(const TypeDescriptor& type, std::span<const std::byte> bytes,
                              const RequestOptions& options,
                              const std::shared_ptr<PendingCore>& pending);

private:
    enum class Verb : std::uint8_t { send, publish, reply };
    // The handler's only output so far, a plain command or a reply: it stands in its lane already,
    // complete but for the words that publish it. A death or a drop leaves nothing of it, as with a
    // loan.
    struct Staged {
        Target* target = nullptr;  // null: there is none
        const TypeDescriptor* type = nullptr;
        lane::QuickClaim claim;
        std::uint64_t meta = 0;
        WhenFull when_full = WhenFull::wait;
        std::chrono::nanoseconds wait{0};
        const WayBack* way_back = nullptr;  // of a reply
    };
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
        bool is_durable = false;   // send: into the journal, for
        wire::Durable durable{};
        MessageId id;              // that the handler chose
        std::optional<TraceContext> trace;  // instead of the message's in hand
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
    bool stage(const TypeDescriptor& type, std::span<const std::byte> bytes,
               const SendOptions& options) noexcept;
    template <class Copy>
    bool stage_through(const Route& route, const TypeDescriptor& type,
                       std::span<const std::byte> bytes, const SendOptions& options,
                       Copy copy) noexcept;
    bool stage_reply(const TypeDescriptor& type, std::span<const std::byte> bytes) noexcept;
    // Takes a staged output back and holds it like the others that follow.
    void hold_staged();
    void forget_staged() noexcept;
    void publish_staged() noexcept;
    [[nodiscard]] bool is_plain_root(std::uint64_t meta) const noexcept;
    // Whether this one output's id is to be mixed, and its lineage stored: see wire/record.h.
    [[nodiscard]] bool mixes_id(std::uint32_t packed);
    [[nodiscard]] MessageId id_of_output(std::uint16_t ordinal, bool is_mixed);
    // The id, if the handler has not chosen one, and the lineage of its n-th output.
    void derive(std::uint16_t ordinal, MessageId chosen, Outgoing& into);
    // Returns the error, and remembers when it is the daemon's absence.
    Error noted(Error error);
    Result<Held*> hold(Verb verb, const TypeDescriptor& type, std::span<const std::byte> bytes);
    // Room in a lane that outputs will need: whether it can ever have so much, and counting it.
    [[nodiscard]] static bool can_hold(const Target& target, std::uint64_t units) noexcept;
    void count_held(Target& target, std::uint64_t units);
    Result<void> hold_to(Target& target, std::uint64_t type_meta, const TypeDescriptor& type,
                         std::span<const std::byte> bytes, std::uint32_t packed,
                         const SendOptions& options);
    Result<void> hold_durably(const TypeDescriptor& type, std::span<const std::byte> bytes,
                              std::uint32_t packed, const DurableRoute& route,
                              const SendOptions& options);
    Result<void> hold_reply(const TypeDescriptor& type, std::span<const std::byte> bytes);
    Result<void> flush_held();
    void flush_held_or_throw();
    Result<void> plan();
    Result<void> plan_reply(const Held& held);
    [[nodiscard]] bool is_gone(const wire::ReplyTo& address) const noexcept;
    // Nothing may be let go for want of room: the handler fails then.
    [[nodiscard]] static bool must_arrive(WhenFull when_full) noexcept {
        return when_full == WhenFull::wait || when_full == WhenFull::refuse;
    }
    Result<void> reserve();
    Result<void> make_room(const Leg& leg);
    void write(const Leg& leg);
    [[nodiscard]] Outgoing outgoing(const Held& held, bool any_extension);
    Result<EndpointHandle> find_error_endpoint(std::string_view name);
    Result<Target*> error_target(std::string_view error_endpoint, Outgoing& record);
    void tell_requester(const wire::FailureRecord& failure);

    BusCore& core_;
    EndpointHandle endpoint_;
    std::string endpoint_name_;
    std::uint64_t endpoint_hash_;  // of its name, which stays the same over a reboot
    Outbound* outbound_ = nullptr;
    Context context_;
    InHand in_hand_;
    Place described_ = Place::none();  // that envelope_ tells of
    Place missed_at_ = Place::none();  // where the daemon was missed
    wire::Extensions extensions_;
    Envelope envelope_;
    std::string failed_endpoint_;  // that the envelope's failure names
    std::string why_kept_;
    std::string type_name_;        // that the envelope names
    std::uint32_t type_named_ = ~std::uint32_t{0};
    std::uint64_t type_named_at_ = 0;
    std::uint32_t outputs_ = 0;      // staged or held
    std::uint64_t run_until_ = 0;    // see follow
    Staged staged_;
    std::vector<Held> held_;
    std::vector<std::byte> bytes_;
    std::vector<Target*> counted_;  // whose held_units are what is held
    std::vector<Leg> legs_;
    std::vector<std::shared_ptr<PendingCore>> asked_;  // by requests that are held
};

}  // namespace shmbus::detail
