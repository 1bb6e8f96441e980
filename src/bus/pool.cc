// Feeding handler threads and finishing what they have handled. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/pool.h"

#include <algorithm>
#include <exception>

#include "base/clock.h"

namespace shmbus::detail {

using namespace std::chrono_literals;

namespace {

constexpr int worker_spins = 2000;
constexpr std::chrono::nanoseconds worker_sleep = 50ms;

// With more threads than hands each batch has work for several of them.
std::uint32_t least_batch(std::size_t threads) {
    return static_cast<std::uint32_t>((threads + lane::hands_each - 1) / lane::hands_each);
}

}  // namespace

Pool::Worker::Worker(EndpointCore& endpoint, Tallies& tallies, Handoff& handoff)
    : delivery(*endpoint.core_, endpoint.handle_, endpoint.name_),
      attempt(delivery, endpoint.dispatcher_, tallies, endpoint.meter_),
      tasks(handoff.consumer()) {}

Pool::Pool(EndpointCore& endpoint, unsigned threads)
    : endpoint_(endpoint), handoff_(threads * lane::most_entries), batch_(least_batch(threads)) {
    for (unsigned i = 0; i < threads; ++i)
        workers_.push_back(
            std::make_unique<Worker>(endpoint, endpoint.tallies_[i + 1], handoff_));
    for (auto& worker : workers_)
        threads_.emplace_back([this, &mine = *worker](const std::stop_token& stop) {
            work(stop, mine);
        });
}

Pool::~Pool() {
    for (std::jthread& thread : threads_) thread.request_stop();
    handoff_.ring();
    threads_.clear();
    // Something is left only when an exception ended run: of a callback, say.
    finish_settled();
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
            handle(worker.attempt, task);
            spins = 0;
        } else if (stop.stop_requested()) {
            break;
        } else if (++spins < worker_spins) {
            base::cpu_relax();
        } else {
            handoff_.sleep(seen, worker_sleep);
        }
    }
    worker.delivery.leave();
}

void Pool::handle(Attempt& attempt, const Task& task) {
    Busy& busy = *static_cast<Busy*>(task.busy);
    EndpointCore::Open& open = busy.open;
    const Record record{open.batch, task.index, open.lane_id, open.must_copy};
    std::size_t handled = 0;
    const std::uint64_t begin = base::ticks();
    const Attempt::End end =
        attempt.go_on(record, *task.row, endpoint_.rules(), wire::most_packed, handled);
    if (end != Attempt::End::done) [[unlikely]] {
        const std::lock_guard lock(busy.mutex);
        if (end == Attempt::End::kept) open.keep(task.index, attempt);
        else busy.is_foreign = true;
    }
    attempt.complaint = {};
    // relaxed: carried by SETTLED.
    busy.ticks.fetch_add(base::ticks() - begin, std::memory_order_relaxed);
    // SETTLED: the progress in the hand, the last read of the payload, what is kept. `busy` may be
    // gone from here on. Other end: finish_settled.
    if (busy.left.fetch_sub(1, std::memory_order_release) == 1) endpoint_.bell_->ring();
}

// ---- the taking thread

void Pool::handle_here(Busy& busy, std::uint32_t index) {
    const DispatchRow& row = endpoint_.row_of(busy.open, index);
    endpoint_.delivery_.enter(*endpoint_.core_->outbound());
    handle(endpoint_.attempt_, {&busy, &row, index});
    endpoint_.delivery_.leave();
}

bool Pool::take() {
    lane::Batch* const taken = endpoint_.consumer_->take_all(batch_);
    if (taken == nullptr) return false;
    taken->list();  // before several threads set what is in it
    const lane::Batch& batch = *taken;
    // What was begun by a process that died goes first and alone: if it kills this process too, its
    // neighbours must not be counted dead with it.
    std::uint64_t begun = 0;
    for (std::uint32_t i = 0; batch.adopted && i < batch.count; ++i)
        begun |= std::uint64_t{batch.progress(i).starts != 0} << i;
    // What a callback throws meanwhile comes out when what was taken has its place.
    std::exception_ptr thrown;
    if (begun != 0) {
        try {
            settle_all(true);
        } catch (...) {
            thrown = std::current_exception();
            settle_all(false);
        }
    }
    Busy& busy = busy_.emplace_back();
    endpoint_.open_batch(busy.open, *taken);
    busy.left.store(batch.count, std::memory_order_relaxed);  // relaxed: the queue carries it
    for (std::uint32_t i = 0; i < batch.count; ++i)
        if (begun >> i & 1U) handle_here(busy, i);
    std::uint32_t given = 0;
    for (std::uint32_t i = 0; i < batch.count; ++i) {
        if (begun >> i & 1U) continue;
        const DispatchRow& row = endpoint_.row_of(busy.open, i);
        // What no handler sees goes here: its row does not stay when the directory moves on.
        if (row.verdict != DispatchRow::Verdict::handle) {
            handle_here(busy, i);
            continue;
        }
        handoff_.give({&busy, &row, i});
        ++given;
    }
    handoff_.ring(given);
    if (thrown) std::rethrow_exception(thrown);
    return true;
}

bool Pool::finish_settled() {
    const std::size_t before = busy_.size();
    for (auto busy = busy_.begin(); busy != busy_.end();) {
        // SETTLED. Other end: handle.
        if (busy->left.load(std::memory_order_acquire) != 0) {
            ++busy;
            continue;
        }
        // relaxed: SETTLED.
        const std::uint64_t each =
            busy->ticks.load(std::memory_order_relaxed) / busy->open.batch->count;
        batch_ = std::max(least_batch(threads_.size()), endpoint_.consumer_->batch_for(each));
        if (busy->is_foreign)
            endpoint_.poison(busy->open, "a record's parts do not fit its header");
        endpoint_.close(busy->open);
        busy = busy_.erase(busy);
    }
    return busy_.size() != before;
}

void Pool::settle_all(bool calls_back) {
    // Ends: with the handlers that run.
    for (std::uint32_t quiet = 0; !busy_.empty();) {
        const std::uint32_t rung = endpoint_.consumer_->rung();
        if (calls_back) endpoint_.core_->requests().poll();
        if (finish_settled()) quiet = 0;
        else endpoint_.idle(++quiet, rung, false);
    }
}

void Pool::run(const std::function<bool()>& goes_on) {
    const Outbound* outbound = endpoint_.core_->outbound();
    if (outbound == nullptr || outbound->delivery != nullptr) return;
    // Begun by poll() before: finished by poll().
    while (endpoint_.open_.batch != nullptr) endpoint_.poll(lane::most_entries);
    for (std::uint32_t quiet = 0;;) {
        const std::uint32_t rung = endpoint_.consumer_->rung();
        if (!goes_on()) break;
        endpoint_.tidy_up();
        bool moved = finish_settled();
        const bool may_take = busy_.size() < threads_.size();
        if (may_take) moved = take() || moved;
        if (moved) quiet = 0;
        else endpoint_.idle(++quiet, rung, may_take);
    }
    settle_all(true);
}

}  // namespace shmbus::detail
