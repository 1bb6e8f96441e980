// The way out: the daemon's lanes into one endpoint, a window over what the journal has for it.
//
// What the lanes carry and nobody has handled yet is known by position and LSN; what lies below the
// room that the consumers have given back is handled, and settled in the journal's next batch. So
// consumers pay nothing for it. A daemon that is killed leaves the lanes as they are; the next one
// walks from the room to the tail, finds the same list, and settles what had been handled
// meanwhile. Only what it finds neither there nor settled is written again.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "daemon/causes.h"
#include "daemon/state.h"
#include "journal/journal.h"
#include "lane/inbox_file.h"
#include "lane/socket_bell.h"
#include "lane/writer.h"

namespace shmbus::daemon {

// A message as it goes into a lane: the record's meta word, extensions and payload as they came in.
struct Outbound {
    std::uint64_t meta = 0;
    wire::Extensions extensions;
    std::span<const std::byte> payload;
    MessageId id;
    std::uint64_t lsn = 0;
    bool is_again = false;  // may have been delivered before a reboot
    // The lane in which the payload lies; null: it is ours.
    const lane::LaneParts* source = nullptr;
};
// Takes apart what the journal has of a record: meta word, extensions, payload. False: it is not
// what an intake has put there.
[[nodiscard]] bool parse_kept(std::span<const std::byte> kept, MessageId id, Outbound& into);

class Outlet {
public:
    // Takes up the lanes that an earlier daemon left; the journal has nothing above `durable_lsn`.
    // Throws SetupError: no inbox, or no descriptors or memory for a lane.
    Outlet(State& state, std::uint32_t endpoint, std::uint32_t generation,
           std::uint64_t durable_lsn);

    [[nodiscard]] journal::Endpoint number() const noexcept {
        return wire::make_reference(endpoint_, generation_);
    }
    // A message of the last batch, in the order of the batch: straight from the sender's lane.
    // False: it is for fill() to bring, and so are all that follow in this batch.
    bool pass_on(journal::Journal& journal, const Outbound& message);
    // The same where only the journal has it as it is to be handed out.
    void leave_to_fill() noexcept { behind_ = true; }
    // Writes what the journal has for this endpoint, as long as there is room. True when some went.
    bool fill(journal::Journal& journal);
    // Sees what was handled. What its handlers have sent stands in their lanes by now.
    void look();
    // Tells the journal what the last look saw, except what is among the causes and as far as the
    // open batch takes it; how much that was.
    std::size_t settle(journal::Journal& journal, const Causes& causes);
    // Rings once for all that was written since.
    void ring() noexcept;
    // Says, where everybody can see it, how much waits on disk and in no lane.
    void tell_on_disk(const journal::Journal& journal);
    // What settle() has told is on disk.
    void committed() noexcept { settled_open_ = 0; }

    [[nodiscard]] bool has_unsettled() const noexcept;
    // A lane was damaged that carries what nobody has handled yet: an Outlet made anew brings it
    // again, marked, once the journal begins again with this endpoint.
    [[nodiscard]] bool has_lost_some() const noexcept;
    // What this lane carried is settled, or stands in another one.
    [[nodiscard]] bool may_forget(std::uint64_t lane_id) const noexcept;
    // More is waiting than there was room for.
    [[nodiscard]] bool is_behind() const noexcept { return behind_; }

private:
    struct Carried {
        std::uint64_t end;  // position behind it
        std::uint64_t lsn;
    };
    struct Lane {
        std::unique_ptr<lane::Writer> writer;
        std::deque<Carried> carried;
        std::uint64_t done = 0;  // position up to which it was handled, at the last look
    };
    void take_up(std::uint64_t lane_id, std::uint64_t durable_lsn);
    [[nodiscard]] bool has_room(std::uint64_t units);
    [[nodiscard]] bool open_lane(std::uint64_t units);
    [[nodiscard]] lane::Claim copy_in(const Outbound& message);
    void publish(const lane::Claim& claim, const Outbound& message);
    void close_followed() noexcept;
    [[nodiscard]] bool inherit(std::uint64_t lsn);
    [[nodiscard]] bool settle_one(journal::Journal& journal, const Causes& causes,
                                  std::uint64_t lsn, std::size_t& settled);

    State& state_;
    std::uint32_t endpoint_;
    std::uint32_t generation_;
    lane::InboxView inbox_;
    lane::SocketBell bell_;
    std::deque<Lane> lanes_;  // written in turn: only the last one
    // Of an earlier daemon: LSNs in its lanes, by lane and position; the highest that they carried.
    struct Inherited {
        std::size_t lane;
        std::uint64_t end;
    };
    std::map<std::uint64_t, Inherited> inherited_;
    std::uint64_t inherited_to_ = 0;
    std::uint64_t told_on_disk_ = ~std::uint64_t{0};  // nothing yet
    std::uint64_t settled_open_ = 0;  // in the open batch, which the journal's backlog leaves out
    // Found to be handled while no daemon ran, or left over by a settle(): for the next one. As
    // many as may be handed out.
    std::deque<std::uint64_t> handled_;
    std::size_t handled_seen_ = 0;  // of them, at the last look
    // Came out of the journal when there was no room.
    std::vector<std::byte> held_;
    Outbound held_message_;
    bool holds_ = false;
    bool behind_ = true;
    bool rings_ = false;
    bool said_no_lane_ = false;
    bool succeeds_ = false;  // the last lane carries nothing yet, the one before is not closed
    bool lost_a_lane_ = false;
    std::uint64_t lost_to_ = 0;  // what it may have carried
};

}  // namespace shmbus::daemon
