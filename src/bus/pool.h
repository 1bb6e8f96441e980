// The handler threads of run(): one thread takes messages, the others handle them.
//
// The taking thread makes the pool, feeds it, and is the only one to touch the consumer; a worker
// has a way out, a delivery and counters of its own. Messages travel between them by handoff.h.
//
//   taking thread   take a batch -> hand out all its records      finish the batch
//                                            |                           ^
//   workers                                  +-> attempt -> SETTLED -----+ the last one rings
//
// As many batches are open as there are threads or hands, which is what a process holds at most.
// Of each a record is left, so while a thread has nothing to do there are fewer batches than
// threads, another one may be taken, and the one that ended last has rung.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "bus/endpoint_core.h"
#include "bus/handoff.h"

namespace shmbus::detail {

class Pool {
public:
    Pool(EndpointCore& endpoint, unsigned threads);
    // Ends the threads; what they were given has been handled before.
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    // Feeds the threads until `goes_on` says no; returns when what was taken has been handled.
    void run(const std::function<bool()>& goes_on);

private:
    struct Worker {
        Worker(EndpointCore& endpoint, Tallies& tallies, Handoff& handoff);
        Delivery delivery;
        Attempt attempt;
        Handoff::Consumer tasks;
    };
    // A batch that is being handled.
    struct Busy {
        EndpointCore::Open open;
        std::atomic<std::uint32_t> left{0};   // records not settled
        std::atomic<std::uint64_t> ticks{0};  // in handlers
        std::mutex mutex;                     // guards what is rare: open.kept and the next
        bool is_foreign = false;              // a record was that no writer makes
    };
    void work(const std::stop_token& stop, Worker& worker);
    void handle(Attempt& attempt, const Task& task);
    // True when there was a batch. All of it is handed out.
    bool take();
    void handle_here(Busy& busy, std::uint32_t index);
    // True when a batch was finished.
    bool finish_settled();
    // Waits until everything that was handed out is handled and finished; callbacks are called
    // meanwhile, or not.
    void settle_all(bool calls_back);

    EndpointCore& endpoint_;
    Handoff handoff_;
    std::list<Busy> busy_;
    std::uint32_t batch_;  // records of the next one, by the pace of the last one
    std::vector<std::unique_ptr<Worker>> workers_;
    std::vector<std::jthread> threads_;
};

}  // namespace shmbus::detail
