// Working out who handles a type. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/dispatcher.h"

#include <algorithm>
#include <utility>

#include "bus/bus_core.h"

namespace shmbus::detail {

void Dispatcher::add(std::uint16_t type, Handler handler) {
    // The handler that is replaced may be the one that runs.
    for (const Registered& known : registered_)
        if (known.type == type) replaced_.push_back(known.handler.callable);
    std::erase_if(registered_, [&](const Registered& known) { return known.type == type; });
    registered_.push_back({type, std::move(handler)});
    forget();
}

void Dispatcher::add_any(Any any) {
    // As above.
    if (any_) replaced_.push_back(any_);
    any_ = std::make_shared<Any>(std::move(any));
    forget();
}

void Dispatcher::set_subscribed(std::uint16_t type, bool subscribed) {
    if (subscribed) unsubscribed_.erase(type);
    else unsubscribed_.insert(type);
    forget();
}

// The row of the handler that runs is read behind it: that handler may change the handlers, and
// more than once, but nobody asks for a row meanwhile.
void Dispatcher::forget() noexcept {
    if (!rows_.empty()) former_rows_ = std::exchange(rows_, {});
    quick_.clear();
    plain_ = {};
}

const Dispatcher::Plain* Dispatcher::look_up_plain(std::uint64_t meta) noexcept {
    const wire::Meta told = wire::Meta::of(meta);
    const Quick* const known = quick(told.type);
    // Those of a trace are told of: see Attempt.
    constexpr unsigned others = wire::is_packed | wire::has_trace;
    if (known == nullptr || !extensions_fit(meta) || (told.flags & others) != 0 ||
        known->bytes != told.payload_bytes)
        return nullptr;
    plain_ = {meta, *known, told.payload_offset(),
              (told.flags & wire::has_time_sent) != 0 ? wire::time_sent_at(told.flags) : 0};
    return &plain_;
}

bool Dispatcher::is_subscribed(std::uint16_t type) const {
    std::vector<directory::Subscriber> there;
    std::uint64_t version = 0;
    // When in doubt it counts as subscribed: the message is then reported, not dropped.
    if (!core_.directory().subscribers(type, there, version)) return true;
    return std::any_of(there.begin(), there.end(), [&](const directory::Subscriber& one) {
        return one.endpoint == endpoint_.index && one.endpoint_generation == endpoint_.generation;
    });
}

DispatchRow Dispatcher::work_out(std::uint16_t type) {
    DispatchRow row;
    row.version = core_.directory().version();
    row.counted = meter_.row_of(type);
    const auto known = core_.directory().type(type);
    std::vector<std::uint32_t> names{type};
    if (known) static_cast<void>(core_.directory().lineage(type, names));
    if (names.empty()) names.push_back(type);
    for (const std::uint32_t name : names)
        for (const Registered& registered : registered_)
            if (registered.type == name && !unsubscribed_.contains(registered.type))
                row.handlers.push_back(registered.handler);
    if (known) row.bytes = known->row.bytes;
    if (!row.handlers.empty()) {
        row.verdict = DispatchRow::Verdict::handle;
        return row;
    }
    const bool is_event = known && known->row.kind == static_cast<std::uint8_t>(Kind::event);
    if (any_ && *any_) {
        row.verdict = DispatchRow::Verdict::handle;
        row.takes_anything = true;
        row.bytes = 0;
    } else if (is_event && (unsubscribed_.contains(type) || !is_subscribed(type))) {
        row.verdict = DispatchRow::Verdict::drop;
    }
    return row;
}

const DispatchRow& Dispatcher::row(std::uint16_t type) {
    if (type >= rows_.size()) {
        rows_.resize(std::size_t{type} + 1);
        quick_.resize(std::size_t{type} + 1);
    }
    std::unique_ptr<DispatchRow>& known = rows_[type];
    const bool stale = known && known->verdict != DispatchRow::Verdict::handle &&
                       known->version != core_.directory().version();
    if (known && !stale) return *known;
    known = std::make_unique<DispatchRow>(work_out(type));
    if (known->verdict == DispatchRow::Verdict::handle) meter_.time_apart(known->counted);
    if (known->verdict == DispatchRow::Verdict::handle && known->handlers.size() == 1 &&
        !known->takes_anything && known->bytes != 0)
        quick_[type] = {known->handlers[0].call, known->handlers[0].call_run,
                        known->handlers[0].callable.get(), known->bytes, known->counted};
    return *known;
}

}  // namespace shmbus::detail
