// The verbs of Bus that put a message into a lane: send, send_batch, send_each, loan, publish,
// request. Each has a quick way for the usual case; the rest is in outbound.cc and publish.cc.
//
//   the quick way of send: this thread's place -> route of the type -> directory unmoved?
//                          -> claim -> copy -> commit -> does anybody sleep?
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/bus.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "bus/bus_core.h"
#include "bus/delivery.h"
#include "bus/outbound.h"
#include "bus/refusal.h"

namespace shmbus {

using detail::BusCore;
using detail::Outbound;
using detail::Outgoing;
using detail::Route;
using detail::Target;

namespace {

// This thread's lanes when it has used this bus before, else null.
[[gnu::always_inline]] inline Outbound* known_outbound(std::uint64_t token) noexcept {
    const detail::ThreadPlace place = detail::this_thread_place;
    return place.token == token ? place.outbound : nullptr;
}

}  // namespace

// Out of line, so that the quick ways stay short.
[[gnu::noinline]] static Result<void> send_slowly(BusCore* core, const TypeDescriptor& type,
                                                  std::span<const std::byte> bytes,
                                                  std::uint32_t packed,
                                                  const SendOptions& options) {
    Outbound* out = core == nullptr ? nullptr : core->outbound();
    if (out == nullptr) return Error(ErrorCode::closed);
    if (out->delivery != nullptr) return out->delivery->hold_send(type, bytes, packed, options);
    Outgoing message;
    message.payload = bytes;
    message.packed = packed;
    return out->send(type, message, options);
}

// The rare end of a quick way: somebody sleeps, or this kernel wants a fence of senders.
[[gnu::noinline]] static Result<void> ring_and_say_ok(Target& target) noexcept {
    Outbound::ring(target);
    return {};
}

// The quick way for one manner of copying. Its slow ends are tail calls and the rest makes no call,
// so that it needs no stack and saves no registers.
template <class Copy>
[[gnu::always_inline]] static inline Result<void> send_quickly(
    std::uint64_t token, BusCore* core, const TypeDescriptor& type,
    std::span<const std::byte> bytes, const SendOptions& options, Copy copy) {
    Outbound* out = known_outbound(token);
    if (out == nullptr) [[unlikely]] return send_slowly(core, type, bytes, 0, options);
    if (out->delivery != nullptr) [[unlikely]] return send_slowly(core, type, bytes, 0, options);
    Target* target = out->quick_target(type, options, bytes.size());
    if (target == nullptr) [[unlikely]] return send_slowly(core, type, bytes, 0, options);
    lane::Writer& writer = *target->writer;
    const std::uint64_t units = (wire::head_bytes + bytes.size() + wire::unit_bytes - 1) /
                                wire::unit_bytes;  // no extensions
    const lane::QuickClaim claim = writer.claim_quickly(units);
    if (!claim) [[unlikely]] return send_slowly(core, type, bytes, 0, options);
    copy(claim.record + wire::head_bytes, bytes.data(), bytes.size());
    detail::close_end(claim.record, wire::head_bytes + bytes.size());
    writer.commit_quickly(claim, out->routes.guess(&type).meta | bytes.size(), units);
    if (target->fence || Outbound::seems_asleep(*target)) [[unlikely]]
        return ring_and_say_ok(*target);
    return {};
}

// Very short and longer messages: the same with a copy that may call memcpy, so that the middle
// sizes need no stack for it.
[[gnu::noinline]] static Result<void> send_odd_size(std::uint64_t token, BusCore* core,
                                                    const TypeDescriptor& type,
                                                    std::span<const std::byte> bytes,
                                                    const SendOptions& options) {
    return send_quickly(token, core, type, bytes, options,
                        [](auto... parts) { detail::copy_bytes(parts...); });
}

// One type after the other: the route of this one becomes the latest, and then it goes quickly.
template <std::size_t bytes>
[[gnu::noinline]] static Result<void> send_by_another_route(std::uint64_t token, BusCore* core,
                                                            const TypeDescriptor& type,
                                                            const std::byte* message) {
    Outbound* const out = known_outbound(token);
    if (out == nullptr) return send_slowly(core, type, {message, bytes}, 0, default_send_options);
    const Route& route = out->routes.guess(&type);
    if (route.key == &type && route.quick_version == out->directory_version() &&
        out->delivery == nullptr)
        out->note_latest(route);
    return send_quickly(token, core, type, {message, bytes}, default_send_options,
                        [](std::byte* to, const std::byte* from, std::size_t) {
                            __builtin_memcpy(to, from, bytes);
                        });
}

// Written so that it keeps everything in the registers that a call may spoil, and stores nothing
// but the record and the lane's end: between distant cores stores wait in the processor's store
// buffer for the lines of the lane, and how many messages are on their way is how many fit there.
template <std::size_t bytes>
Result<void> Bus::send_fixed(const TypeDescriptor& type, const std::byte* message) {
    if (detail::this_thread_place.token != token_) [[unlikely]]
        return send_by_another_route<bytes>(token_, core_.get(), type, message);
    const Outbound* const out = detail::this_thread_place.outbound;
    const Route& route = out->latest();
    if (route.key != &type || route.quick_version != out->directory_version() ||
        out->delivery != nullptr) [[unlikely]]
        return send_by_another_route<bytes>(token_, core_.get(), type, message);
    lane::Writer* const writer = route.writer;
    // A record without extensions: the size tells the rest.
    constexpr std::uint64_t units = wire::units_of(bytes);
    const lane::QuickClaim claim = writer->claim_quickly(units);
    if (!claim) [[unlikely]]
        return send_by_another_route<bytes>(token_, core_.get(), type, message);
    __builtin_memcpy(claim.record + wire::head_bytes, message, bytes);
    writer->commit_quickly(claim, route.whole_meta, units);
    // relaxed: a bit that is missed belongs to a sleeper that will look around.
    if (route.sleepers->load(std::memory_order_relaxed) != 0) [[unlikely]]
        return ring_and_say_ok(*route.target);
    return {};
}
template Result<void> Bus::send_fixed<16>(const TypeDescriptor&, const std::byte*);
template Result<void> Bus::send_fixed<24>(const TypeDescriptor&, const std::byte*);
template Result<void> Bus::send_fixed<32>(const TypeDescriptor&, const std::byte*);
template Result<void> Bus::send_fixed<40>(const TypeDescriptor&, const std::byte*);
template Result<void> Bus::send_fixed<48>(const TypeDescriptor&, const std::byte*);

Result<void> Bus::send_bytes(const TypeDescriptor& type, std::span<const std::byte> bytes,
                             const SendOptions& options) {
    if (!detail::is_middle_size(bytes.size())) [[unlikely]]
        return send_odd_size(token_, core_.get(), type, bytes, options);
    return send_quickly(token_, core_.get(), type, bytes, options,
                        [](auto... parts) { detail::copy_middle(parts...); });
}

Result<void> Bus::send_packed(const TypeDescriptor& type, std::span<const std::byte> bytes,
                              std::size_t count, const SendOptions& options) {
    if (count == 0) return {};
    if (count > wire::most_packed) return Error(ErrorCode::too_many);
    return send_slowly(core_.get(), type, bytes, static_cast<std::uint32_t>(count), options);
}

Result<std::size_t> Bus::send_run(const TypeDescriptor& type, std::span<const std::byte> bytes,
                                  std::size_t count, const SendOptions& options) {
    if (count == 0) return std::size_t{0};
    // All behind the first would be dropped, as the first once more.
    if (count > 1 && options.id != MessageId{} && Outbound::is_durable(type, options))
        return detail::refuse(ErrorCode::too_many, "an id is that of one message");
    const std::size_t each = bytes.size() / count;
    std::size_t done = 0;
    // Ends: each turn sends at least one message or returns.
    while (done < count) {
        Outbound* out = known_outbound(token_);
        Target* target = out == nullptr || out->delivery != nullptr
                             ? nullptr
                             : out->quick_target(type, options, each);
        if (target != nullptr) {
            const std::size_t begin = done;
            const std::uint64_t meta = out->routes.guess(&type).meta | each;
            while (done < count &&
                   Outbound::put(*target, meta, bytes.data() + done * each, each))
                ++done;
            if (done != begin) Outbound::ring(*target);
            if (done == count) break;
        }
        const Result<void> slowly =
            send_slowly(core_.get(), type, bytes.subspan(done * each, each), 0, options);
        if (!slowly) {
            if (done != 0) return done;
            return slowly.error();
        }
        ++done;
    }
    return done;
}

// What is known of who gets this event, when nothing has to be looked up. Null: it takes the slow
// way.
[[nodiscard, gnu::always_inline]] static inline detail::Audience* quick_audience(
    Outbound* out, const TypeDescriptor& type, std::size_t bytes) noexcept {
    if (out == nullptr || out->delivery != nullptr) return nullptr;
    detail::Audience& audience = out->audiences.guess(&type);
    const bool is_right = audience.key == &type && audience.version == out->directory_version() &&
                          bytes <= audience.most_payload;
    return is_right ? &audience : nullptr;
}

// To the subscribers from number `next` on; those before it have it.
[[gnu::noinline]] static Result<Published> publish_from(Outbound& out,
                                                        const detail::Audience& audience,
                                                        std::span<const std::byte> bytes,
                                                        const SendOptions& options,
                                                        std::uint32_t next) {
    Published answer;
    answer.subscribers = next;
    Error refused;
    for (; next < audience.subscribers.size(); ++next) {
        const detail::Subscription& to = audience.subscribers[next];
        Target& target = *to.target;
        if (target.writer != nullptr &&
            Outbound::put(target, audience.meta | bytes.size(), bytes.data(), bytes.size()))
            [[likely]] {
            target.spent_otherwise.add(1);
            Outbound::ring(target);
            ++answer.subscribers;
            continue;
        }
        Outgoing message;
        message.type = wire::Meta::of(audience.meta).type;
        message.payload = bytes;
        const Result<void> written = out.publish_one(to, message, options, answer);
        if (!written) refused = written.error();
    }
    out.published.add(1);
    if (audience.subscribers.empty()) out.without_subscriber.add(1);
    if (refused.code() != ErrorCode::ok) return refused;
    return answer;
}

// Puts a short event into each subscriber's lane, and looks once, behind the last, whether somebody
// sleeps. Makes no call, as send_fixed.
template <std::size_t bytes>
[[gnu::always_inline]] static inline detail::Reached put_to_all(
    Outbound& out, const detail::Audience& audience, const std::byte* message) noexcept {
    // A record without extensions: the size tells the rest. It fits into any lane.
    constexpr std::uint64_t units = wire::units_of(bytes);
    const std::uint64_t meta = audience.meta | bytes;
    std::uint32_t reached = 0;
    std::uint64_t sleepers = 0;
    for (const detail::Subscription& to : audience.subscribers) {
        lane::Writer* const writer = to.target->writer;
        if (writer == nullptr) [[unlikely]] return {reached, false};
        const lane::QuickClaim claim = writer->claim_quickly(units);
        if (!claim) [[unlikely]] return {reached, false};
        __builtin_memcpy(claim.record + wire::head_bytes, message, bytes);
        writer->commit_quickly(claim, meta, units);
        to.target->spent_otherwise.add(1);
        // relaxed: a bit that is missed belongs to a sleeper that will look around.
        sleepers |= to.sleepers->load(std::memory_order_relaxed);
        ++reached;
    }
    if (reached == 0 || sleepers != 0) [[unlikely]] return {reached, false};
    out.published.add(1);
    return {reached, true};
}

// One type after the other: the audience of this one becomes the latest.
template <std::size_t bytes>
[[gnu::noinline]] static detail::Reached publish_to_another(std::uint64_t token,
                                                            const TypeDescriptor& type,
                                                            const std::byte* message) noexcept {
    Outbound* const out = known_outbound(token);
    const detail::Audience* const audience = quick_audience(out, type, bytes);
    if (audience == nullptr) return {};
    out->note_latest(*audience);
    return put_to_all<bytes>(*out, *audience, message);
}

template <std::size_t bytes>
detail::Reached Bus::publish_fixed(const TypeDescriptor& type, const std::byte* message) noexcept {
    if (detail::this_thread_place.token != token_) [[unlikely]] return {};
    Outbound* const out = detail::this_thread_place.outbound;
    const detail::Audience& audience = out->latest_audience();
    if (audience.key != &type || audience.version != out->directory_version() ||
        out->delivery != nullptr) [[unlikely]]
        return publish_to_another<bytes>(token_, type, message);
    return put_to_all<bytes>(*out, audience, message);
}
template detail::Reached Bus::publish_fixed<16>(const TypeDescriptor&,
                                                const std::byte*) noexcept;
template detail::Reached Bus::publish_fixed<24>(const TypeDescriptor&,
                                                const std::byte*) noexcept;
template detail::Reached Bus::publish_fixed<32>(const TypeDescriptor&,
                                                const std::byte*) noexcept;
template detail::Reached Bus::publish_fixed<40>(const TypeDescriptor&,
                                                const std::byte*) noexcept;
template detail::Reached Bus::publish_fixed<48>(const TypeDescriptor&,
                                                const std::byte*) noexcept;

Result<Published> Bus::publish_on(const TypeDescriptor& type, std::span<const std::byte> message,
                                  std::uint32_t reached) {
    if (reached == 0) return publish_bytes(type, message, default_send_options);
    Outbound& out = *known_outbound(token_);
    // Not looked up again: the directory may have moved, and these have it.
    const detail::Audience& audience = out.latest_audience();
    for (std::uint32_t i = 0; i < reached; ++i) Outbound::ring(*audience.subscribers[i].target);
    return publish_from(out, audience, message, default_send_options, reached);
}

Result<Published> Bus::publish_bytes(const TypeDescriptor& type, std::span<const std::byte> bytes,
                                     const SendOptions& options) {
    Outbound* out = known_outbound(token_);
    if (options.is_usual()) [[likely]] {
        if (const detail::Audience* const audience = quick_audience(out, type, bytes.size()))
            return publish_from(*out, *audience, bytes, options, 0);
    }
    out = core_ ? core_->outbound() : nullptr;
    if (out == nullptr) return Error(ErrorCode::closed);
    if (out->delivery != nullptr) {
        const Result<void> held = out->delivery->publish(type, bytes, options);
        if (!held) return held.error();
        return Published{};
    }
    Outgoing message;
    message.payload = bytes;
    return out->publish(type, message, options);
}

// ---- loans

namespace {

[[nodiscard]] std::uint64_t with_trace(std::uint64_t meta_word) noexcept {
    wire::Meta meta = wire::Meta::of(meta_word);
    meta.flags |= wire::has_trace;
    meta.extension_units = wire::extension_bytes(wire::has_trace) / 16;
    return meta.word();
}

void write_trace(const TraceContext& trace, std::byte* record) noexcept {
    Outgoing message;
    message.carry(trace);
    wire::write_extensions(message.extensions, record + wire::head_bytes);
}

}  // namespace

detail::LoanRoom Bus::loan_room(const TypeDescriptor& type, std::size_t bytes,
                                const SendOptions& options) {
    detail::LoanRoom room;
    Outbound* out = core_ ? core_->outbound() : nullptr;
    if (out == nullptr || out->delivery != nullptr) {
        // Inside a handler nothing may become visible before it returns, and a loan is its room.
        room.error = Error(out == nullptr ? ErrorCode::closed : ErrorCode::would_block);
        return room;
    }
    if (Outbound::is_durable(type, options)) {
        room.error = Error(ErrorCode::would_block);
        return room;
    }
    const Result<Route*> route = out->route(type, options.destination);
    if (!route) {
        room.error = route.error();
        return room;
    }
    if (bytes > (*route)->most_payload) {
        room.error = detail::too_large(bytes, (*route)->most_payload);
        return room;
    }
    Target& target = *(*route)->target;
    std::uint64_t meta = (*route)->meta | bytes;
    if (options.trace) [[unlikely]] meta = with_trace(meta);
    const std::uint64_t units = wire::units_of(meta);
    if (target.has_loan || target.writer->lost() || !target.writer->claim(units)) {
        const Result<void> there = out->make_room(
            target, units, Outbound::patience_of(options.when_full, options.wait));
        if (!there) {
            room.error = there.error();
            return room;
        }
    }
    const lane::Claim claim = target.writer->claim(units);
    if (options.trace) [[unlikely]] write_trace(*options.trace, claim.record);
    const std::size_t payload_at = wire::Meta::of(meta).payload_offset();
    detail::close_end(claim.record, payload_at + bytes);
    room.record = claim.record;
    room.bytes = claim.record + payload_at;
    room.lane = &target;
    room.position = claim.position;
    room.meta = meta;
    room.tally = &out->sent;
    // Sends to the same endpoint take the slow way from here on, which sees the loan.
    target.budget_kept = target.writer->budget();
    target.has_loan = true;
    target.spent_otherwise.add(target.budget_kept);
    target.writer->set_budget(0);
    return room;
}

namespace detail {

namespace {

void give_loan_back(const LoanRoom& room) noexcept {
    Target& target = *static_cast<Target*>(room.lane);
    target.has_loan = false;
    target.writer->set_budget(target.budget_kept);
    target.spent_otherwise.add(0 - target.budget_kept);
}

}  // namespace

void abandon_loan(LoanRoom& room) noexcept {
    wire::abandon_record(room.record, wire::units_of(room.meta));
    give_loan_back(room);
}

void commit_loan(LoanRoom& room) noexcept {
    give_loan_back(room);
    Target& target = *static_cast<Target*>(room.lane);
    target.writer->commit({room.record, room.position}, room.meta);
    static_cast<Tally*>(room.tally)->add(1);
    Outbound::ring(target);
}

}  // namespace detail

// ---- requests

Result<std::shared_ptr<detail::PendingCore>> Bus::request_bytes(const TypeDescriptor& type,
                                                                std::span<const std::byte> bytes,
                                                                const RequestOptions& options) {
    if (!core_) return Error(ErrorCode::closed);
    return detail::request(*core_, type, bytes, options);
}

}  // namespace shmbus
