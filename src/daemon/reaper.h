// Clears away after participants that are gone, and lanes that nobody needs any more.
//
// Called by the daemon's loop: at every hint of a death, and every 50 ms. The only proof of death
// is base::Witness; a closed connection or a pidfd are hints to look. Each step is found to be
// due by looking at what is there, so a daemon that was killed in between, or was not there at
// all, goes on where things stand.
//
//   participant      what is done                                        until
//   live             nothing                                             proved dead, or left
//   leaving          its publications go; peers rung                      -
//                    its places among consumers are freed                each holds nothing
//                    its reply inbox goes with all lanes into it         -
//                    its lanes go                                        drained, in no hand
//   free             row, then page: the last of it
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/liveness.h"
#include "daemon/state.h"
#include "lane/lane_file.h"

namespace shmbus::daemon {

class Reaper {
public:
    explicit Reaper(State& state);
    using MayForget = std::function<bool(const directory::LaneRow&)>;

    // Looks at everybody, does all that is due. `connected` tells whether a participant has a
    // connection: one that has none and never took its page was killed (or gave up) while it
    // registered, and cannot hold anything. `may_forget` tells whether a lane out of the journal
    // that cannot be read any more is needed no longer: see Durable.
    template <class Connected>
    void sweep(Connected&& connected, const MayForget& may_forget) {
        bool someone_leaves = false;
        for (std::uint32_t index = 1; index < participants_used(); ++index) {
            const wire::Reference reference = live_reference(index);
            if (reference != 0 && is_gone(reference, connected(reference))) begin_leaving(index);
            someone_leaves = someone_leaves || is_leaving(index);
        }
        if (someone_leaves) clear_away();
        notice_closed_lanes();
        retire_lanes(may_forget);
        complaints_ = std::exchange(complaints_now_, {});
    }
    // Participants that are alive, as of the last sweep.
    [[nodiscard]] std::uint32_t alive() const;
    // Nothing is left of anybody, so nothing is queued either: the lanes of the dead stay until
    // they are drained, and so do their writers' rows.
    [[nodiscard]] bool nobody_left() const;

private:
    [[nodiscard]] std::uint32_t participants_used() const noexcept;
    [[nodiscard]] wire::Reference live_reference(std::uint32_t index) const noexcept;
    [[nodiscard]] bool is_leaving(std::uint32_t index) const noexcept;
    [[nodiscard]] bool is_gone(wire::Reference participant, bool is_connected);
    // `is_hindered`: it could not be looked at for want of descriptors or memory.
    [[nodiscard]] base::Witness* witness(wire::Reference participant, bool& is_hindered);
    void begin_leaving(std::uint32_t index);
    void clear_away();
    void free_places(wire::Reference participant, bool& some_left);
    void remove_reply_inboxes(wire::Reference participant);
    void notice_closed_lanes();
    void retire_lanes(const MayForget& may_forget);
    // Said once for as long as each sweep finds it.
    void complain(LogLevel level, const SetupError& error);
    [[nodiscard]] const lane::LaneParts* watch(const directory::LaneRow& lane, bool& is_hindered);
    [[nodiscard]] bool may_go(const directory::LaneRow& lane, const MayForget& may_forget);

    struct Watched {
        wire::Reference reference;
        base::Witness witness;
    };
    State& state_;
    std::uint64_t started_ns_;
    std::set<wire::Reference> inherited_;         // rows that an earlier daemon had made
    std::map<std::uint32_t, Watched> witnesses_;  // by participant index
    std::map<std::uint64_t, std::unique_ptr<lane::LaneParts>> lanes_;  // being watched, by id
    std::set<std::string> complaints_;      // of the last sweep
    std::set<std::string> complaints_now_;  // of this one
};

}  // namespace shmbus::daemon
