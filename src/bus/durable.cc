// Durable messages, the client's side: the lane into the journal, and receipts.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/bus.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "bus/bus_core.h"
#include "bus/delivery.h"
#include "bus/outbound.h"
#include "bus/refusal.h"
#include "wire/channel.h"

namespace shmbus::detail {

using namespace std::chrono_literals;

namespace {

// Looks at a receipt before the thread sleeps, of 16 pauses each: some 5 to 20 us.
constexpr int spins_before_sleep = 32;
// A bell may be missed when the daemon was killed at the wrong moment.
constexpr std::chrono::nanoseconds longest_sleep = 10ms;

// What the daemon refuses on the way to the journal, it refuses for want of that.
[[nodiscard]] Error as_no_journal(const Error& error) {
    if (!(error == ErrorCode::refused) || error.details() == nullptr) return error;
    return refuse(ErrorCode::no_journal, error.details()->reason);
}

}  // namespace

// ---- sending

Result<Target*> Outbound::journal_target(std::uint64_t least_payload) {
    const std::uint64_t version = directory_version();
    if (journal_ != nullptr && journal_version_ == version && journal_->writer != nullptr &&
        journal_->most_payload() >= least_payload)
        return journal_;
    EndpointHandle at;
    if (const auto there = core_.directory().journal_endpoint()) {
        at = {there->index, there->row.generation};
    } else {
        const Result<EndpointHandle> made = core_.session().journal();
        if (!made) return as_no_journal(made.error());
        at = *made;
    }
    const Result<Target*> opened = target(at.index, at.generation, least_payload);
    if (!opened) return as_no_journal(opened.error());
    if ((*opened)->receipts == nullptr) {
        const std::uint64_t lane_id = (*opened)->writer->lane_id();
        try {
            auto receipts = std::make_shared<ReceiptLane>(
                base::File::open_at(core_.session().folder().lanes().fd(),
                                    wire::lane_file(lane_id), base::Access::read_write),
                core_.weak_from_this());
            const std::lock_guard lock(counting_);
            (*opened)->receipts = std::move(receipts);
        } catch (const std::exception& error) {
            return refuse(ErrorCode::lane_lost, error.what());
        }
    }
    {
        const std::lock_guard lock(counting_);
        journal_ = *opened;
    }
    journal_version_ = version;
    return journal_;
}

Result<Target*> Outbound::journal_target_beside(std::uint64_t payload) {
    const Result<Target*> usual = journal_target();
    if (!usual || (*usual)->most_payload() >= payload) return usual;
    return target((*usual)->endpoint, (*usual)->generation, payload, true);
}

Result<DurableRoute> Outbound::durable_route(const TypeDescriptor& type,
                                             std::string_view destination) {
    DurableRoute& known = durable_routes_.of(&type);
    const std::uint64_t version = directory_version();
    if (known.version == version && destination.empty()) return known;
    const Result<std::uint16_t> index = core_.type_index(type);
    if (!index) return index.error();
    DurableRoute route{&type, version, *index, {}};
    if (type.kind == Kind::command) {
        const Result<EndpointHandle> there = receiver_of(type, *index, destination);
        if (!there) return there.error();
        route.to = {there->index, there->generation, 0};
    }
    if (destination.empty()) known = route;
    return route;
}

Result<Target*> Outbound::target_of(const TypeDescriptor& type, std::string_view destination,
                                    Outgoing& message) {
    if (!is_durable(type, default_send_options)) {
        const Result<Route*> found = route(type, destination);
        if (!found) return found.error();
        message.type = wire::Meta::of((*found)->meta).type;
        return (*found)->target;
    }
    return durable_target_of(type, destination, message);
}

Result<Target*> Outbound::durable_target_of(const TypeDescriptor& type,
                                            std::string_view destination, Outgoing& message) {
    const Result<DurableRoute> found = durable_route(type, destination);
    if (!found) return found.error();
    message.type = found->type;
    message.extensions.durable = found->to;
    message.extensions.flags |= wire::has_durable;
    return journal_target();
}

Result<void> Outbound::send_durably(const TypeDescriptor& type, Outgoing& message,
                                    const SendOptions& options) {
    const Result<Target*> journal = durable_target_of(type, options.destination, message);
    if (!journal) return journal.error();
    const std::size_t bytes = message.payload.size() + (message.packed != 0 ? 16 : 0);
    if (bytes > (*journal)->most_payload())
        return too_large(bytes, (*journal)->most_payload());
    if (options.id != MessageId{}) {
        message.extensions.id = options.id;
        message.extensions.flags |= wire::has_explicit_id;
        message.flags |= wire::is_mixed_id;
    }
    const Result<void> written =
        write_and_ring(**journal, message, patience_of(options.when_full, options.wait));
    if (!written) return written;
    if (type.kind == Kind::event) published.add(1);
    else sent.add(message.packed != 0 ? message.packed : 1);
    return {};
}

Receipt Outbound::last_receipt() const {
    if (journal_ == nullptr || journal_->receipts == nullptr || journal_->writer == nullptr) {
        const std::lock_guard lock(counting_);
        return receipts_of_old_.empty() ? Receipt() : receipts_of_old_.back();
    }
    return Receipt(journal_->receipts, journal_->writer->tail());
}

void Outbound::add_receipts(std::vector<Receipt>& into) const {
    const std::lock_guard lock(counting_);
    into.insert(into.end(), receipts_of_old_.begin(), receipts_of_old_.end());
    if (journal_ != nullptr && journal_->receipts != nullptr && journal_->writer != nullptr)
        into.emplace_back(journal_->receipts, journal_->writer->tail());
}

void Outbound::forget_lost_receipts() {
    const std::lock_guard lock(counting_);
    std::erase_if(receipts_of_old_, [](const Receipt& old) {
        const Result<void> there = old.wait(0ns);
        return there || there.error() == ErrorCode::lane_lost;
    });
}

// ---- receipts

bool is_received(const ReceiptLane& lane, std::uint64_t end) noexcept {
    return !lane.is_in_child() && lane.view.has(end);
}

Result<void> wait_for_receipt(ReceiptLane& lane, std::uint64_t end,
                              std::chrono::nanoseconds limit) {
    if (lane.is_in_child()) return Error(ErrorCode::closed);
    for (int spin = 0; limit > 0ns && spin < spins_before_sleep; ++spin) {
        if (lane.view.has(end)) return {};
        for (int pause = 0; pause < 16; ++pause) base::cpu_relax();
    }
    const std::uint64_t deadline = base::deadline_in(limit);
    // Ends: by the deadline at the latest.
    for (;;) {
        if (lane.view.has(end)) return {};
        if (lane.view.lost()) return Error(ErrorCode::lane_lost);
        const std::uint64_t now = base::now_ns();
        if (now >= deadline) break;
        lane.view.wait(end, std::min(longest_sleep, std::chrono::nanoseconds(deadline - now)));
    }
    const std::shared_ptr<BusCore> bus = lane.bus.lock();
    if (!bus) return Error(ErrorCode::timeout);
    return refuse(ErrorCode::timeout, bus->why_journal_waits());
}

void when_received(const std::shared_ptr<ReceiptLane>& lane, std::uint64_t end,
                   std::chrono::nanoseconds limit, std::function<void()> ready) {
    const std::shared_ptr<BusCore> bus = lane->bus.lock();
    if (!bus || bus->is_in_child()) return ready();
    bus->requests().when_received({lane, end}, base::deadline_in(limit), std::move(ready));
}

Result<void> BusCore::sync(std::chrono::nanoseconds limit) {
    std::vector<Receipt> due;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& outbound : outbounds_) outbound->add_receipts(due);
    }
    const std::uint64_t deadline = base::deadline_in(limit);
    Result<void> answer;
    for (const Receipt& receipt : due) {
        const std::uint64_t now = base::now_ns();
        const std::chrono::nanoseconds left(deadline > now ? deadline - now : 0);
        const Result<void> there = receipt.wait(left);
        if (!there && answer) answer = there;
        if (!there && !(there.error() == ErrorCode::lane_lost)) return there;
    }
    // Said once: what follows went through other lanes.
    if (!answer) {
        const std::lock_guard lock(mutex_);
        for (const auto& outbound : outbounds_) outbound->forget_lost_receipts();
    }
    return answer;
}

std::string BusCore::why_journal_waits() const {
    const auto row = directory().journal_endpoint();
    if (row && row->row.condition == 1)
        return "the disk of the journal is full: make room, and it goes on by itself";
    if (row && row->row.condition == 2)
        return "the journal has stopped: the daemon's log and 'shmbus journal verify' say why";
    int error = 0;
    const base::File knock =
        wire::connect_at(session_.folder().directory(), wire::socket_file, error);
    if (!knock && error != EAGAIN)
        return "shmbusd does not run; start it, and what was sent is written to disk";
    return "shmbusd runs but is behind, or stopped";
}

}  // namespace shmbus::detail

namespace shmbus {

Result<Receipt> Bus::send_durably(const TypeDescriptor& type, std::span<const std::byte> bytes,
                                  const SendOptions& options) {
    detail::Outbound* out = core_ ? core_->outbound() : nullptr;
    if (out == nullptr) return Error(ErrorCode::closed);
    if (out->delivery != nullptr) {
        const Result<void> held = type.kind == Kind::event
                                      ? out->delivery->publish(type, bytes, options)
                                      : out->delivery->hold_send(type, bytes, 0, options);
        if (!held) return held.error();
        return detail::Outbound::is_durable(type, options) ? Receipt::of_output() : Receipt();
    }
    detail::Outgoing message;
    message.payload = bytes;
    if (type.kind == Kind::event) {
        const Result<Published> published = out->publish(type, message, options);
        if (!published) return published.error();
    } else if (const Result<void> sent = out->send(type, message, options); !sent) {
        return sent.error();
    }
    return detail::Outbound::is_durable(type, options) ? out->last_receipt() : Receipt();
}

Receipt Bus::receipt() const {
    detail::Outbound* out = core_ ? core_->outbound() : nullptr;
    // In a child the thread's last message is one of its parent's.
    return out == nullptr ? Receipt::of_closed() : out->last_receipt();
}

Result<void> Bus::sync(std::chrono::nanoseconds limit) {
    if (!core_ || core_->is_in_child()) return Error(ErrorCode::closed);
    return core_->sync(limit);
}

}  // namespace shmbus
