// The handler threads of run(): one thread takes messages, the others handle them.
//
// The taking thread makes the pool, feeds it, and is the only one to touch the consumer; a worker
// has a way out, a delivery and counters of its own. Messages travel between them by handoff.h.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include "bus/attempt.h"
#include "bus/handoff.h"

namespace shmbus::detail {

class EndpointCore;

class Pool {
public:
    Pool(EndpointCore& endpoint, unsigned threads);
    // Ends the threads; everything that was taken has been handled before.
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    // Feeds the threads until `goes_on` says no; returns when what was taken has been handled.
    void run(const std::function<bool()>& goes_on);

private:
    struct Worker {
        Worker(EndpointCore& endpoint, Handoff& handoff);
        Delivery delivery;
        Attempt attempt;
        Handoff::Consumer tasks;
    };
    // A batch that is being handled.
    struct Busy {
        lane::Batch* batch = nullptr;
        std::uint64_t lane_id = 0;
        bool must_copy = false;
        std::uint32_t next = 0;               // the first that was not handed out yet
        std::atomic<std::uint32_t> out{0};    // handed out and not settled
        std::atomic<std::uint64_t> kept{0};   // bit per record: the error endpoint has no room
        std::atomic<bool> is_foreign{false};
    };
    void work(const std::stop_token& stop, Worker& worker);
    void handle(Worker& worker, const Task& task);
    // True when something moved on.
    bool feed(bool may_take);
    bool hand_out(Busy& busy);
    void settle_here(Busy& busy, std::uint32_t index);
    bool finish_done();
    [[nodiscard]] std::size_t tasks_out() const noexcept;

    EndpointCore& endpoint_;
    Handoff handoff_;
    std::list<Busy> busy_;  // at most as many as the consumer has hands, plus adopted ones
    std::vector<std::unique_ptr<Worker>> workers_;
    std::vector<std::jthread> threads_;
};

}  // namespace shmbus::detail
