// What all handles of one bus in this process share: registration, directory, lanes of threads,
// inboxes, requests.
//
// Made by Bus::open, kept alive by the Bus and its Endpoints. Everything here is for set-up and the
// slow halves of calls, and may be used from many threads; the way of a message goes through the
// calling thread's Outbound (outbound.h) and never takes the lock here.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/bus.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fault_guard.h"
#include "base/mapping.h"
#include "bus/inbox.h"
#include "bus/outbound.h"
#include "bus/requests.h"
#include "bus/session.h"
#include "bus/thread_place.h"

namespace shmbus::detail {

// The directory's version word by itself, so that a send looks at it with one inlined load.
class VersionWord {
public:
    // Throws SetupError.
    explicit VersionWord(const base::File& directory_file);
    [[nodiscard]] const base::StdWord<std::uint64_t>& word() const noexcept { return *word_; }

private:
    base::Mapping mapping_;
    std::atomic<bool> lost_{false};
    base::FaultGuard guard_;
    const base::StdWord<std::uint64_t>* word_;
};

class BusCore : public std::enable_shared_from_this<BusCore> {
public:
    // Throws SetupError.
    static std::shared_ptr<BusCore> open(std::string_view name, BusOptions options);
    BusCore(const BusLocation& location, BusOptions options);
    BusCore(const BusCore&) = delete;
    BusCore& operator=(const BusCore&) = delete;
    ~BusCore();

    [[nodiscard]] std::uint64_t token() const noexcept { return token_; }
    [[nodiscard]] Session& session() noexcept { return session_; }
    [[nodiscard]] const directory::DirectoryReader& directory() const noexcept {
        return session_.directory();
    }
    [[nodiscard]] const VersionWord& version_word() const noexcept { return version_word_; }
    [[nodiscard]] const BusOptions& options() const noexcept { return options_; }
    // Where spans are told; empty: nowhere.
    [[nodiscard]] const std::function<void(std::string_view)>& spans() const noexcept {
        return options_.spans;
    }
    [[nodiscard]] const std::string& path() const noexcept { return session_.folder().path(); }
    [[nodiscard]] Requests& requests() noexcept { return requests_; }
    // Senders fence, because this kernel has no barrier that a sleeper could make them pass.
    [[nodiscard]] bool fences() const noexcept { return fences_; }
    // This is a child of the process that opened the bus: nothing of it may be used.
    [[nodiscard]] bool is_in_child() const noexcept {
        // relaxed: changes only in a child, before anything else runs there.
        return fork_count().load(std::memory_order_relaxed) != forks_at_open_;
    }
    void log(LogLevel level, std::string_view text) const noexcept;
    // Since when `ticks` (base::ticks) is. Good to a few per cent.
    [[nodiscard]] std::chrono::nanoseconds age_of(std::uint64_t ticks) const noexcept;

    // The calling thread's lanes, found or made; those of a thread that has ended are used again.
    // Null in a forked child.
    [[nodiscard]] Outbound* outbound() {
        if (this_thread_place.token == token_) [[likely]] return this_thread_place.outbound;
        return find_outbound();
    }
    // A thread has ended: its lanes wait for the next one.
    void give_back(Outbound* outbound) noexcept;

    // The index of this type in the directory, declaring it when it is new there. Errors: refused
    // (another layout is known), those of the session.
    Result<std::uint16_t> type_index(const TypeDescriptor& type);

    // A lane of this process into the endpoint that no thread has yet, and the inbox behind it.
    // `capacity` 0: what the options or the endpoint ask for.
    struct LaneToWrite {
        base::File lane;
        std::uint64_t id = 0;
        std::shared_ptr<Inbox> inbox;
    };
    Result<LaneToWrite> open_lane(std::uint32_t endpoint, std::uint32_t generation,
                                  std::uint64_t capacity = 0);
    // The lane that follows our lane `predecessor`, see Session::open_successor.
    Result<base::File> open_successor(std::uint32_t endpoint, std::uint32_t generation,
                                      std::uint64_t predecessor, std::uint64_t capacity);
    // Whether another lane of so many bytes would leave half of the memory for lanes free: it is
    // limited where buses lie, and one that may never be needed must not take the last of it.
    [[nodiscard]] bool has_memory_to_spare(std::uint64_t capacity) const noexcept;

    [[nodiscard]] Bus::Counts counts() const noexcept;

    // As Bus::sync.
    Result<void> sync(std::chrono::nanoseconds limit);
    // Why receipts do not come: one sentence.
    [[nodiscard]] std::string why_journal_waits() const;

private:
    Outbound* find_outbound();
    void forget_gone_lanes();
    Result<OpenedLane> unused_lane(std::uint32_t endpoint, std::uint32_t generation,
                                   std::uint64_t capacity);
    Result<OpenedLane> lane_made_ahead(std::uint32_t endpoint, std::uint32_t generation,
                                       const Error& otherwise);
    std::shared_ptr<Inbox> inbox_for(std::uint32_t endpoint, std::uint32_t generation,
                                     base::File file);

    std::uint64_t token_;
    std::uint32_t forks_at_open_;
    std::uint64_t opened_ticks_;
    std::uint64_t opened_ns_;
    BusOptions options_;
    bool fences_;
    Session session_;
    VersionWord version_word_;

    mutable std::mutex mutex_;  // guards all below
    std::vector<std::unique_ptr<Outbound>> outbounds_;
    std::vector<Outbound*> free_outbounds_;
    std::map<wire::Reference, std::shared_ptr<Inbox>> inboxes_;
    std::set<std::uint64_t> lanes_in_use_;  // those that are gone are forgotten now and then
    std::size_t forget_from_ = 64;
    std::set<std::string, std::less<>> names_;  // that refusals point at
    std::unordered_map<const TypeDescriptor*, std::uint16_t> types_;

    Requests requests_;  // last: its inbox goes first
};

}  // namespace shmbus::detail
