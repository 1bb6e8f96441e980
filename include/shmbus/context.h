// What a handler may ask about its message, and what it may send, publish and reply.
//
// Everything sent through a Context is held until the handler returns and dropped when it throws.
// A Context lives as long as its handler call and belongs to the handler's thread.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/message.h>
#include <shmbus/options.h>
#include <shmbus/result.h>

#include <array>
#include <vector>

namespace [[gnu::visibility("default")]] shmbus {

struct Envelope;

namespace detail {

// The bytes of a value: its own for types that travel as they are, the codec's otherwise.
// Holds up to 256 bytes inside; longer variable-length values cost one allocation.
class Encoded {
public:
    template <class T>
    explicit Encoded(const T& value) {
        if constexpr (InPlace<T>) {
            bytes_ = std::as_bytes(std::span<const T, 1>(&value, 1));
        } else {
            const std::size_t size = Codec<T>::size(value);
            std::span<std::byte> into = room(size);
            Codec<T>::encode(value, into);
            bytes_ = into;
        }
    }
    Encoded(const Encoded&) = delete;
    Encoded& operator=(const Encoded&) = delete;
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

private:
    std::span<std::byte> room(std::size_t size) {
        if (size <= sizeof(inside_)) return {inside_, size};
        outside_.resize(size);
        return outside_;
    }
    std::span<const std::byte> bytes_;
    std::vector<std::byte> outside_;
    alignas(16) std::byte inside_[256];
};

// Keeps what a handler sends until it returns, and knows the message in hand. The bus has one, the
// test kit has another.
class Outbox {
public:
    // Of the message in hand; made when it is first asked for, so that handlers which do not ask
    // do not pay.
    virtual const Envelope& envelope() = 0;
    virtual Result<void> send(const TypeDescriptor&, std::span<const std::byte>,
                              const SendOptions&) = 0;
    virtual Result<void> publish(const TypeDescriptor&, std::span<const std::byte>,
                                 const SendOptions&) = 0;
    virtual Result<void> reply(const TypeDescriptor&, std::span<const std::byte>) = 0;
    virtual Result<void> send_local(const TypeDescriptor&, std::span<const std::byte>) = 0;

protected:
    ~Outbox() = default;
};

}  // namespace detail

// Why a message lies in the error endpoint. `none` for any other message.
enum class FailureReason : std::uint8_t {
    none = 0,
    handler_threw,    // as often as the endpoint allows
    process_died,     // the handling process died that often while it held the message
    unknown_type,     // the endpoint has no handler for it
    wrong_size,       // the size does not match the type
    not_decodable,    // the codec refused the bytes
};
[[nodiscard, gnu::visibility("default")]] std::string_view name_of(FailureReason reason) noexcept;

// The failure of a message in the error endpoint.
struct Failure {
    FailureReason reason = FailureReason::none;
    std::uint8_t attempts = 0;  // handler calls that were begun
    std::int32_t signal = 0;    // that ended the process, where it could be learnt
    std::int64_t pid = 0;       // of the process that gave up
    std::string_view endpoint;  // where it failed
    std::string_view what;      // what the exception said, at most 75 bytes
};

// What the dispatcher knows of the message in hand. Filled per message; views point into it.
struct Envelope {
    MessageId id;
    MessageId correlation;   // of the request this belongs to; its own id when none was given
    MessageId conversation;  // of the first message of the family
    MessageId related_to;    // the message whose handler sent this one; zero when none
    std::string_view type;   // the message's name
    std::uint32_t reply_to = 0;
    std::uint32_t attempt = 1;        // this call's number, over all processes
    bool redelivered = false;         // it may have been handled before: its taker died
    bool repeated = false;            // it may be one of two: its sender's handler was redelivered
                                      // or had such a one, or it failed behind a death, or a tool
                                      // was killed that sent it on
    std::int64_t time_sent_ns = 0;    // CLOCK_MONOTONIC; 0: not sampled for this message
    std::optional<TraceContext> trace;  // what it belongs to; its handling is the parent of what
                                        // its handler sends
    Failure failure;
};

class Context {
public:
    // Made by the dispatcher and by the test kit, whose outbox outlives it.
    explicit Context(detail::Outbox& outbox) noexcept : outbox_(&outbox) {}
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    // Sends a command, after the handler has returned. Errors known at once: no_route,
    // no_endpoint, too_large, too_many (see publish), no_daemon and timeout (the first of its kind,
    // and the daemon is away). Lack of room then is a failure of the handler: the message in hand
    // is tried again. Lack of the daemon is not: a handler that throws over it, as value() does, is
    // called again later and nothing is counted.
    template <Command T>
    Result<void> send(const T& message, const SendOptions& options = default_send_options) {
        const detail::Encoded encoded(message);
        return outbox_->send(descriptor_of<T>, encoded.bytes(), options);
    }
    // Sends a command to this endpoint itself, whichever process takes it. Errors as send().
    template <Command T>
    Result<void> send_local(const T& message) {
        const detail::Encoded encoded(message);
        return outbox_->send_local(descriptor_of<T>, encoded.bytes());
    }
    // Publishes an event, after the handler has returned. Errors: too_large; too_many: all outputs
    // of a handler leave together, at most 65,000 of them, and what goes into one lane has to fit
    // into half of it (subscribers that drop when full ask for nothing); no_daemon and timeout as
    // for send.
    template <Event T>
    Result<void> publish(const T& message, const SendOptions& options = default_send_options) {
        const detail::Encoded encoded(message);
        return outbox_->publish(descriptor_of<T>, encoded.bytes(), options);
    }
    // Answers the message in hand. Errors: no_reply_address, too_large, too_many. A requester
    // that has died or given up costs nothing: the reply is dropped and counted. One that lives and
    // reads no answers (it is stopped) is waited for until its inbox has been full for a second.
    template <Reply T>
    Result<void> reply(const T& message) {
        const detail::Encoded encoded(message);
        return outbox_->reply(descriptor_of<T>, encoded.bytes());
    }

    // The facts of the message in hand; valid during the handler call. Worked out when first asked
    // for, which costs some ten nanoseconds.
    [[nodiscard]] const Envelope& envelope() const { return outbox_->envelope(); }
    [[nodiscard]] MessageId id() const { return envelope().id; }
    [[nodiscard]] MessageId correlation() const { return envelope().correlation; }
    [[nodiscard]] MessageId conversation() const { return envelope().conversation; }
    [[nodiscard]] bool redelivered() const { return envelope().redelivered; }
    [[nodiscard]] bool repeated() const { return envelope().repeated; }
    [[nodiscard]] std::uint32_t attempt() const { return envelope().attempt; }

private:
    detail::Outbox* outbox_;
};

}  // namespace shmbus
