// Following an endpoint. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/following.h"

#include <algorithm>
#include <utility>

namespace shmbus::cli {

Following::Following(const OpenBus& bus, const directory::Endpoint& endpoint, Told told)
    : seen_(bus, endpoint), told_(std::move(told)) {}

bool Following::read() {
    find_lanes();
    bool came = false;
    for (auto& [id, followed] : followed_) came = read(followed) || came;
    return came;
}

// New ones are read from their oldest message on that still stands there.
void Following::find_lanes() {
    for (lane::LaneOnlooker* lane : seen_.lanes()) {
        const auto [place, is_new] = followed_.try_emplace(lane->identity().lane_id);
        if (!is_new) continue;
        place->second.lane = lane;
        begin(place->second, lane->where().reclaim);
    }
}

// Which message of its lane stands at this position follows from what stands from there on.
void Following::begin(Followed& followed, std::uint64_t position) {
    followed.position = position;
    const auto count = followed.lane->count();
    std::uint64_t behind = 0;
    lane::SeenRecord record;
    for (std::uint64_t at = position; at < count.tail && followed.lane->look(at, record);
         at += record.units)
        behind += record.messages();
    followed.number = count.messages - std::min(behind, count.messages);
}

bool Following::read(Followed& followed) {
    bool came = false;
    lane::SeenRecord record;
    // Ends: at the tail.
    while (followed.lane->look(followed.position, record)) {
        const std::uint64_t head = followed.lane->where().head;
        for (SeenMessage& message : messages_in(record, followed.lane->identity().lane_id)) {
            message.sender = followed.lane->identity().writer;
            message.state = record.position < head ? SeenMessage::State::handled
                                                   : SeenMessage::State::waiting;
            told_.message(std::move(message));
        }
        followed.number += record.messages();
        followed.position += record.units;
        known_ += record.messages();
        came = true;
    }
    if (followed.position < followed.lane->where().reclaim) came = catch_up(followed) || came;
    return came;
}

// The writer has overwritten what we wanted to read next: on with the oldest that is there.
bool Following::catch_up(Followed& followed) {
    lane::SeenRecord record;
    if (followed.lane->look(followed.position, record)) return true;
    const std::uint64_t before = followed.number;
    const auto where = followed.lane->where();
    const bool stands = followed.lane->look(where.reclaim, record);
    begin(followed, stands ? where.reclaim : where.head);
    if (followed.number <= before) return false;
    missed(followed.number - before);
    return true;
}

void Following::missed(std::uint64_t count) {
    known_ += count;
    told_.missed(count);

}

// A lane that came and went between two looks is in no list; but the endpoint counts what was
// ever sent to it. Believed when two quiet looks agree.
bool Following::count_unseen() {
    const std::uint64_t ever = seen_.ever();
    const bool is_quiet = ever == ever_;
    ever_ = ever;
    if (!is_quiet) return false;
    if (is_counting_ && ever - known_ > before_) {
        missed(ever - known_ - before_);
        return true;
    }
    is_counting_ = true;
    before_ = ever - known_;
    return false;
}

}  // namespace shmbus::cli
