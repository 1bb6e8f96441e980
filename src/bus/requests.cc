// Matching answers with requests, waiting for them, calling back. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/requests.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/clock.h"
#include "bus/bus_core.h"
#include "bus/delivery.h"
#include "bus/outbound.h"
#include "bus/refusal.h"

namespace shmbus::detail {

using namespace std::chrono_literals;

namespace {

constexpr int answer_spins = 2000;
constexpr std::uint64_t look_every_ns = 1'000'000;  // for deadlines and stops of callbacks

// The request that this record answers.
MessageId request_of(const wire::Extensions& extensions) noexcept {
    if (extensions.flags & wire::has_lineage) return extensions.lineage.related_to;
    return wire::root_of(extensions.id);
}

}  // namespace

Requests::~Requests() = default;

Result<wire::ReplyTo> Requests::address() {
    // OPENED. Other end: open.
    if (consumer_.load(std::memory_order_acquire) == nullptr) {
        if (const Result<void> opened = open(); !opened) return opened.error();
    }
    // Who asks on and on and waits for no answer would leave them to fill the inbox.
    // relaxed: of what other threads have asked, the next one that asks will know.
    if (due_.load(std::memory_order_relaxed) != 0) {
        if (std::unique_lock reader(reading_, std::try_to_lock); reader) read_inbox();
    }
    return wire::ReplyTo{inbox_->endpoint, inbox_->generation, 0};
}

Result<void> Requests::open() {
    const std::lock_guard lock(mutex_);
    if (inbox_) return {};
    try {
        const Result<OpenedInbox> opened = core_.session().reply_inbox();
        if (!opened) return opened.error();
        const BusFolder& folder = core_.session().folder();
        inbox_.reset(new ReplyInbox{
            opened->endpoint, opened->generation, SelfBell(opened->inbox, opened->slot),
            lane::Consumer(opened->inbox, opened->slot, core_.session().reference(),
                           folder.lanes().fd(), lane::Peers(folder.participants().fd()),
                           [&core = core_](bool is_error, std::string_view text) {
                               core.log(is_error ? LogLevel::error : LogLevel::info, text);
                           })});
    } catch (const std::exception& error) {
        return refuse(ErrorCode::refused, error.what());
    }
    // OPENED: the inbox, whole. Other ends: address, read_inbox, read_patiently.
    consumer_.store(&inbox_->consumer, std::memory_order_release);
    return {};
}

void Requests::expect(const std::shared_ptr<PendingCore>& pending) {
    const std::lock_guard lock(mutex_);
    if (spare_) {
        spare_.key() = pending->id;
        spare_.mapped() = pending;
        waiting_.insert(std::move(spare_));
    } else {
        waiting_.emplace(pending->id, pending);
    }
    count_due(1);
}

void Requests::count_due(int more) noexcept {
    // relaxed: see address. More answers than requests: one that was handled twice.
    const std::uint64_t due = due_.load(std::memory_order_relaxed);
    if (more > 0 || due != 0)
        due_.store(due + static_cast<std::uint64_t>(more), std::memory_order_relaxed);
}

void Requests::leave_table(Table::const_iterator place) noexcept {
    spare_ = waiting_.extract(place);
    spare_.mapped().reset();
}

void Requests::leave_table(PendingCore& pending) noexcept {
    const auto place = waiting_.find(pending.id);
    if (place != waiting_.end() && place->second.get() == &pending) leave_table(place);
}

void Requests::end(PendingCore& pending, ErrorCode why) noexcept {
    if (pending.state != PendingCore::State::waiting) return;
    const std::shared_ptr<PendingCore> kept = pending.shared_from_this();
    pending.state = PendingCore::State::ended;
    pending.why = why;
    leave_table(pending);
    if (pending.ready) ready_.push_back(kept);
}

void Requests::give_up(PendingCore& pending) noexcept {
    std::function<void()> dropped;  // destroyed outside the lock: it may own anything
    const std::lock_guard lock(mutex_);
    leave_table(pending);
    pending.state = PendingCore::State::ended;
    pending.why = ErrorCode::closed;
    if (!pending.ready) return;
    // A coroutine that was destroyed while it waited: it must not be resumed.
    dropped = std::exchange(pending.ready, nullptr);
    callbacks_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: see has_callbacks
}

void Requests::end_unsent(PendingCore& pending) noexcept {
    const std::lock_guard lock(mutex_);
    count_due(-1);
    end(pending, ErrorCode::handler_failed);
    // Another thread may have got it to wait for.
    if (inbox_) inbox_->bell.ring();
    changed_.notify_all();
}

void Requests::read_one(const lane::Batch& batch, const lane::Entry& entry) noexcept {
    const wire::Meta meta = wire::Meta::of(entry.meta);
    wire::Extensions extensions;
    const std::byte* record = entry.record;
    if (!wire::read_extensions(meta, record + wire::head_bytes, extensions)) {
        consumer_.load(std::memory_order_relaxed)  // relaxed: the caller has it already
            ->poison(*batch.lane, "a reply's extensions do not fit its header");
        return;
    }
    const MessageId request = request_of(extensions);
    const std::lock_guard lock(mutex_);
    count_due(-1);
    const auto place = waiting_.find(request);
    if (place == waiting_.end()) {
        late_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a figure to show
        return;
    }
    const std::shared_ptr<PendingCore> pending = place->second;
    if (meta.flags & wire::has_failure) {
        end(*pending, ErrorCode::handler_failed);
        return;
    }
    const std::byte* payload = record + meta.payload_offset();
    pending->keep({payload, meta.payload_bytes});
    pending->type = meta.type;
    pending->state = PendingCore::State::answered;
    leave_table(place);
    if (pending->ready) ready_.push_back(pending);
}

std::size_t Requests::read_inbox() noexcept {
    // OPENED. Other end: address.
    lane::Consumer* consumer = consumer_.load(std::memory_order_acquire);
    if (consumer == nullptr) return 0;
    std::size_t came = 0;
    while (lane::Batch* batch = consumer->take(lane::most_entries)) {
        for (std::uint32_t i = 0; i < batch->count; ++i) read_one(*batch, batch->entry(i));
        came += batch->count;
        consumer->finish(batch);
        // relaxed: see address.
        if (due_.load(std::memory_order_relaxed) == 0) break;
    }
    if (came != 0) changed_.notify_all();
    return came;
}

void Requests::read_patiently(std::uint64_t deadline_ns) noexcept {
    lane::Consumer* consumer = consumer_.load(std::memory_order_acquire);  // OPENED
    if (consumer == nullptr) return;
    // Who has waited for an answer asks again.
    consumer->expect_answer_through(core_.outbound()->latest().writer);
    for (int spin = 0; spin < answer_spins; ++spin) {
        if (read_inbox() != 0) return;
        base::cpu_relax();
    }
    const std::uint64_t now = base::now_ns();
    if (now >= deadline_ns) return;
    consumer->sleep(std::chrono::nanoseconds(deadline_ns - now));
    core_.session().tend();
    read_inbox();
}

Result<void> Requests::wait(PendingCore& pending, const TypeDescriptor& reply) {
    const Result<void> there = wait_for_any(pending);
    return there ? is_a(pending, reply) : there;
}

Result<void> Requests::wait_for_any(PendingCore& pending) {
    const Outbound* mine = core_.outbound();
    if (mine == nullptr || mine->delivery != nullptr) {
        give_up(pending);
        return Error(mine == nullptr ? ErrorCode::closed : ErrorCode::would_block);
    }
    const auto wake = [this] {
        const std::lock_guard lock(mutex_);
        if (inbox_) inbox_->bell.ring();
        changed_.notify_all();
    };
    const std::stop_callback on_stop(pending.stop, wake);
    std::unique_lock lock(mutex_);
    // Ends: by the deadline at the latest.
    while (pending.state == PendingCore::State::waiting) {
        const std::uint64_t now = base::now_ns();
        if (pending.stop.stop_requested()) end(pending, ErrorCode::stopped);
        else if (now >= pending.deadline_ns) end(pending, ErrorCode::timeout);
        else {
            lock.unlock();
            std::unique_lock reader(reading_, std::try_to_lock);
            if (reader) {
                read_patiently(pending.deadline_ns);
                reader.unlock();
                lock.lock();
                // Somebody else reads from now on, if this one is done.
                changed_.notify_all();
            } else {
                lock.lock();
                if (pending.state == PendingCore::State::waiting && !pending.stop.stop_requested())
                    changed_.wait_for(lock, std::min<std::chrono::nanoseconds>(
                                                50ms, std::chrono::nanoseconds(
                                                         pending.deadline_ns - now)));
            }
        }
    }
    return take_any(pending);
}

void Requests::when_ready(PendingCore& pending, std::function<void()> ready) {
    const std::lock_guard lock(mutex_);
    pending.ready = std::move(ready);
    callbacks_.fetch_add(1, std::memory_order_relaxed);  // relaxed: see has_callbacks
    if (pending.state != PendingCore::State::waiting) ready_.push_back(pending.shared_from_this());
}

void Requests::when_received(Receipt receipt, std::uint64_t deadline_ns,
                             std::function<void()> ready) {
    const std::lock_guard lock(mutex_);
    receipts_.push_back({std::move(receipt), deadline_ns, std::move(ready)});
    callbacks_.fetch_add(1, std::memory_order_relaxed);  // relaxed: see has_callbacks
}

Result<void> Requests::take(PendingCore& pending, const TypeDescriptor& reply) {
    std::unique_lock lock(mutex_);
    const Result<void> there = take_any(pending);
    lock.unlock();
    return there ? is_a(pending, reply) : there;
}

Result<void> Requests::take_any(PendingCore& pending) noexcept {
    if (pending.state == PendingCore::State::ended) return Error(pending.why);
    if (pending.state == PendingCore::State::waiting) return Error(ErrorCode::would_block);
    pending.state = PendingCore::State::ended;
    pending.why = ErrorCode::closed;
    return {};
}

Result<void> Requests::is_a(const PendingCore& pending, const TypeDescriptor& reply) {
    Outbound* const mine = core_.outbound();
    const Result<std::uint16_t> wanted =
        mine != nullptr ? mine->type_index(reply) : core_.type_index(reply);
    if (!wanted) return wanted.error();
    if (*wanted != pending.type) return Error(ErrorCode::wrong_type);
    return {};
}

void Requests::end_overdue(std::uint64_t now_ns) noexcept {
    std::vector<std::shared_ptr<PendingCore>> overdue;
    for (const auto& [id, pending] : waiting_)
        if (pending->ready && (now_ns >= pending->deadline_ns || pending->stop.stop_requested()))
            overdue.push_back(pending);
    for (const auto& pending : overdue)
        end(*pending,
            pending->stop.stop_requested() ? ErrorCode::stopped : ErrorCode::timeout);
}

std::size_t Requests::poll() {
    if (!has_callbacks()) return 0;
    if (std::unique_lock reader(reading_, std::try_to_lock); reader) {
        read_inbox();
    }
    std::vector<std::shared_ptr<PendingCore>> answered;
    std::vector<ReceiptWait> received;
    {
        const std::lock_guard lock(mutex_);
        const std::uint64_t now = base::now_ns();
        if (now >= next_look_ns_) {
            next_look_ns_ = now + look_every_ns;
            end_overdue(now);
        }
        answered.swap(ready_);
        std::erase_if(receipts_, [&](ReceiptWait& one) {
            const bool is_due = one.receipt.is_there() || now >= one.deadline_ns;
            if (is_due) received.push_back(std::move(one));
            return is_due;
        });
    }
    std::size_t called = 0;
    const auto call = [&](const std::function<void()>& ready) {
        if (!ready) return;
        callbacks_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: see has_callbacks
        ++called;
        ready();
    };
    std::ptrdiff_t next_answered = 0, next_received = 0;
    try {
        for (const auto& pending : answered) {
            ++next_answered;
            call(take_ready(*pending));
        }
        for (const ReceiptWait& one : received) {
            ++next_received;
            call(one.ready);
        }
    } catch (...) {
        const std::lock_guard lock(mutex_);
        ready_.insert(ready_.begin(), answered.begin() + next_answered, answered.end());
        std::move(received.begin() + next_received, received.end(), std::back_inserter(receipts_));
        throw;
    }
    return called;
}

std::function<void()> Requests::take_ready(PendingCore& pending) noexcept {
    const std::lock_guard lock(mutex_);
    // relaxed: who gives up what is called in another thread orders it by itself.
    if (pending.is_given_up.load(std::memory_order_relaxed)) return {};
    return std::exchange(pending.ready, nullptr);
}

void Requests::close() noexcept {
    std::vector<std::shared_ptr<PendingCore>> ended;
    std::vector<ReceiptWait> received;
    {
        const std::lock_guard lock(mutex_);
        while (!waiting_.empty()) end(*waiting_.begin()->second, ErrorCode::closed);
        ended.swap(ready_);
        received.swap(receipts_);
    }
    const auto call = [&](const std::function<void()>& ready) {
        try {
            if (ready) ready();
        } catch (...) {
            core_.log(LogLevel::error, "a callback that was called because its bus ends threw");
        }
    };
    for (const auto& pending : ended) call(take_ready(*pending));
    for (const ReceiptWait& one : received) call(one.ready);
}

// ---- asking

namespace {

using Asked = std::shared_ptr<PendingCore>;

// By a route that is known, into room that is known of. False: nothing has happened.
bool ask_quickly(BusCore& core, Outbound& out, const TypeDescriptor& type,
                 std::span<const std::byte> bytes, const wire::ReplyTo& address,
                 const Asked& pending) {
    Target* const target = out.quick_target(type, default_send_options, bytes.size());
    if (target == nullptr) return false;
    const Route& route = out.routes.guess(&type);
    constexpr std::uint64_t with_address = wire::Meta{0, 0, 1, wire::has_reply_to}.word();
    const std::uint64_t meta = route.meta | bytes.size() | with_address;
    const std::uint64_t units = wire::units_of(meta);
    const lane::QuickClaim claim = target->writer->claim_quickly(units);
    if (!claim) return false;
    pending->id = wire::id_at(target->writer->lane_id(), claim.at >> 16, 0);
    core.requests().expect(pending);
    std::byte* const payload = claim.record + wire::head_bytes + sizeof(address);
    std::memcpy(claim.record + wire::head_bytes, &address, sizeof(address));
    copy_bytes(payload, bytes.data(), bytes.size());
    close_end(claim.record, wire::head_bytes + sizeof(address) + bytes.size());
    target->writer->commit_quickly(claim, meta, units);
    Outbound::ring(*target);
    out.note_latest(route);
    return true;
}

Result<void> ask(BusCore& core, Outbound& out, const TypeDescriptor& type,
                 std::span<const std::byte> bytes, const RequestOptions& options,
                 const wire::ReplyTo& address, const Asked& pending) {
    Outgoing message;
    message.payload = bytes;
    message.extensions.reply_to = address;
    message.extensions.flags = wire::has_reply_to;
    if (options.trace) message.carry(*options.trace);
    const Result<Target*> found = out.target_of(type, options.destination, message);
    if (!found) return found.error();
    Target& target = **found;
    if (bytes.size() > target.most_payload())
        return too_large(bytes.size(), target.most_payload());
    // It counts from the call, and the daemon may have been waited for since.
    const Result<void> room =
        out.make_room(target, message.most_units(),
                      {.wait = options.deadline, .deadline_ns = pending->deadline_ns,
                       .stop = &options.stop});
    if (!room) return room.error();
    pending->id = wire::id_at(target.writer->lane_id(), target.writer->tail(), 0);
    core.requests().expect(pending);
    out.write(target, message);
    Outbound::ring(target);
    out.sent.add(1);
    return {};
}

}  // namespace

Result<std::shared_ptr<PendingCore>> request(BusCore& core, const TypeDescriptor& type,
                                             std::span<const std::byte> bytes,
                                             const RequestOptions& options) {
    Outbound* const out = core.outbound();
    if (out == nullptr) return Error(ErrorCode::closed);
    auto pending = std::make_shared<PendingCore>();
    pending->bus = core.weak_from_this();
    pending->stop = options.stop;
    // The deadline counts from the call: before anything that may wait.
    const auto count_from_here = [&] {
        if (pending->deadline_ns == 0) pending->deadline_ns = base::deadline_in(options.deadline);
    };
    if (out->delivery != nullptr) {
        count_from_here();
        const Result<void> held = out->delivery->hold_request(type, bytes, options, pending);
        if (!held) return held.error();
        return pending;
    }
    if (!core.requests().has_address()) count_from_here();
    const Result<wire::ReplyTo> address = core.requests().address();
    if (!address) return address.error();
    // Expected before it can be answered: its id is the place where it is about to be written.
    const bool is_usual = options.destination.empty() && !options.trace;
    if (is_usual && ask_quickly(core, *out, type, bytes, *address, pending)) {
        // Read while the message travels; nobody else looks at it before somebody waits.
        count_from_here();
        return pending;
    }
    count_from_here();
    const Result<void> asked = ask(core, *out, type, bytes, options, *address, pending);
    if (!asked) return asked.error();
    return pending;
}

// ---- what the public templates call

namespace {

// Null when the bus is gone, and in a forked child, where its locks may be held by nobody.
std::shared_ptr<BusCore> bus_of(const PendingCore& pending) noexcept {
    std::shared_ptr<BusCore> bus = pending.bus.lock();
    if (bus && bus->is_in_child()) {
        // The child must not be the one that takes the bus apart.
        static_cast<void>(new (std::nothrow) std::shared_ptr<BusCore>(std::move(bus)));
        return nullptr;
    }
    return bus;
}

}  // namespace

Result<std::span<const std::byte>> wait_for(PendingCore& core, const TypeDescriptor& reply) {
    const std::shared_ptr<BusCore> bus = bus_of(core);
    if (!bus) return Error(ErrorCode::closed);
    if (const Result<void> there = bus->requests().wait(core, reply); !there) return there.error();
    return core.bytes();
}

void when_ready(PendingCore& core, std::function<void()> ready) {
    const std::shared_ptr<BusCore> bus = bus_of(core);
    if (!bus) {
        ready();
        return;
    }
    bus->requests().when_ready(core, std::move(ready));
}

Result<std::span<const std::byte>> take_answer(PendingCore& core, const TypeDescriptor& reply) {
    const std::shared_ptr<BusCore> bus = bus_of(core);
    if (!bus) return Error(ErrorCode::closed);
    if (const Result<void> there = bus->requests().take(core, reply); !there) return there.error();
    return core.bytes();
}

void give_up(PendingCore& core) noexcept {
    core.is_given_up.store(true, std::memory_order_relaxed);  // relaxed: see take_ready
    if (const std::shared_ptr<BusCore> bus = bus_of(core)) bus->requests().give_up(core);
}

}  // namespace shmbus::detail
