// Feeding handler threads and finishing what they have handled. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/pool.h"

#include <algorithm>

#include "base/clock.h"
#include "bus/endpoint_core.h"

namespace shmbus::detail {

using namespace std::chrono_literals;

namespace {

constexpr int spins_before_sleep = 2000;
constexpr std::chrono::nanoseconds worker_sleep = 50ms;

}  // namespace

Pool::Worker::Worker(EndpointCore& endpoint, Handoff& handoff)
    : delivery(*endpoint.core_, endpoint.handle_, endpoint.name_),
      attempt(delivery, endpoint.dispatcher_),
      tasks(handoff.consumer()) {}

Pool::Pool(EndpointCore& endpoint, unsigned threads) : endpoint_(endpoint) {
    for (unsigned i = 0; i < threads; ++i)
        workers_.push_back(std::make_unique<Worker>(endpoint, handoff_));
    for (auto& worker : workers_)
        threads_.emplace_back([this, &mine = *worker](const std::stop_token& stop) {
            work(stop, mine);
        });
}

Pool::~Pool() {
    for (std::jthread& thread : threads_) thread.request_stop();
    handoff_.ring_all();
    threads_.clear();
    Endpoint::Counts& sum = endpoint_.of_pools_;
    for (const auto& worker : workers_) {
        const Tallies& one = worker->attempt.tallies;
        sum.handled += one.handled.read();
        sum.threw += one.threw.read();
        sum.redelivered += one.redelivered.read();
        sum.failed += one.failed.read();
        sum.dropped += one.dropped.read();
    }
}

// ---- a handler thread

void Pool::work(const std::stop_token& stop, Worker& worker) {
    Outbound* outbound = endpoint_.core_->outbound();
    if (outbound == nullptr) return;
    worker.delivery.enter(*outbound);
    int spins = 0;
    for (;;) {
        const std::uint32_t seen = handoff_.given();
        Task task;
        if (handoff_.take(worker.tasks, task)) {
            handle(worker, task);
            spins = 0;
        } else if (stop.stop_requested()) {
            break;
        } else if (++spins < spins_before_sleep) {
            base::cpu_relax();
        } else {
            handoff_.sleep(seen, worker_sleep);
        }
    }
    worker.delivery.leave();
}

void Pool::handle(Worker& worker, const Task& task) {
    Busy& busy = *static_cast<Busy*>(task.busy);
    const Record record{busy.batch, task.index, busy.lane_id, busy.must_copy};
    std::size_t handled = 0;
    const Attempt::End end = worker.attempt.go_on(record, *task.row, endpoint_.rules(),
                                                  wire::most_packed, handled);
    worker.attempt.complaint = {};
    // relaxed, both: carried by SETTLED.
    if (end == Attempt::End::kept)
        busy.kept.fetch_or(std::uint64_t{1} << task.index, std::memory_order_relaxed);
    if (end == Attempt::End::foreign) busy.is_foreign.store(true, std::memory_order_relaxed);
    // SETTLED: the progress in the hand, the last read of the payload. Other end: finish_done.
    if (busy.out.fetch_sub(1, std::memory_order_release) == 1) endpoint_.bell_->ring();
}

// ---- the taking thread

std::size_t Pool::tasks_out() const noexcept {
    std::size_t count = 0;
    // relaxed: an estimate, to keep the queue short.
    for (const Busy& busy : busy_) count += busy.out.load(std::memory_order_relaxed);
    return count;
}

// What needs no handler, here and now.
void Pool::settle_here(Busy& busy, std::uint32_t index) {
    EndpointCore::Open open{busy.batch, index, busy.must_copy, busy.lane_id, {}};
    endpoint_.delivery_.enter(*endpoint_.core_->outbound());
    // Ends: a record holds a bounded number of messages.
    while (open.next == index) endpoint_.work_on_one(open, wire::most_packed);
    endpoint_.delivery_.leave();
    if (!open.kept.empty())
        busy.kept.fetch_or(std::uint64_t{1} << index, std::memory_order_relaxed);  // relaxed: ours
}

// Hands the rest of the batch out, as far as it may go. What was begun by a process that died goes
// alone: if it kills this process too, its neighbours must not be counted dead with it.
bool Pool::hand_out(Busy& busy) {
    bool moved = false;
    while (busy.next < busy.batch->count) {
        const std::uint32_t index = busy.next;
        const Record record{busy.batch, index, busy.lane_id, busy.must_copy};
        const DispatchRow& row =
            endpoint_.dispatcher_.row(wire::Meta::of(record.entry().meta).type);
        const bool must_be_alone = busy.batch->adopted && busy.batch->progress(index).starts != 0;
        if (tasks_out() != 0 && must_be_alone) return moved;
        ++busy.next;
        moved = true;
        if (must_be_alone || row.verdict != DispatchRow::Verdict::handle) {
            settle_here(busy, index);
            continue;
        }
        // relaxed: the queue carries it to the worker.
        busy.out.fetch_add(1, std::memory_order_relaxed);
        handoff_.give({&busy, &row, index});
        if (tasks_out() >= most_tasks / 2) return moved;
    }
    return moved;
}

bool Pool::finish_done() {
    bool moved = false;
    for (auto busy = busy_.begin(); busy != busy_.end();) {
        // SETTLED. Other end: handle.
        const bool done = busy->next == busy->batch->count &&
                          busy->out.load(std::memory_order_acquire) == 0;
        if (!done) {
            ++busy;
            continue;
        }
        EndpointCore::Open open{busy->batch, busy->next, busy->must_copy, busy->lane_id, {}};
        const std::uint64_t kept = busy->kept.load(std::memory_order_relaxed);  // relaxed: SETTLED
        for (std::uint32_t i = 0; i < busy->batch->count; ++i)
            if (kept >> i & 1U) open.kept.push_back({i, {}});
        if (busy->is_foreign.load(std::memory_order_relaxed))  // relaxed: SETTLED
            endpoint_.poison(open, "a record's parts do not fit its header");
        endpoint_.close(open);
        busy = busy_.erase(busy);
        moved = true;
    }
    return moved;
}

bool Pool::feed(bool may_take) {
    bool moved = finish_done();
    for (Busy& busy : busy_) moved = hand_out(busy) || moved;
    const bool all_out = std::all_of(busy_.begin(), busy_.end(), [](const Busy& busy) {
        return busy.next == busy.batch->count;
    });
    if (may_take && all_out && tasks_out() < most_tasks / 2) {
        EndpointCore::Open open;
        if (endpoint_.open_next(open, lane::most_entries)) {
            Busy& busy = busy_.emplace_back();
            busy.batch = open.batch;
            busy.lane_id = open.lane_id;
            busy.must_copy = open.must_copy;
            hand_out(busy);
            moved = true;
        }
    }
    return moved;
}

void Pool::run(const std::function<bool()>& goes_on) {
    Outbound* outbound = endpoint_.core_->outbound();
    if (outbound == nullptr || outbound->delivery != nullptr) return;
    if (endpoint_.open_.batch != nullptr) {
        // Begun by poll() before: finished by poll().
        while (endpoint_.open_.batch != nullptr) endpoint_.poll(lane::most_entries);
    }
    std::uint32_t quiet = 0;
    for (;;) {
        const bool may_take = goes_on();
        if (!may_take && busy_.empty()) break;
        endpoint_.core_->requests().poll();
        if (!endpoint_.parked_.empty()) {
            endpoint_.delivery_.enter(*outbound);
            endpoint_.retry_parked();
            endpoint_.delivery_.leave();
        }
        if (feed(may_take)) quiet = 0;
        else if (busy_.empty()) endpoint_.idle(++quiet);
        else if (++quiet < spins_before_sleep) base::cpu_relax();
        else endpoint_.consumer_->sleep(1ms);
    }
}

}  // namespace shmbus::detail
