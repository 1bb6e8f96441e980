// An endpoint of this process: polling, waiting, running. See the header; pool.cc has the pool.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/endpoint_core.h"

#include <algorithm>

#include "base/clock.h"
#include "bus/pool.h"

#include <unistd.h>

namespace shmbus::detail {

using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t polls_before_sleep = 2000;
constexpr std::chrono::nanoseconds idle_sleep = 50ms;
// Of an empty poll for a message that is waited for, some 0.1 us together: between near cores the
// sooner it is seen the better, between far ones a longer pause now and then leaves its line to the
// writer (bench: pingpong).
constexpr unsigned looks_in_a_row = 3;
// While callbacks are awaited, or messages are kept, nobody rings for them.
constexpr std::chrono::nanoseconds busy_sleep = 1ms;
constexpr std::uint64_t retry_every_ns = 1'000'000;
constexpr std::uint64_t look_for_daemon_every_ns = 20'000'000;

EndpointSpec spec_of(const EndpointOptions& options) {
    EndpointSpec spec;
    spec.waiting = options.waiting;
    spec.events_when_full = options.events_when_full;
    spec.lane_bytes = options.lane_bytes;
    spec.events_wait = options.events_wait;
    return spec;
}

}  // namespace

// Makes the endpoint and the one that takes what fails in it.
EndpointHandle make_endpoint(BusCore& core, std::string_view name,
                             const EndpointOptions& options) {
    const std::string tried = "opening an endpoint";
    EndpointSpec own = spec_of(options);
    if (options.error_endpoint == name) own.kind = directory::EndpointKind::error;
    const EndpointHandle handle = value_or_setup_error(
        core.session().create_endpoint(name, own), tried, std::string(name));
    if (!options.error_endpoint.empty() && options.error_endpoint != name) {
        EndpointSpec spec = spec_of(options);
        spec.kind = directory::EndpointKind::error;
        static_cast<void>(value_or_setup_error(
            core.session().create_endpoint(options.error_endpoint, spec),
            "making the error endpoint of " + std::string(name), options.error_endpoint));
    }
    return handle;
}

EndpointCore::EndpointCore(std::shared_ptr<BusCore> core, std::string_view name,
                           EndpointOptions options)
    : core_(std::move(core)),
      name_(name),
      options_(std::move(options)),
      handle_(make_endpoint(*core_, name_, options_)),
      meter_(core_->options().metrics && environment("SHMBUS_METRICS") != "0",
             [this](std::string_view text) { core_->log(LogLevel::warning, text); }),
      dispatcher_(*core_, handle_, meter_),
      delivery_(*core_, handle_, name_),
      tallies_(1 + std::size_t{options_.handler_threads}),
      attempt_(delivery_, dispatcher_, tallies_[0], meter_),
      fast_path_(delivery_, attempt_, dispatcher_),
      uid_(::geteuid()) {
    if (options_.error_endpoint.empty()) options_.error_endpoint = "error";
    const OpenedInbox opened = value_or_setup_error(core_->session().attach(handle_),
                                                    "joining an endpoint's consumers", name_);
    slot_ = opened.slot;
    bell_ = std::make_unique<SelfBell>(opened.inbox, opened.slot);
    const BusFolder& folder = core_->session().folder();
    consumer_ = std::make_unique<lane::Consumer>(
        opened.inbox, opened.slot, core_->session().reference(), folder.lanes().fd(),
        lane::Peers(folder.participants().fd()),
        [this](bool is_error, std::string_view text) {
            core_->log(is_error ? LogLevel::error : LogLevel::info, text);
        });
    meter_.use(opened.inbox, opened.slot, consumer_->tables_version());
    const lane::InboxIdentity identity = lane::read_inbox_identity(opened.inbox);
    others_ = std::make_unique<lane::SocketBell>(
        lane::InboxName{identity.bus_high, identity.bus_low, handle_.index, handle_.generation});
    consumer_->use_descriptors(others_.get());
}

EndpointCore::~EndpointCore() {
    consumer_.reset();
    // What our hands still hold is adopted by the others, or by the next who joins.
    if (const Result<void> left = core_->session().detach(handle_, slot_); !left)
        core_->log(LogLevel::info, "leaving an endpoint: " + left.error().text());
}

void EndpointCore::add_handler(const TypeDescriptor& type, Handler handler) {
    const std::string on_what = std::string(type.name) + " at " + name_;
    const std::uint16_t index =
        value_or_setup_error(core_->type_index(type), "handling a message type", on_what);
    dispatcher_.add(index, std::move(handler));
    // Failed commands of others come to an error endpoint; it does not claim to handle them.
    const auto row = core_->directory().endpoint(handle_.index);
    if (row && row->row.kind == directory::EndpointKind::error) return;
    if (type.kind == Kind::command)
        require_set_up(core_->session().announce(handle_, index), "announcing a command", on_what);
    else if (options_.subscribe_automatically) subscribe(type);
}

void EndpointCore::subscribe(const TypeDescriptor& type) {
    const std::string on_what = std::string(type.name) + " at " + name_;
    const std::uint16_t index =
        value_or_setup_error(core_->type_index(type), "subscribing to an event", on_what);
    require_set_up(core_->session().subscribe(handle_, index, options_.events_when_full),
                   "subscribing to an event", on_what);
    dispatcher_.set_subscribed(index, true);
}

void EndpointCore::unsubscribe(const TypeDescriptor& type) {
    const std::string on_what = std::string(type.name) + " at " + name_;
    const std::uint16_t index =
        value_or_setup_error(core_->type_index(type), "unsubscribing from an event", on_what);
    require_set_up(core_->session().unsubscribe(handle_, index), "unsubscribing from an event",
                   on_what);
    dispatcher_.set_subscribed(index, false);
}

AttemptRules EndpointCore::rules() const noexcept {
    // A byte of the progress word counts them.
    return {std::clamp(options_.attempts_when_throwing, 1U, 250U),
            std::clamp(options_.attempts_when_dying, 1U, 250U), options_.error_endpoint};
}

// ---- polling

void EndpointCore::open_batch(Open& open, lane::Batch& batch) const noexcept {
    open.batch = &batch;
    open.next = 0;
    open.must_copy = must_copy(*batch.lane);
    open.lane_id = batch.lane->lane_id();
}

std::size_t EndpointCore::work_on_one(Open& open, std::size_t limit) {
    const Record record{open.batch, open.next, open.lane_id, open.must_copy};
    std::size_t handled = 0;
    switch (attempt_.go_on(record, row_of(open, open.next), rules(), limit, handled)) {
        case Attempt::End::limit: return handled;
        case Attempt::End::done: break;
        case Attempt::End::kept: open.keep(open.next, attempt_); break;
        case Attempt::End::foreign: poison(open, "a record's parts do not fit its header"); break;
    }
    attempt_.complaint = {};
    ++open.next;
    return handled;
}

std::size_t EndpointCore::work(Open& open, std::size_t limit) {
    std::size_t handled = 0;
    const bool may_be_quick = !open.batch->adopted && !open.must_copy;
    while (open.next < open.batch->count && handled < limit) {
        if (may_be_quick && !open.batch->is_listed())
            handled += fast_path_.handle(*open.batch, open.next, limit - handled);
        if (open.next < open.batch->count && handled < limit)
            handled += work_on_one(open, limit - handled);
    }
    return handled;
}

void EndpointCore::poison(const Open& open, std::string_view why) noexcept {
    consumer_->poison(*open.batch->lane, why);
}

void EndpointCore::close(Open& open) {
    if (open.kept.empty()) [[likely]] {
        consumer_->finish(open.batch);
    } else {
        core_->log(LogLevel::error, "endpoint " + name_ + " keeps messages until shmbusd answers " +
                                        "or " + options_.error_endpoint + " has room: " +
                                        open.why_kept);
        parked_.push_back(std::move(open));
        open.kept.clear();
    }
    open.batch = nullptr;
}

std::size_t EndpointCore::retry_parked() {
    const std::uint64_t now = base::now_ns();
    if (now < next_retry_ns_) return 0;
    std::size_t handled = 0;
    bool is_missed = false;  // the daemon: who waits for it need not find the same once more
    for (Open& open : parked_) {
        std::erase_if(open.kept, [&](Kept& kept) {
            if (kept.needs_daemon && is_missed) return false;
            const Record record{open.batch, kept.index, open.lane_id, open.must_copy};
            attempt_.complaint = kept.complaint;
            const Attempt::End end = attempt_.go_on(record, row_of(open, kept.index), rules(),
                                                    wire::most_packed, handled);
            kept.complaint = attempt_.complaint;
            attempt_.complaint = {};
            kept.needs_daemon = end == Attempt::End::kept && delivery_.daemon_missed();
            is_missed = is_missed || kept.needs_daemon;
            return end == Attempt::End::done;
        });
        if (open.kept.empty()) {
            consumer_->finish(open.batch);
            open.batch = nullptr;
        }
    }
    std::erase_if(parked_, [](const Open& open) { return open.batch == nullptr; });
    next_retry_ns_ = base::now_ns() + (is_missed ? look_for_daemon_every_ns : retry_every_ns);
    return handled;
}

std::size_t EndpointCore::tidy_up() {
    if (announced_) {
        announced_ = false;
        consumer_->withdraw();
        rung_->drain();
    }
    core_->requests().poll();
    if (parked_.empty()) return 0;
    delivery_.enter(*core_->outbound());
    const std::size_t handled = retry_parked();
    delivery_.leave();
    return handled;
}

std::size_t EndpointCore::poll(std::size_t limit) {
    Outbound* outbound = core_->outbound();
    // Null in a forked child; busy when a handler polls, who would wait for itself.
    if (outbound == nullptr || outbound->delivery != nullptr) [[unlikely]] return 0;
    std::size_t handled = 0;
    if (announced_ || core_->requests().has_callbacks() || !parked_.empty()) [[unlikely]]
        handled = tidy_up();
    consumer_->expect_answer_through(outbound->latest().writer);
    delivery_.enter(*outbound);
    bool was_awaited = false;
    while (handled < limit) {
        if (open_.batch == nullptr) [[likely]] {
            const auto most = static_cast<std::uint32_t>(
                std::min<std::size_t>(limit - handled, lane::most_entries));
            lane::Batch* batch = consumer_->take(most);
            if (batch == nullptr && handled == 0) {
                batch = consumer_->await_expected(looks_in_a_row);
                was_awaited = batch != nullptr;
            }
            if (batch == nullptr) break;
            std::uint32_t next = 0;
            if (!batch->adopted && !must_copy(*batch->lane)) [[likely]] {
                if (batch->count == 1 && fast_path_.handle_single(*batch)) {
                    consumer_->finish(batch);
                    ++handled;
                    // It was not there when poll was called, and is all that the caller waits for:
                    // the place behind it is left to its writer.
                    if (was_awaited) break;
                    continue;
                }
                if (!batch->is_listed())
                    handled += fast_path_.handle(*batch, next, limit - handled);
            }
            if (next == batch->count) [[likely]] {
                consumer_->finish(batch);
                continue;
            }
            open_batch(open_, *batch);
            open_.next = next;
        }
        handled += work(open_, limit - handled);
        if (open_.next == open_.batch->count) close(open_);
    }
    delivery_.leave();
    if (handled == 0) base::cpu_relax();
    return handled;
}

// ---- waiting

bool EndpointCore::wait(std::chrono::nanoseconds limit) {
    if (core_->is_in_child()) return false;
    const std::uint64_t begin = base::now_ns();
    const auto span = static_cast<std::uint64_t>(
        std::clamp<std::chrono::nanoseconds>(limit, 0ns, 8760h).count());
    // Ends: by the limit at the latest.
    for (;;) {
        if (open_.batch != nullptr) return true;
        const std::uint64_t spent = base::now_ns() - begin;
        if (spent >= span) return false;
        const bool busy = !parked_.empty() || core_->requests().has_callbacks();
        const std::chrono::nanoseconds left(span - spent);
        core_->session().tend();  // before the sleep: see idle
        const bool there = consumer_->sleep(std::min(left, busy ? busy_sleep : idle_sleep));
        count_sleeps();
        if (there || busy) return true;
    }
}

void EndpointCore::count_sleeps() noexcept {
    const std::uint64_t slept = consumer_->sleeps();
    if (slept != sleeps_counted_) meter_.count(lane::Counter::wakeups, slept - sleeps_counted_);
    sleeps_counted_ = slept;
}

void EndpointCore::idle(std::uint32_t quiet_polls, std::uint32_t rung, bool may_take) {
    if (options_.waiting == Waiting::spin ||
        (options_.waiting == Waiting::adaptive && quiet_polls < polls_before_sleep)) {
        base::cpu_relax();
        return;
    }
    const bool busy = !parked_.empty() || core_->requests().has_callbacks();
    const std::chrono::nanoseconds limit = busy ? busy_sleep : idle_sleep;
    // Before the sleep: who is woken has a message to handle.
    core_->session().tend();
    if (may_take) consumer_->sleep(limit, rung);
    else consumer_->rest(limit, rung);
    count_sleeps();
}

void EndpointCore::run(const std::stop_token& stop) {
    if (core_->is_in_child()) return;
    const std::stop_callback on_stop(stop, [this] { bell_->ring(); });
    // STOPPED: what the stopper did before is seen by who returns from run. Other end: stop.
    const auto goes_on = [&] {
        return !stop.stop_requested() && !stopping_.load(std::memory_order_acquire);
    };
    if (options_.handler_threads > 1) {
        meter_.set_several(true);
        {
            Pool pool(*this, options_.handler_threads);
            pool.run(goes_on);
        }
        meter_.set_several(false);
    } else {
        for (std::uint32_t quiet_polls = 0;;) {
            const std::uint32_t rung = consumer_->rung();
            if (!goes_on()) break;
            if (poll(lane::most_entries) != 0) quiet_polls = 0;
            else idle(++quiet_polls, rung);
        }
        while (open_.batch != nullptr) poll(lane::most_entries);
    }
    // relaxed: the next run begins in this thread.
    stopping_.store(false, std::memory_order_relaxed);
}

void EndpointCore::stop() noexcept {
    stopping_.store(true, std::memory_order_release);  // STOPPED. Other end: run.
    bell_->ring();
}

int EndpointCore::fd() {
    if (!rung_) {
        const lane::InboxIdentity identity = lane::read_inbox_identity(
            base::File::open_at(core_->session().folder().inboxes().fd(),
                                wire::numbered_file(handle_.index, handle_.generation),
                                base::Access::read_only));
        rung_ = std::make_unique<lane::RungSocket>(
            lane::InboxName{identity.bus_high, identity.bus_low, handle_.index, handle_.generation},
            slot_);
    }
    return rung_->fd();
}

bool EndpointCore::arm() {
    static_cast<void>(fd());
    if (core_->is_in_child() || open_.batch != nullptr) return false;
    // What is kept is looked at when its pause is over: the caller polls every 50 ms anyway.
    if (!parked_.empty() && base::now_ns() >= next_retry_ns_) return false;
    rung_->drain();
    announced_ = consumer_->announce(true);
    return announced_;
}

Endpoint::Counts EndpointCore::counts() const noexcept {
    Endpoint::Counts counts;
    for (const Tallies& one : tallies_) {
        counts.handled += one.handled.read();
        counts.threw += one.threw.read();
        counts.redelivered += one.redelivered.read();
        counts.failed += one.failed.read();
        counts.dropped += one.dropped.read();
    }
    counts.poisoned_lanes = consumer_->poisoned_lanes();
    return counts;
}

}  // namespace shmbus::detail
