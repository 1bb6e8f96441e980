// For users' tests: a context that records, and a whole bus in a temporary directory.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/bus.h>

#include <cstring>
#include <string>
#include <vector>

namespace [[gnu::visibility("default")]] shmbus {
namespace testing {

// Throws std::invalid_argument; here, so that this compiles without exceptions as well.
[[noreturn, gnu::visibility("default")]] void not_as_asked(const std::string& why);

// One message that a handler sent, published or replied.
struct Recorded {
    enum class Verb { send, publish, reply, send_local } verb;
    std::string type;
    std::string destination;  // as given in the options
    std::vector<std::byte> bytes;

    // The message as a T; throws std::invalid_argument when it is of another type.
    template <Message T>
    [[nodiscard]] T as() const {
        if (type != descriptor_of<T>.name) not_as_asked("this is a " + type);
        T value{};
        if constexpr (InPlace<T>) std::memcpy(&value, bytes.data(), sizeof(T));
        else if (!Codec<T>::decode(bytes, value)) not_as_asked("not decodable");
        return value;
    }
};

// A context to call a handler with, without any bus. It accepts what a bus might refuse, and keeps
// what it was given when the handler throws.
//     RecordingContext context;
//     handler(PlaceOrder{.order_id = 7}, context);
//     CHECK(context.replied().at(0).as<OrderAccepted>().order_id == 7);
class RecordingContext final : private detail::Outbox {
public:
    // `envelope` describes the incoming message; give it a reply_to to allow replies.
    explicit RecordingContext(Envelope envelope = default_envelope());
    ~RecordingContext();
    RecordingContext(const RecordingContext&) = delete;
    RecordingContext& operator=(const RecordingContext&) = delete;
    operator Context&() noexcept { return context_; }

    // In the order in which the handler made them.
    [[nodiscard]] const std::vector<Recorded>& all() const noexcept { return all_; }
    [[nodiscard]] std::vector<Recorded> sent() const;
    [[nodiscard]] std::vector<Recorded> published() const;
    [[nodiscard]] std::vector<Recorded> replied() const;
    // A first delivery of some message that expects a reply.
    static Envelope default_envelope();

private:
    const Envelope& envelope() override { return envelope_; }
    Result<void> send(const TypeDescriptor&, std::span<const std::byte>,
                      const SendOptions&) override;
    Result<void> publish(const TypeDescriptor&, std::span<const std::byte>,
                         const SendOptions&) override;
    Result<void> reply(const TypeDescriptor&, std::span<const std::byte>) override;
    Result<void> send_local(const TypeDescriptor&, std::span<const std::byte>) override;
    std::vector<Recorded> only(Recorded::Verb verb) const;

    Envelope envelope_;
    std::vector<Recorded> all_;
    Context context_;
};

// A bus in a directory of its own, with a daemon of its own; both go when it is destroyed, but not
// in a forked child.
class TemporaryBus {
public:
    // Throws SetupError as Bus::open.
    explicit TemporaryBus(BusOptions options = {});
    ~TemporaryBus();
    TemporaryBus(const TemporaryBus&) = delete;
    TemporaryBus& operator=(const TemporaryBus&) = delete;
    // Opened by the constructor; may be opened by others under directory().
    [[nodiscard]] Bus& bus() noexcept;
    [[nodiscard]] const std::string& directory() const noexcept;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace testing
}  // namespace shmbus
