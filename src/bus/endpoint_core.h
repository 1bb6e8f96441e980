// An endpoint of this process: takes messages, calls handlers, keeps account, gives up in the end.
//
//   poll: Consumer::take -> for each record: begun -> handler -> outputs flushed -> done
//         -> Consumer::finish
//
// Belongs to one thread, save stop(); run() with several handler threads hands messages to them and
// keeps everything else to itself.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/endpoint.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "bus/attempt.h"
#include "bus/bus_core.h"
#include "bus/delivery.h"
#include "lane/socket_bell.h"
#include "bus/dispatcher.h"
#include "bus/fast_path.h"
#include "bus/meter.h"
#include "bus/self_bell.h"
#include "lane/consumer.h"

namespace shmbus::detail {

// Makes the endpoint, if it is not there, and the one that takes what fails in it. Throws
// SetupError.
EndpointHandle make_endpoint(BusCore& core, std::string_view name, const EndpointOptions& options);

class EndpointCore {
public:
    // Makes or joins the endpoint. Throws SetupError.
    EndpointCore(std::shared_ptr<BusCore> core, std::string_view name, EndpointOptions options);
    EndpointCore(const EndpointCore&) = delete;
    EndpointCore& operator=(const EndpointCore&) = delete;
    ~EndpointCore();

    void add_handler(const TypeDescriptor& type, Handler handler);
    void add_any(Dispatcher::Any any) { dispatcher_.add_any(std::move(any)); }
    void subscribe(const TypeDescriptor& type);
    void unsubscribe(const TypeDescriptor& type);

    // Hidden, so that Endpoint::poll goes there at once and not by the linker's table.
    [[gnu::visibility("hidden")]] std::size_t poll(std::size_t limit);
    bool wait(std::chrono::nanoseconds limit);
    void run(const std::stop_token& stop);
    void stop() noexcept;
    int fd();
    bool arm();

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] Endpoint::Counts counts() const noexcept;
    [[nodiscard]] bool is_in_child() const noexcept { return core_->is_in_child(); }

private:
    friend class Pool;
    // A batch and how far it is.
    struct Open {
        lane::Batch* batch = nullptr;
        std::uint32_t next = 0;
        bool must_copy = false;
        std::uint64_t lane_id = 0;
        std::vector<Kept> kept;  // that have to wait while others go on
        std::string why_kept;
        void keep(std::uint32_t index, const Attempt& attempt) {
            kept.push_back(attempt.kept(index));
            why_kept = attempt.why_kept();
        }
    };
    // Payloads of other users are copied before they are handled.
    [[nodiscard]] bool must_copy(const lane::ReaderLane& lane) const noexcept {
        return options_.copy_payload || lane.identity().writer_uid != uid_;
    }
    void open_batch(Open& open, lane::Batch& batch) const noexcept;
    // Handles up to `limit` messages; stops at the end of the batch.
    std::size_t work(Open& open, std::size_t limit);
    std::size_t work_on_one(Open& open, std::size_t limit);
    // The batch is done, or is kept until the error endpoint, or the daemon, can be reached.
    void close(Open& open);
    std::size_t retry_parked();
    // What is due besides new messages: what a look by descriptor left behind, answers to
    // callbacks, and messages kept for the error endpoint, of which it returns how many were
    // handled.
    std::size_t tidy_up();
    // Waits as the options say after so many polls that found nothing. `rung`: see lane::Consumer.
    // With `may_take` false for the bell alone.
    void idle(std::uint32_t quiet_polls, std::uint32_t rung, bool may_take = true);
    [[nodiscard]] const DispatchRow& row_of(const Open& open, std::uint32_t index) {
        return dispatcher_.row(wire::Meta::of(open.batch->entry(index).meta).type);
    }
    // What the consumer slept since the last time.
    void count_sleeps() noexcept;
    void poison(const Open& open, std::string_view why) noexcept;
    [[nodiscard]] AttemptRules rules() const noexcept;

    std::shared_ptr<BusCore> core_;
    std::string name_;
    EndpointOptions options_;
    EndpointHandle handle_;
    std::uint16_t slot_ = 0;
    Meter meter_;
    std::uint64_t sleeps_counted_ = 0;
    Dispatcher dispatcher_;
    Delivery delivery_;
    std::vector<Tallies> tallies_;  // of the polling thread, then of each handler thread
    Attempt attempt_;
    FastPath fast_path_;
    std::unique_ptr<SelfBell> bell_;
    std::unique_ptr<lane::Consumer> consumer_;
    std::unique_ptr<lane::SocketBell> others_;  // for messages that we leave to other consumers
    std::unique_ptr<lane::RungSocket> rung_;
    bool announced_ = false;
    Open open_;
    std::vector<Open> parked_;
    std::uint64_t next_retry_ns_ = 0;
    std::atomic<bool> stopping_{false};
    std::uint32_t uid_ = 0;
};

}  // namespace shmbus::detail
