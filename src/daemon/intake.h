// The way in: reads the lanes that lead into the journal, and gives receipts.
//
// The daemon is the only reader of these lanes, so it needs no hands: a lane's head stays where it
// is until what lies behind it is on disk, and the journal says up to where that is. Killed
// anywhere, the next daemon reads on from the furthest of the three words that only it moves: what
// the journal has consumed, the receipt, the head.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "daemon/causes.h"
#include "daemon/state.h"
#include "journal/journal.h"
#include "lane/inbox_file.h"
#include "lane/reader_lane.h"
#include "lane/socket_bell.h"

namespace shmbus::daemon {

// A record that was put into the open batch. Its bytes lie in the lane until Intake::release().
struct Fresh {
    const std::byte* record = nullptr;  // null: the journal has another head for it, and brings it
    std::uint64_t meta = 0;
    std::uint64_t lsn = 0;
    MessageId id;
    const std::vector<journal::Endpoint>* to = nullptr;
    const lane::LaneParts* source = nullptr;
};

class Intake {
public:
    // The endpoint's inbox. Throws SetupError.
    Intake(State& state, std::uint32_t endpoint, std::uint32_t generation);

    // Reads what is there into the journal's open batch, until it is full. True when something was
    // read. What is in the batch is in fresh().
    bool collect(journal::Journal& journal);
    // Behind a collect() that has read something: reads on while more comes, and where fewer came
    // than `messages`, the last batch's, a little longer; until that time about.
    void gather(journal::Journal& journal, std::size_t messages,
                std::chrono::steady_clock::time_point until);
    [[nodiscard]] const std::vector<Fresh>& fresh() const noexcept { return fresh_; }
    // The batch is on disk: senders may know.
    void give_receipts() noexcept;
    // Nobody needs the bytes any more: senders may overwrite them.
    void release() noexcept;

    // What stands in the lanes now is asked for by has_read(); of one that could not be opened all
    // that may.
    void mark(journal::Journal& journal);
    [[nodiscard]] bool is_marked() const noexcept { return is_marked_; }
    // All of that is in the open batch or on disk; then nothing is asked for any more. A lane that
    // cannot be read now (none can when the journal takes no message) is not waited for: what its
    // records came of is in causes() then.
    [[nodiscard]] bool has_read(bool takes_none);
    // What the last has_read() did not wait for came of these: they must not be settled.
    [[nodiscard]] const Causes& causes() const noexcept { return causes_; }

    // Between two turns: whether what is not read yet has a message for this endpoint, or cannot be
    // looked at.
    [[nodiscard]] bool may_have(journal::Endpoint number, journal::Journal& journal);
    // A look at every lane.
    [[nodiscard]] bool anything_there() const noexcept;
    // Readable after a sender rang while we were announced.
    [[nodiscard]] int bell_fd() const noexcept { return bell_.fd(); }
    // About to sleep: false when there is something, and then nothing was announced.
    bool announce() noexcept;
    void withdraw() noexcept;

    // Why the last collect() stopped early: ok, no_space or stopped.
    [[nodiscard]] journal::Outcome obstacle() const noexcept { return obstacle_; }

private:
    struct Source {
        std::unique_ptr<lane::ReaderLane> lane;  // null: it could not be opened yet
        std::uint64_t begin = 0;  // everything before is released
        std::uint64_t read = 0;   // everything before is in the batch, or was
        bool is_missed = false;   // and that was said
        bool is_hindered = false;  // for want of descriptors or memory
        std::uint64_t asked_to = 0;  // where what was marked ends at the latest; 0: it is read
        bool waits = false;       // for the directory to change: what comes next has nowhere to go
    };
    void refresh(journal::Journal& journal);
    bool read_lanes(journal::Journal& journal);
    // False: it is tried again.
    [[nodiscard]] bool open(std::uint64_t lane_id, Source& source,
                            const journal::Journal& journal) const;
    [[nodiscard]] bool read_lane(Source& source, journal::Journal& journal, bool& went_on);
    [[nodiscard]] journal::Outcome read_record(Source& source, journal::Journal& journal);
    void wait_for_endpoint(Source& source, std::uint16_t type);
    void poison(Source& source, const std::string& why);
    enum class Known : std::uint8_t { no, yes, doubted };
    [[nodiscard]] Known is_known(const journal::Journal& journal, MessageId id,
                                 const wire::Extensions& extensions, MessageId& key) const;
    [[nodiscard]] const std::vector<journal::Endpoint>& audience(std::uint16_t type,
                                                                 const wire::Durable& durable);
    // There is such a type, and such an endpoint was there once: no sender has made it up.
    [[nodiscard]] bool was_there(std::uint16_t type, const wire::Durable& durable) const;
    // An endpoint for what cannot be delivered, alone; empty when there is none.
    [[nodiscard]] const std::vector<journal::Endpoint>& error_audience();
    [[nodiscard]] bool owes(const Source& source) const;
    void note_causes(const Source& source);
    void give_room(Source& source) const noexcept;

    State& state_;
    std::uint32_t endpoint_;
    lane::InboxView inbox_;
    lane::RungSocket bell_;
    std::uint64_t known_version_ = 0;
    bool lacks_lanes_ = false;  // some could not be opened
    std::chrono::steady_clock::time_point next_try_{};
    std::map<std::uint64_t, Source> sources_;  // by lane id
    std::uint64_t turn_ = 0;                   // whose turn it is to be read first
    std::vector<Fresh> fresh_;
    std::set<std::pair<std::uint64_t, std::uint64_t>> keys_;  // ids, of the open batch
    // Of the version known_version_: {0, endpoint's number}, {event's type, 0} or errors.
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<journal::Endpoint>> audiences_;
    journal::Outcome obstacle_ = journal::Outcome::ok;
    bool is_marked_ = false;
    Causes causes_;
    bool is_full_ = false;  // the open batch, or there is an obstacle
};

}  // namespace shmbus::daemon
