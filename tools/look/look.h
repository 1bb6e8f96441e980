// Looks at a bus without taking part in it: opens its files for reading, maps them for reading.
//
// Needs neither the daemon nor any process of the bus, starts none and is seen by none. Works as
// well on a copy of the directory. What is damaged is shown as damaged, what goes away while it is
// looked at is left out; only a bus that is not there, or whose tables cannot be read, throws.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/result.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "bus/locate.h"
#include "directory/reader.h"
#include "lane/onlooker.h"
#include "look/message.h"
#include "look/snapshot.h"

namespace shmbus::look {

// There is no bus at that place.
struct NoBus : SetupError {
    using SetupError::SetupError;
};

struct Place {
    std::string directory;        // of the bus
    std::string name;             // for people
    std::string journal;          // its directory; it may not be there
    bool is_journal_told = true;  // false: `journal` is only where it usually lies
};
// Of a bus by name, or of a directory with a slash in its name, as everywhere; the journal by
// `journal` if it is not empty, else as a daemon started in this environment would find it.
[[nodiscard]] Place place_of(const std::string& bus, const std::string& journal = {});

// Looks again and again; keeps the files open in between. One thread.
class Looker {
public:
    explicit Looker(Place place) : place_(std::move(place)) {}

    // Throws NoBus; SetupError when the tables cannot be read.
    [[nodiscard]] Snapshot look(Apart apart = {});
    // What stands in this endpoint, of the last look: messages in hands first, then those that
    // wait, lane by lane; at most so many. Copied out, not taken.
    [[nodiscard]] std::vector<Message> messages(const Snapshot& seen, const Endpoint& endpoint,
                                                std::size_t most) const;
    [[nodiscard]] const Place& place() const noexcept { return place_; }

private:
    // What is open of one lane, and what was seen of it before.
    struct KnownLane {
        std::unique_ptr<lane::LaneOnlooker> onlooker;
        // When its tail was where, rising: so old at least is what is waiting now.
        std::vector<std::pair<std::uint64_t, std::uint64_t>> tails;  // time, position
        bool is_wanted = false;                                      // still in the tables
    };

    void open_bus();
    void look_at_identity(Snapshot& into) const;
    // Once for each daemon: it may have a thousand files open.
    void find_log(Daemon& daemon);
    void look_at_tables(Snapshot& into) const;
    void look_at_disk(Endpoint& endpoint) const;
    void look_for_lanes(Snapshot& into) const;
    void look_at_process(Process& process) const;
    void look_at_inbox(Endpoint& endpoint, Journal& journal, Apart apart) const;
    void look_at_hands(const lane::InboxOnlooker& inbox, Endpoint& endpoint) const;
    void look_into_hand(Hand& hand, Endpoint& endpoint) const;
    void look_at_lane(Lane& into, std::uint64_t now_ns);
    void look_at_age(KnownLane& known, Lane& lane, std::uint64_t now_ns) const;
    [[nodiscard]] const lane::LaneOnlooker* onlooker_of(std::uint64_t lane) const;
    void look_at_journal(Snapshot& into) const;
    // For whom the messages on their way into the journal are.
    void share_out_lag(const Endpoint& journal, Snapshot& into) const;
    // What could not be opened: gone in the meantime, or is its file missing?
    void drop_what_went(Snapshot& into) const;
    void forget_unwanted();

    Place place_;
    base::File directory_;
    base::File participants_;
    base::File inboxes_;
    base::File lanes_;
    std::uint64_t inode_ = 0;  // of the tables that are open
    std::unique_ptr<directory::DirectoryReader> tables_;
    std::map<std::uint64_t, KnownLane> known_lanes_;
    std::optional<pid_t> log_of_;  // the daemon whose log `log_` is
    std::string log_;
    base::TickRate ticks_ = base::TickRate::calibrate();
};

// Once.
[[nodiscard]] Snapshot look(const Place& place, Apart apart = {});

}  // namespace shmbus::look
