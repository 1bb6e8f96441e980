// The other consumers of an inbox: are they alive? And what ended them.
//
// Used by one thread. Witnesses are opened at first sight and kept; nothing here is believed that
// the kernel did not say.
#pragma once

#include "base/death_cause.h"
#include "base/liveness.h"

#include <map>
#include <memory>
#include <span>

namespace shmbus::lane {

// {generation:32, index:32}, as everywhere.
[[nodiscard]] std::string participant_file_name(std::uint64_t participant);
// Where in a participant's file its sign of life stands.
inline constexpr std::size_t life_mark_at = 0;

class Peers {
public:
    // `participants_directory` outlives this.
    explicit Peers(int participants_directory) noexcept : directory_(participants_directory) {}

    // One load once the peer is known.
    [[nodiscard]] bool maybe_dead(std::uint64_t participant) noexcept;
    // Gone, or has left: its file is removed only after it was buried. System calls only when
    // maybe_dead.
    [[nodiscard]] bool proved_dead(std::uint64_t participant) noexcept;
    // What to sleep on for this peer's death; nothing when it seems dead already.
    [[nodiscard]] std::optional<base::WatchedWord> watched(std::uint64_t participant) noexcept;
    // The kernel wakes one sleeper per death; passes it on.
    void wake_others(std::uint64_t participant) noexcept;
    // The signal that ended it, where that can be learnt.
    [[nodiscard]] std::int32_t signal_of(std::uint64_t participant) noexcept;
    // Whoever is not among these is not asked about any more: a peer that is known costs two
    // descriptors.
    void keep_only(std::span<const std::uint64_t> participants) noexcept;
    [[nodiscard]] std::size_t known() const noexcept { return known_.size(); }

private:
    struct Peer {
        std::optional<base::Witness> witness;  // nothing: its file is gone
        base::File process;                    // for the cause of death; may hold nothing
    };
    Peer& peer(std::uint64_t participant) noexcept;

    int directory_;
    std::map<std::uint64_t, Peer> known_;
};

}  // namespace shmbus::lane
