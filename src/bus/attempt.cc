// Calling handlers, trying again, giving up. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/attempt.h"

#include <algorithm>
#include <cstring>

#include "base/clock.h"

namespace shmbus::detail {

namespace {

constexpr std::uint8_t most_counted = 250;  // what a byte of the progress word counts to

std::uint8_t one_more(std::uint8_t count) noexcept {
    return count < most_counted ? static_cast<std::uint8_t>(count + 1) : count;
}

}  // namespace

void Complaint::say(std::string_view sentence) noexcept {
    bytes = static_cast<std::uint16_t>(std::min(sentence.size(), text.size() - 1));
    std::copy_n(sentence.begin(), bytes, text.begin());
    text[bytes] = 0;
}

bool Attempt::find_items(const Record& record, Items& into) {
    const lane::Entry entry = record.entry();
    const wire::Meta meta = wire::Meta::of(entry.meta);
    if (!extensions_fit(entry.meta)) return false;
    into.first = entry.record + meta.payload_offset();
    into.bytes = meta.payload_bytes;
    if (record.must_copy) {
        // vector's memory is aligned to 16 as every payload is.
        scratch_.assign(into.first, into.first + into.bytes);
        into.first = scratch_.data();
    }
    if ((meta.flags & wire::is_packed) == 0) return true;
    std::uint32_t count = 0;
    if (meta.payload_bytes < 16) return false;
    std::memcpy(&count, into.first, sizeof(count));
    const std::size_t rest = meta.payload_bytes - 16U;
    if (count == 0 || count > wire::most_packed || rest % count != 0) return false;
    into.first += 16;
    into.bytes = rest / count;
    into.count = count;
    return true;
}

FailureReason Attempt::call_all(const DispatchRow& row, std::span<const std::byte> payload) {
    if (row.takes_anything) {
        dispatcher_.any()(payload, delivery_.context());
        return FailureReason::none;
    }
    for (const Handler& handler : row.handlers) {
        const FailureReason reason =
            handler.call(handler.callable.get(), payload, delivery_.context());
        if (reason != FailureReason::none) return reason;
    }
    return FailureReason::none;
}

// One call, its outputs flushed. `threw`: the attempt failed and may be made again.
FailureReason Attempt::call_once(const DispatchRow& row, std::span<const std::byte> payload,
                                 bool& threw) noexcept {
    threw = false;
    try {
        const FailureReason reason = call_all(row, payload);
        if (reason != FailureReason::none) {
            delivery_.drop();
            return reason;
        }
        if (!delivery_.has_outputs()) return FailureReason::none;
        if (const Result<void> flushed = delivery_.flush(); !flushed) {
            threw = true;
            complaint.say("outputs not sent: " + std::string(name_of(flushed.error().code())));
        }
        return FailureReason::none;
    } catch (const std::exception& error) {
        complaint.say(error.what());
    } catch (...) {
        complaint.say("an exception that is no std::exception");
    }
    threw = true;
    delivery_.drop();
    return FailureReason::none;
}

FailureReason Attempt::call_timed(const DispatchRow& row, std::span<const std::byte> payload,
                                  bool& threw) noexcept {
    const lane::Entry entry = delivery_.in_hand().batch->entry(delivery_.in_hand().place.record());
    const bool tells_time = meter.is_on() && (entry.meta >> 52 & wire::has_time_sent) != 0;
    const bool has_trace = (entry.meta >> 52 & wire::has_trace) != 0;
    const bool is_due = sampler.is_due(1);
    if (!is_due && !tells_time && !has_trace) [[likely]] return call_once(row, payload, threw);
    const std::uint64_t begin = base::ticks();
    const std::uint64_t begin_ns = base::now_ns();
    const FailureReason reason = call_once(row, payload, threw);
    const std::uint64_t spent = base::ticks() - begin;
    if (has_trace) {
        const std::string_view said(complaint.text.data(), complaint.bytes);
        const bool failed = threw || reason != FailureReason::none;
        delivery_.tell_span(begin_ns, base::now_ns(), !failed          ? std::string_view()
                                                      : said.empty() ? name_of(reason)
                                                                     : said);
    }
    if (reason != FailureReason::none || threw) return reason;
    const Meter::Origin origin{row.counted, delivery_.in_hand().lane_id};
    if (is_due) sampler.took(meter, origin, spent);
    if (!tells_time) return reason;
    const auto sent = static_cast<std::uint64_t>(delivery_.extensions().time_sent.monotonic_ns);
    meter.handled_since(origin, sent, begin_ns, base::now_ns());
    return reason;
}

Attempt::Settled Attempt::give_up(const Record& record, const AttemptRules& rules,
                                  FailureReason reason, const lane::Progress& progress) {
    wire::FailureRecord failure{};
    failure.reason = static_cast<std::uint8_t>(reason);
    failure.attempts = static_cast<std::uint8_t>(
        std::min<unsigned>(most_counted, unsigned{progress.failures} + progress.starts));
    failure.signal = reason == FailureReason::process_died ? record.batch->signal() : 0;
    failure.what_bytes = static_cast<std::uint8_t>(complaint.bytes);
    std::copy_n(complaint.text.begin(), complaint.bytes, failure.what);
    if (!delivery_.give_to_error_endpoint(rules.error_endpoint, failure)) return Settled::kept;
    count(tallies.failed, lane::Counter::failed, record.entry());
    if (reason == FailureReason::handler_threw) meter.count(lane::Counter::exhausted);
    complaint = {};
    return Settled::given_up;
}

Attempt::Settled Attempt::settle(const Record& record, const DispatchRow& row,
                                 const AttemptRules& rules, const InHand& in_hand,
                                 lane::Progress& progress) {
    const std::span<const std::byte> payload(in_hand.payload, in_hand.bytes);
    InHand now = in_hand;
    // Ends: each turn that repeats has counted a failure, up to the rules' number.
    for (;;) {
        delivery_.aim(now);
        if (row.verdict == DispatchRow::Verdict::refuse)
            return give_up(record, rules, FailureReason::unknown_type, progress);
        if (row.bytes != 0 && row.bytes != in_hand.bytes)
            return give_up(record, rules, FailureReason::wrong_size, progress);
        if (progress.starts >= rules.most_deaths)
            return give_up(record, rules, FailureReason::process_died, progress);
        if (progress.failures >= rules.most_throws)
            return give_up(record, rules, FailureReason::handler_threw, progress);
        now.attempt = 1U + progress.failures + progress.starts;
        delivery_.aim(now);
        progress.starts = one_more(progress.starts);
        record.batch->set(record.index, progress);
        bool threw = false;
        const FailureReason reason = call_timed(row, payload, threw);
        --progress.starts;
        if (reason != FailureReason::none) {
            record.batch->set(record.index, progress);
            return give_up(record, rules, reason, progress);
        }
        if (!threw) {
            complaint = {};
            return Settled::handled;
        }
        if (!delivery_.daemon_missed()) progress.failures = one_more(progress.failures);
        record.batch->set(record.index, progress);
        if (delivery_.daemon_missed()) return Settled::kept;
        count(tallies.threw, lane::Counter::threw, record.entry());
    }
}

Attempt::End Attempt::go_on(const Record& record, const DispatchRow& row,
                            const AttemptRules& rules, std::size_t limit, std::size_t& handled) {
    Items items;
    if (!find_items(record, items)) return End::foreign;
    lane::Progress progress = record.batch->progress(record.index);
    while (progress.done < items.count) {
        if (handled >= limit) return End::limit;
        if (row.verdict == DispatchRow::Verdict::drop) {
            count(tallies.dropped, lane::Counter::dropped, record.entry());
        } else {
            InHand in_hand;
            in_hand.batch = record.batch;
            in_hand.place = Place::at(record.index, progress.done);
            in_hand.payload = items.first + items.bytes * progress.done;
            in_hand.bytes = items.bytes;
            in_hand.lane_id = record.lane_id;
            in_hand.redelivered = record.batch->adopted;
            const Settled settled = settle(record, row, rules, in_hand, progress);
            if (settled == Settled::kept) return End::kept;
            if (settled == Settled::handled) {
                tallies.handled.add(1);
                meter.add(*row.counted, 1);
            }
            if (in_hand.redelivered)
                count(tallies.redelivered, lane::Counter::redelivered, record.entry());
            ++handled;
        }
        progress = {static_cast<std::uint16_t>(progress.done + 1), 0, 0};
        record.batch->set(record.index, progress);
    }
    return End::done;
}

}  // namespace shmbus::detail
