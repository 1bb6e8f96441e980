// Start here: open a bus, send commands, publish events, make requests, open endpoints.
//
//     auto bus = shmbus::Bus::open("shop");
//     if (auto sent = bus.send(PlaceOrder{.order_id = 7}); !sent) log(sent.error().text());
//
// A bus lives in a directory. Its name is looked up as described in the README (SHMBUS_DIR, the
// runtime directory of the user); a name with a slash is that directory itself.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/endpoint.h>
#include <shmbus/pending.h>
#include <shmbus/receipt.h>

namespace [[gnu::visibility("default")]] shmbus {

namespace detail {
class BusCore;
// Room for one message in a lane. Null room: refused with error.
struct LoanRoom {
    std::byte* bytes = nullptr;
    std::byte* record = nullptr;  // in which they stand
    void* lane = nullptr;
    void* tally = nullptr;
    std::uint64_t position = 0;
    std::uint64_t meta = 0;
    Error error;
};
[[gnu::visibility("default")]] void commit_loan(LoanRoom& room) noexcept;
[[gnu::visibility("default")]] void abandon_loan(LoanRoom& room) noexcept;
}  // namespace detail

// Room in the receiver's lane itself: fill it in place, then commit. What is not committed was
// never there. Belongs to the thread that asked for it; while it is open that thread cannot send
// to the same endpoint. Must not outlive the Bus.
template <InPlace T>
class [[nodiscard]] Loan {
public:
    explicit Loan(detail::LoanRoom room) noexcept : room_(room) {}
    Loan(Loan&& other) noexcept : room_(other.room_) { other.room_.bytes = nullptr; }
    Loan& operator=(Loan&&) = delete;
    ~Loan() {
        if (room_.bytes) detail::abandon_loan(room_);
    }
    explicit operator bool() const noexcept { return room_.bytes != nullptr; }
    // Why there is no room: those of send(), or would_block: inside a handler, or while another
    // loan to the same endpoint is open.
    [[nodiscard]] const Error& error() const noexcept { return room_.error; }
    T* operator->() noexcept { return reinterpret_cast<T*>(room_.bytes); }
    T& operator*() noexcept { return *reinterpret_cast<T*>(room_.bytes); }
    // Hands the message over. Cannot fail: the room was ours. The loan is empty afterwards.
    void commit() noexcept {
        detail::commit_loan(room_);
        room_.bytes = nullptr;
    }

private:
    detail::LoanRoom room_;
};

// How many endpoints an event went to. One that took its subscription back while the event waited
// for its room is not among them.
struct Published {
    std::uint32_t subscribers = 0;  // 0: nobody subscribes, which is no error
    std::uint32_t dropped = 0;      // of them full, with a policy that drops
};

namespace detail {
// Fits into one cache line together with what stands before each record, by whole words.
template <class T>
inline constexpr bool fits_into_line =
    InPlace<T> && sizeof(T) >= 16 && sizeof(T) <= 48 && sizeof(T) % 8 == 0;

// How far the quick way of an event came.
struct Reached {
    std::uint32_t subscribers = 0;
    bool is_all = false;  // and nothing is left to be done
};

template <class T>
struct SentAs {
    using sent = void;
    using published = Published;
};
template <Message T>
    requires is_durable<T>
struct SentAs<T> {
    using sent = Receipt;
    using published = Receipt;
};
}  // namespace detail

// What a send or a publish returns beside an error: the receipt of a T that is declared durable.
template <class T>
using Sent = typename detail::SentAs<T>::sent;
template <class T>
using PublishedAs = typename detail::SentAs<T>::published;

// Many threads may use one Bus. Each thread writes lanes of its own, so what one thread sends to
// one endpoint arrives in its order, and nothing is promised between threads.
class Bus {
public:
    // Joins the bus of that name; starts a daemon for it when none runs and the options allow it.
    // Throws SetupError: no directory, no permission, another layout version, no daemon.
    static Bus open(std::string_view name, BusOptions options = {});
    // Loans, receipts, requests and endpoints go on with the Bus it is moved to. What is left is
    // closed, as in a forked child: calls answer closed, endpoint() and declare_endpoint() throw
    // SetupError, nothing is there to poll or to count; directory() and wake_method() are empty.
    Bus(Bus&&) noexcept;
    Bus& operator=(Bus&&) noexcept;
    // Leaves the bus. Messages that were sent stay.
    ~Bus();

    // Sends a command to the endpoint that announced it (or to options.destination). Returned
    // success means: it is in the receiver's queue and survives the death of this process.
    // Errors: full, no_route, no_endpoint, too_large, no_daemon (first send to an endpoint
    // only), lane_lost, closed, no_journal. Inside a handler of this Bus it joins the
    // handler's outputs.
    //
    // A T that is declared durable goes to its receiver by way of the journal, and what is returned
    // is its receipt. Every durable message may be waited for as well by receipt() or sync().
    template <Command T>
    Result<Sent<T>> send(const T& message, const SendOptions& options) {
        if constexpr (is_durable<T>) {
            const detail::Encoded encoded(message);
            return send_durably(descriptor_of<T>, encoded.bytes(), options);
        } else if constexpr (InPlace<T>) {
            return send_bytes(descriptor_of<T>, std::as_bytes(std::span<const T, 1>(&message, 1)),
                              options);
        } else {
            const detail::Encoded encoded(message);
            return send_bytes(descriptor_of<T>, encoded.bytes(), options);
        }
    }
    // The same with default options, which is the quickest way there is.
    template <Command T>
    Result<Sent<T>> send(const T& message) {
        if constexpr (!is_durable<T> && detail::fits_into_line<T>) {
            return send_fixed<sizeof(T)>(
                descriptor_of<T>, std::as_bytes(std::span<const T, 1>(&message, 1)).data());
        } else {
            return send(message, default_send_options);
        }
    }
    // Sends many commands of one type behind one header: the receiver handles each by itself, a
    // refusal refuses all. At most 4,096 messages and a quarter of the lane. Errors as send().
    template <Command T>
        requires InPlace<T>
    Result<void> send_batch(std::span<const T> messages,
                            const SendOptions& options = default_send_options) {
        return send_packed(descriptor_of<T>, std::as_bytes(messages), messages.size(), options);
    }
    // Sends many commands, each with a header and an id of its own, ringing once. Returns how many
    // went before the first refusal; an error only when that was the first. One id for all of them
    // is refused: too_many.
    template <Command T>
        requires InPlace<T>
    Result<std::size_t> send_each(std::span<const T> messages,
                                  const SendOptions& options = default_send_options) {
        return send_run(descriptor_of<T>, std::as_bytes(messages), messages.size(), options);
    }
    // Publishes an event to every subscriber. Errors: full (a subscriber whose policy refuses or
    // whose wait ended), lane_lost, refused, no_daemon and timeout (there is no lane to a
    // subscriber): the others have it, and details name that one. To nobody: too_large, closed,
    // no_journal, and refused, no_daemon and timeout when it is the first of its type.
    //
    // A T that is declared durable is one record in the journal however many subscribe, and what is
    // returned is its receipt. It goes to those who subscribe when it gets there.
    template <Event T>
    Result<PublishedAs<T>> publish(const T& message,
                                   const SendOptions& options = default_send_options) {
        if constexpr (is_durable<T>) {
            const detail::Encoded encoded(message);
            return send_durably(descriptor_of<T>, encoded.bytes(), options);
        } else if constexpr (InPlace<T>) {
            const auto bytes = std::as_bytes(std::span<const T, 1>(&message, 1));
            if constexpr (detail::fits_into_line<T>) {
                if (&options == &default_send_options) {
                    const detail::Reached reached =
                        publish_fixed<sizeof(T)>(descriptor_of<T>, bytes.data());
                    if (reached.is_all) return Published{reached.subscribers, 0};
                    return publish_on(descriptor_of<T>, bytes, reached.subscribers);
                }
            }
            return publish_bytes(descriptor_of<T>, bytes, options);
        } else {
            const detail::Encoded encoded(message);
            return publish_bytes(descriptor_of<T>, encoded.bytes(), options);
        }
    }
    // Zero copy: room for a T in the receiver's lane. T's bytes are whatever lay there; fill all.
    // Transient ones only: a durable message is copied to disk anyway.
    template <Command T>
        requires(InPlace<T> && !is_durable<T>)
    Loan<T> loan(const SendOptions& options = default_send_options) {
        return Loan<T>(loan_room(descriptor_of<T>, sizeof(T), options));
    }
    // Sends a command and expects T::reply. Errors come out of the Pending. Inside a handler it is
    // one of its outputs: handler_failed when those are dropped.
    template <Request T>
    Pending<typename T::reply> request(const T& message, const RequestOptions& options = {}) {
        const detail::Encoded encoded(message);
        Result<std::shared_ptr<detail::PendingCore>> core =
            request_bytes(descriptor_of<T>, encoded.bytes(), options);
        if (!core) return Pending<typename T::reply>(core.error());
        return Pending<typename T::reply>(std::move(*core));
    }

    // The receipt of the last durable message that this thread has sent or published, however its
    // durability was chosen. Covers all that the thread sent before.
    [[nodiscard]] Receipt receipt() const;
    // Waits until every durable message that this process has sent on this Bus before the call is
    // on disk. Errors: timeout; lane_lost: of some it cannot be known any more, because a lane of
    // theirs was damaged; said once.
    Result<void> sync(std::chrono::nanoseconds limit = std::chrono::seconds{30});

    // Opens an endpoint to receive: makes it if it does not exist, joins its other processes if
    // it does. Throws SetupError: no daemon, quota, bad name, too many consumers.
    Endpoint endpoint(std::string_view name, EndpointOptions options = {});
    // Makes an endpoint that handles T known before it first runs, so that a sender may come first.
    // Throws SetupError as endpoint().
    template <Command... T>
    void declare_endpoint(std::string_view name, const EndpointOptions& options = {}) {
        const TypeDescriptor* types[] = {&descriptor_of<T>..., nullptr};
        declare(name, options, std::span<const TypeDescriptor* const>(types, sizeof...(T)));
    }

    // Delivers replies that arrived for callbacks and coroutines, and deadlines that passed. For
    // processes without an endpoint. Returns how many. Never waits.
    std::size_t poll();

    // Counts since this Bus was opened, of this process.
    struct Counts {
        std::uint64_t sent = 0;
        std::uint64_t published = 0;
        std::uint64_t dropped = 0;             // by a policy that drops
        std::uint64_t without_subscriber = 0;  // publishes that nobody subscribes to
        std::uint64_t late_replies = 0;        // came after their request had ended
        std::uint64_t replies_to_gone = 0;     // whose requester had left, died or reads none
    };
    [[nodiscard]] Counts counts() const noexcept;
    // The directory in which this bus lives.
    [[nodiscard]] const std::string& directory() const noexcept;
    // "membarrier" when senders pay nothing for sleepers, "fence" when they pay one per send.
    [[nodiscard]] std::string_view wake_method() const noexcept;

private:
    explicit Bus(std::shared_ptr<detail::BusCore> core) noexcept;
    // `type` has this size; so many bytes are read from `message`. 16, 24, 32, 40 or 48.
    template <std::size_t bytes>
    Result<void> send_fixed(const TypeDescriptor& type, const std::byte* message);
    Result<void> send_bytes(const TypeDescriptor&, std::span<const std::byte>, const SendOptions&);
    Result<Receipt> send_durably(const TypeDescriptor&, std::span<const std::byte>,
                                 const SendOptions&);
    Result<void> send_packed(const TypeDescriptor&, std::span<const std::byte>, std::size_t count,
                             const SendOptions&);
    Result<std::size_t> send_run(const TypeDescriptor&, std::span<const std::byte>,
                                 std::size_t count, const SendOptions&);
    Result<Published> publish_bytes(const TypeDescriptor&, std::span<const std::byte>,
                                    const SendOptions&);
    // As send_fixed. Unless all is done publish_on, right behind it, does the rest.
    template <std::size_t bytes>
    detail::Reached publish_fixed(const TypeDescriptor& type, const std::byte* message) noexcept;
    // To the subscribers behind the first `reached`, which have it and may sleep.
    Result<Published> publish_on(const TypeDescriptor& type, std::span<const std::byte> message,
                                 std::uint32_t reached);
    detail::LoanRoom loan_room(const TypeDescriptor&, std::size_t bytes, const SendOptions&);
    Result<std::shared_ptr<detail::PendingCore>> request_bytes(const TypeDescriptor&,
                                                               std::span<const std::byte>,
                                                               const RequestOptions&);
    void declare(std::string_view name, const EndpointOptions&,
                 std::span<const TypeDescriptor* const>);
    std::shared_ptr<detail::BusCore> core_;
    // Compared with the calling thread's own note of where its lanes are. All ones: moved from.
    std::uint64_t token_ = ~std::uint64_t{0};
};

}  // namespace shmbus
