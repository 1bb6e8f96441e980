// The other consumers of an inbox. See the header.
#include "lane/peers.h"

#include <shmbus/result.h>

#include <algorithm>
#include <cerrno>

namespace shmbus::lane {

std::string participant_file_name(std::uint64_t participant) {
    return std::to_string(static_cast<std::uint32_t>(participant)) + "." +
           std::to_string(participant >> 32);
}

Peers::Peer& Peers::peer(std::uint64_t participant) noexcept {
    const auto [place, is_new] = known_.try_emplace(participant);
    Peer& peer = place->second;
    if (!is_new && peer.witness) return peer;
    try {
        peer.witness.emplace(directory_, participant_file_name(participant), life_mark_at);
        peer.witness->expect_filled();  // nobody becomes a consumer before
        peer.process = base::open_process(peer.witness->pid());
    } catch (const SetupError& error) {
        // ENOENT: buried. Anything else is no proof of anything; it is asked again next time.
        peer.witness.reset();
        if (error.system_error() != ENOENT) known_.erase(place);
        static Peer unknown;
        return error.system_error() == ENOENT ? peer : unknown;
    }
    return peer;
}

bool Peers::maybe_dead(std::uint64_t participant) noexcept {
    const Peer& known = peer(participant);
    return !known.witness || known.witness->maybe_dead();
}

bool Peers::proved_dead(std::uint64_t participant) noexcept {
    const Peer& known = peer(participant);
    if (known.witness) return known.witness->proved_dead();
    return known_.contains(participant);
}

std::optional<base::WatchedWord> Peers::watched(std::uint64_t participant) noexcept {
    const Peer& known = peer(participant);
    if (!known.witness) return std::nullopt;
    return known.witness->watched();
}

void Peers::wake_others(std::uint64_t participant) noexcept {
    const Peer& known = peer(participant);
    if (known.witness) known.witness->wake_others();
}

void Peers::keep_only(std::span<const std::uint64_t> participants) noexcept {
    std::erase_if(known_, [&](const auto& one) {
        return std::find(participants.begin(), participants.end(), one.first) ==
               participants.end();
    });
}

std::int32_t Peers::signal_of(std::uint64_t participant) noexcept {
    const Peer& known = peer(participant);
    if (!known.witness) return 0;
    return base::signal_of_dead(known.witness->pid(), known.process).value_or(0);
}

}  // namespace shmbus::lane
