// An endpoint: where messages arrive and handlers run. Bytes become your type here.
//
// Several processes that open one endpoint by the same name are competing consumers: each message
// is handled by one of them, and the survivors take over what a dead one held.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/context.h>

#include <atomic>
#include <memory>
#include <type_traits>

namespace [[gnu::visibility("default")]] shmbus {

namespace detail {

// Messages of one type that stand at equal distances, and where it is told how far their handler
// is. Made by the library for one call; nothing in it is the handler's business.
struct MessageRun {
    const std::byte* payload = nullptr;  // of the first; afterwards: of the first not handled
    std::size_t bytes = 0;               // of each
    std::size_t step = 0;                // from one to the next
    std::uint64_t place = 0;             // of the first; afterwards: of the first not handled
    std::uint64_t each = 0;              // from one place to the next
    std::uint64_t begun = 0;             // marks a place whose message is in a handler
    std::atomic<std::uint64_t>* cursor = nullptr;  // in shared memory: how far this hand is
    std::uint64_t* in_hand = nullptr;              // the same for the Context
    // The place where the run ends. Read behind each handler: one that has sent something ends the
    // run, so that it goes out before the next message is handled.
    const std::uint64_t* until = nullptr;
};

// A handler with its type erased: functions that know the type, and the callable's storage. Answer
// wrong_size or not_decodable without having called the handler.
struct Handler {
    FailureReason (*call)(void* callable, std::span<const std::byte> payload, Context& context);
    std::shared_ptr<void> callable;
    // The messages of a run in turn, until one is answered so. Null: they are handled singly.
    FailureReason (*call_run)(void* callable, MessageRun& run, Context& context) = nullptr;
};

// What a handler has returned. Without anybody who asked it is nothing; refused otherwise it fails
// the handler, which has not seen that.
template <class R>
void reply_with(Context& context, const R& reply) {
    const Result<void> replied = context.reply(reply);
    if (!replied && !(replied.error() == ErrorCode::no_reply_address)) [[unlikely]] replied.value();
}

template <class T, class F>
void invoke_handler(F& handler, const T& message, Context& context) {
    if constexpr (std::is_invocable_v<F&, const T&, Context&>) {
        if constexpr (std::is_void_v<std::invoke_result_t<F&, const T&, Context&>>)
            handler(message, context);
        else
            reply_with(context, handler(message, context));
    } else {
        if constexpr (std::is_void_v<std::invoke_result_t<F&, const T&>>) handler(message);
        else reply_with(context, handler(message));
    }
}

template <class T, class F>
FailureReason call_handler(void* callable, std::span<const std::byte> payload, Context& context) {
    F& handler = *static_cast<F*>(callable);
    if constexpr (InPlace<T>) {
        // A derived event is longer than its base; the dispatcher has compared exact sizes.
        if (payload.size() < sizeof(T)) return FailureReason::wrong_size;
        invoke_handler<T, F>(handler, *reinterpret_cast<const T*>(payload.data()), context);
    } else {
        T message{};
        if (!Codec<T>::decode(payload, message)) return FailureReason::not_decodable;
        invoke_handler<T, F>(handler, message, context);
    }
    return FailureReason::none;
}

// The loop stands here and not in the library, so that the compiler sees handler and loop together:
// a third less time for a stream of short messages, half of it for packed ones.
template <class T, class F>
FailureReason call_handler_in_turn(void* callable, MessageRun& run, Context& context) {
    const std::byte* payload = run.payload;
    std::uint64_t place = run.place;
    const std::size_t bytes = run.bytes, step = run.step;
    const std::uint64_t each = run.each, begun = run.begun;
    std::atomic<std::uint64_t>* const cursor = run.cursor;
    std::uint64_t* const in_hand = run.in_hand;
    const std::uint64_t* const until = run.until;
    FailureReason reason = FailureReason::none;
    do {
        // Done up to here and this one begun: one store. relaxed: only the holder of the hand
        // writes it; who reads it behind a death does so after the kernel has proved the death.
        // The compiler's fences: what handlers store stays on its side of that.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        cursor->store(place | begun, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        *in_hand = place;
        reason = call_handler<T, F>(callable, {payload, bytes}, context);
        if (reason != FailureReason::none) break;
        payload += step;
        place += each;
    } while (place < *until);
    run.payload = payload;
    run.place = place;
    return reason;
}

class EndpointCore;

}  // namespace detail

// Belongs to one thread, save stop(), which any thread and any signal handler's thread may call.
// Must not outlive its Bus.
class Endpoint {
public:
    // What is left is closed: nothing is there to poll, to wait or run for, to stop or to count,
    // its name is empty, and what registers or makes a descriptor throws SetupError.
    Endpoint(Endpoint&&) noexcept;
    Endpoint& operator=(Endpoint&&) noexcept;
    ~Endpoint();

    // Registers the handler for T: a callable with (const T&) or (const T&, Context&), returning
    // nothing, or a reply, which is sent as by Context::reply: dropped when nobody asked, and the
    // handler fails when it is refused. For a command, announces to the daemon that this endpoint
    // handles it; for an event, subscribes unless the options say no.
    // Throws SetupError: another endpoint announced the command, another layout of T is known, no
    // daemon. The reference given to the handler is valid during the call only. A handler may name
    // others while it runs; the one that it replaces may still get what was taken together with
    // the message in hand.
    template <class T, class F>
        requires Command<T> || Event<T>
    Endpoint& on(F handler) {
        static_assert(std::is_invocable_v<F&, const T&> ||
                          std::is_invocable_v<F&, const T&, Context&>,
                      "a handler takes (const T&) or (const T&, Context&)");
        add_handler(descriptor_of<T>,
                    {&detail::call_handler<T, F>, std::make_shared<F>(std::move(handler)),
                     &detail::call_handler_in_turn<T, F>});
        return *this;
    }
    // A handler for everything that has no other: gets the bytes. Used by error endpoints and
    // tools. The span is valid during the call only. Throws SetupError: moved from.
    Endpoint& on_any(std::function<void(std::span<const std::byte>, Context&)> handler);

    // From the return of subscribe on, every publish of E (and of events that list E among their
    // bases) that begins reaches this endpoint, also while no process has it open, until
    // unsubscribe. Throws SetupError. Repeating either is harmless.
    template <Event E>
    void subscribe() {
        subscribe(descriptor_of<E>);
    }
    template <Event E>
    void unsubscribe() {
        unsubscribe(descriptor_of<E>);
    }

    // Handles what is there, at most `limit` messages, in the calling thread, without waiting and
    // without a system call; also delivers replies that arrived for callbacks and coroutines.
    // Returns how many messages were handled. Handlers' exceptions do not come out: see
    // EndpointOptions::attempts_when_throwing.
    std::size_t poll(std::size_t limit = 64);

    // Sleeps until a message may be there, at most `limit`; returns false when the time passed.
    bool wait(std::chrono::nanoseconds limit);

    // Handles until the token or stop() says so, waiting as the options say; with more than one
    // handler thread the calling thread takes messages and a pool handles them: handlers and
    // subscriptions stay as they are meanwhile, also in callbacks. Returns when the handlers that
    // run have finished and what was taken has been handled.
    void run(std::stop_token stop = {});
    void stop() noexcept;

    // For epoll loops: a descriptor that becomes readable when a message may be there. Use:
    // while (arm()) wait for the descriptor (at most 50 ms, for the deaths of peers); then poll().
    // arm() returns false when there is something to poll at once. The Endpoint owns the
    // descriptor. Throws SetupError.
    int fd();
    bool arm();

    [[nodiscard]] std::string_view name() const noexcept;

    // Counts since this Endpoint was opened, of this process.
    struct Counts {
        std::uint64_t handled = 0;      // handler calls that returned
        std::uint64_t threw = 0;        // handler calls that threw
        std::uint64_t redelivered = 0;  // messages taken over from a dead process
        std::uint64_t failed = 0;       // messages given to the error endpoint
        std::uint64_t dropped = 0;      // arrived after unsubscribe, or dropped as the oldest
        std::uint64_t poisoned_lanes = 0;
    };
    [[nodiscard]] Counts counts() const noexcept;

private:
    friend class Bus;
    explicit Endpoint(std::unique_ptr<detail::EndpointCore> core) noexcept;
    void add_handler(const TypeDescriptor& type, detail::Handler handler);
    void subscribe(const TypeDescriptor& type);
    void unsubscribe(const TypeDescriptor& type);
    std::unique_ptr<detail::EndpointCore> core_;
};

}  // namespace shmbus
