// Making, opening and checking an inbox's file; the daemon's and the sender's sides of it.
//
// An inbox is the set of lanes into one endpoint, its doorbell, and the hands of its consumers.
#pragma once

#include "lane/lane_file.h"
#include "lane/writer.h"

#include <span>
#include <vector>

namespace shmbus::lane {

struct InboxSpec {
    std::uint32_t endpoint = 0;
    std::uint32_t endpoint_generation = 0;
    std::uint64_t bus_high = 0;
    std::uint64_t bus_low = 0;
    mode_t mode = 0600;
    std::optional<gid_t> group;
};

// "<endpoint>.<generation>" in the directory of inboxes.
[[nodiscard]] std::string inbox_file_name(std::uint32_t endpoint, std::uint32_t generation);
// As create_lane_file.
[[nodiscard]] base::File create_inbox_file(int inboxes_directory, const InboxSpec& spec);
// As read_lane_identity.
[[nodiscard]] InboxIdentity read_inbox_identity(const base::File& file);

// An inbox as its senders map it: the doorbell for writing, the rest for looking.
class InboxView {
public:
    // Throws SetupError.
    explicit InboxView(const base::File& file);
    InboxView(const InboxView&) = delete;
    InboxView& operator=(const InboxView&) = delete;

    [[nodiscard]] const InboxIdentity& identity() const noexcept { return identity_; }
    [[nodiscard]] StdDoorbell& doorbell() const noexcept { return doorbell_.at<StdDoorbell>(); }
    [[nodiscard]] const StdConsumers& consumers() const noexcept {
        return all_.at<StdConsumers>(consumers_page_at);
    }
    [[nodiscard]] const StdHands& hands() const noexcept { return all_.at<StdHands>(hands_at); }
    // Hands of consumers that ever were, at most most_hands.
    [[nodiscard]] std::uint32_t hands_used() const noexcept;
    // The file was cut short. relaxed: behind the look at a word of it, see base::FaultGuard.
    [[nodiscard]] bool lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

private:
    InboxIdentity identity_;
    std::atomic<bool> lost_{false};
    base::Mapping all_;
    base::Mapping doorbell_;
    base::FaultGuard all_guard_;
    base::FaultGuard doorbell_guard_;
};

// Who holds the oldest message of a lane that is full.
struct Holder {
    std::uint64_t participant = 0;  // 0: nobody, the messages wait to be taken
    std::uint64_t position = 0;     // of the oldest message
    std::uint64_t since_ticks = 0;  // 0 when nobody
};
[[nodiscard]] Holder oldest_holder(const Writer& writer, const InboxView& inbox) noexcept;

// Lane ids in the table, as the file has them now; empty for one that was cut short. For those who
// do not map it.
[[nodiscard]] std::vector<std::uint64_t> lanes_in(const base::File& inbox);

// The daemon's side: the tables of lanes and consumers. One process, one thread. Cut off anywhere,
// the restarted daemon repeats the operation with the same result.
class InboxAdmin {
public:
    // Throws SetupError.
    explicit InboxAdmin(const base::File& file);
    InboxAdmin(const InboxAdmin&) = delete;
    InboxAdmin& operator=(const InboxAdmin&) = delete;

    // False when all 4,096 places are taken. Adding a lane that is there changes nothing.
    bool add_lane(std::uint64_t lane_id) noexcept;
    void remove_lane(std::uint64_t lane_id) noexcept;
    // Lane ids in the table.
    [[nodiscard]] std::vector<std::uint64_t> lanes() const;

    // Adds what did not get in through this lane, which is drained and about to be removed, to the
    // endpoint's account, and what it has carried; once, however often it is said in a row.
    void keep_account(std::uint64_t lane_id, const LaneParts& parts) noexcept;

    // So many records for this endpoint wait in the journal, besides those in its lanes. Killed
    // before it is told: the last figure stands until the next daemon's first turn.
    void tell_on_disk(std::uint64_t records) noexcept {
        // BROUGHT: what is no longer counted is in a lane. Other end: lane::on_disk.
        table().on_disk.store(records, std::memory_order_release);
    }

    // A place for a consumer: a free one, or nothing when all 32 are taken.
    [[nodiscard]] std::optional<std::uint16_t> assign_consumer(std::uint64_t participant) noexcept;
    // Gives a dead consumer's place to a new one, which adopts what the dead one held.
    void replace_consumer(std::uint16_t slot, std::uint64_t participant) noexcept;
    // Takes a consumer out: its bit among the sleepers goes, everybody else is rung. Hands that it
    // still owns may be adopted by anybody from now on.
    void free_consumer(std::uint16_t slot) noexcept;
    [[nodiscard]] std::uint64_t consumer(std::uint16_t slot) const noexcept;
    [[nodiscard]] std::vector<std::uint16_t> consumers_of(std::uint64_t participant) const;
    // No hand anywhere is owned by this consumer.
    [[nodiscard]] bool holds_nothing(std::uint16_t slot) const noexcept;
    // No hand holds records of this lane.
    [[nodiscard]] bool in_nobodys_hand(std::uint64_t lane_id) const noexcept;
    // Wakes every sleeper. For deaths: the survivors look around.
    void ring_all() noexcept;
    [[nodiscard]] bool lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

private:
    void changed() noexcept;
    [[nodiscard]] StdConsumers& table() const noexcept {
        return all_.at<StdConsumers>(consumers_page_at);
    }
    [[nodiscard]] LaneTable& lane_table() const noexcept {
        return all_.at<LaneTable>(lane_table_at);
    }
    [[nodiscard]] StdHands& hands() const noexcept { return all_.at<StdHands>(hands_at); }
    [[nodiscard]] StdDoorbell& doorbell() const noexcept {
        return all_.at<StdDoorbell>(doorbell_page_at);
    }

    std::atomic<bool> lost_{false};
    base::Mapping all_;
    base::FaultGuard guard_;
};

}  // namespace shmbus::lane
