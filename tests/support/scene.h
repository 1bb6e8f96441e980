// A bus directory without a daemon: lanes, an inbox, signs of life. For the tests of the lane.
//
// The test plays the daemon: it makes the files and gives out places. Processes that it forks take
// part as senders and consumers through the real classes.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "base/file.h"
#include "base/liveness.h"
#include "base/support.h"
#include "lane/consumer.h"
#include "lane/inbox_file.h"
#include "lane/lane_file.h"
#include "lane/reader_lane.h"

namespace shmbus::test {

// What the tests send: enough to know a message again and to see that its bytes are whole.
struct Cargo {
    std::uint32_t sender = 0;
    std::uint32_t bytes = 0;  // of the payload, these included
    std::uint64_t number = 0;
    std::uint64_t check = 0;
    [[nodiscard]] std::uint64_t sum() const {
        return (std::uint64_t{sender} << 40 ^ number ^ std::uint64_t{bytes} << 20) *
               0x9E3779B97F4A7C15U;
    }
    [[nodiscard]] unsigned char filler(std::size_t at) const {
        return static_cast<unsigned char>(sum() >> 7 ^ at * 31);
    }
};
inline constexpr std::uint32_t least_cargo = sizeof(Cargo);

class Scene {
public:
    explicit Scene(std::uint64_t capacity = 4096) : capacity_(capacity) {
        inbox.emplace(lane::create_inbox_file(directory.fd(), {1, 1, 11, 22, 0600, {}}));
        admin.emplace(*inbox);
    }

    // A lane from participant `writer`, in the inbox's table.
    base::File make_lane(std::uint64_t id, std::uint64_t predecessor = 0) {
        lane::LaneSpec spec;
        spec.lane_id = id;
        spec.capacity = capacity_;
        spec.writer = 900 + id;
        spec.predecessor = predecessor;
        spec.endpoint = 1;
        spec.endpoint_generation = 1;
        base::File file = lane::create_lane_file(directory.fd(), spec);
        if (!admin->add_lane(id)) throw std::runtime_error("no place for a lane");
        return file;
    }
    [[nodiscard]] base::File open_lane(std::uint64_t id) const {
        return base::File::open_at(directory.fd(), lane::lane_file_name(id),
                                   base::Access::read_write);
    }
    [[nodiscard]] base::File open_inbox() const {
        return base::File::open_at(directory.fd(), lane::inbox_file_name(1, 1),
                                   base::Access::read_write);
    }
    // The file in which `participant` will show its life.
    void make_participant(std::uint64_t participant) const {
        static_cast<void>(directory.make(lane::participant_file_name(participant), 4096));
    }
    // Shows this process's life as `participant`. Call it in the process itself.
    [[nodiscard]] std::unique_ptr<base::Presence> live_as(std::uint64_t participant) const {
        return std::make_unique<base::Presence>(
            base::File::open_at(directory.fd(), lane::participant_file_name(participant),
                                base::Access::read_write),
            lane::life_mark_at);
    }
    [[nodiscard]] std::unique_ptr<lane::Consumer> consume(std::uint16_t slot,
                                                          std::uint64_t participant) {
        return std::make_unique<lane::Consumer>(
            open_inbox(), slot, participant, directory.fd(), lane::Peers(directory.fd()),
            [this](bool, std::string_view text) { log += std::string(text) + "\n"; });
    }
    // Position that everything below was taken, and the room that could be given, of a lane.
    [[nodiscard]] std::uint64_t head_of(std::uint64_t id) const {
        const lane::LaneParts parts(open_lane(id), lane::LaneParts::Side::reader);
        return lane::position_in(parts.reader_page().head.load(std::memory_order_seq_cst));
    }
    [[nodiscard]] std::uint64_t room_of(std::uint64_t id) const {
        const lane::LaneParts parts(open_lane(id), lane::LaneParts::Side::reader);
        const lane::InboxView view(open_inbox());
        return lane::room<base::StdAtomics>(parts.reader_page().head, view.hands(),
                                            [&] { return view.hands_used(); }, id);
    }
    [[nodiscard]] bool no_hand_holds_anything() const {
        const lane::InboxView view(open_inbox());
        for (const lane::StdHand& hand : view.hands())
            if (lane::state_in(hand.word.load(std::memory_order_seq_cst)) != lane::HandState::idle)
                return false;
        return true;
    }

    TemporaryDirectory directory;
    std::optional<base::File> inbox;
    std::optional<lane::InboxAdmin> admin;
    std::string log;

private:
    std::uint64_t capacity_;
};

// Units that a payload of this many bytes takes.
inline std::uint64_t units_for(std::uint32_t payload_bytes) {
    return wire::units_of(wire::Meta{payload_bytes, 1, 0, 0}.word());
}

// Claims, fills, commits. False: refused, no room.
inline bool send(lane::Writer& writer, std::uint32_t sender, std::uint64_t number,
                 std::uint32_t payload_bytes = least_cargo) {
    const lane::Claim claim = writer.claim(units_for(payload_bytes));
    if (!claim) return false;
    Cargo cargo{sender, payload_bytes, number, 0};
    cargo.check = cargo.sum();
    std::byte* payload = claim.record + wire::head_bytes;
    std::memcpy(payload, &cargo, sizeof(cargo));
    for (std::size_t i = sizeof(cargo); i < payload_bytes; ++i)
        payload[i] = static_cast<std::byte>(cargo.filler(i));
    writer.commit(claim, wire::Meta{payload_bytes, 1, 0, 0}.word());
    return true;
}

// The message in a record; nothing when its bytes are not those that were sent.
inline std::optional<Cargo> cargo_of(const lane::Entry& entry) {
    const wire::Meta meta = wire::Meta::of(entry.meta);
    const std::byte* payload = entry.record + meta.payload_offset();
    Cargo cargo;
    if (meta.payload_bytes < sizeof(cargo)) return std::nullopt;
    std::memcpy(&cargo, payload, sizeof(cargo));
    if (cargo.bytes != meta.payload_bytes || cargo.check != cargo.sum()) return std::nullopt;
    for (std::size_t i = sizeof(cargo); i < cargo.bytes; ++i)
        if (payload[i] != static_cast<std::byte>(cargo.filler(i))) return std::nullopt;
    return cargo;
}

// Handles what is not done of a batch as the dispatcher does, telling `handler` about each:
// handler(cargo or nothing, was_adopted). Then finishes the batch. The first record of a fresh
// batch goes the quick way, whose progress is the cursor; those behind it the other, with the list.
template <class Handler>
void handle(lane::Consumer& consumer, lane::Batch& batch, Handler&& handler) {
    for (std::uint32_t i = 0; i < batch.count; ++i) {
        lane::Progress progress = batch.progress(i);
        if (progress.done > 0) continue;
        if (i == 0 && !batch.adopted) {
            auto& cursor = batch.hand->cursor;
            cursor.store(lane::cursor_word(0, {0, 0, 1}), std::memory_order_relaxed);
            handler(cargo_of(batch.entry(0)), false);
            cursor.store(lane::cursor_word(1, {}), std::memory_order_relaxed);
            continue;
        }
        ++progress.starts;
        batch.set(i, progress);
        handler(cargo_of(batch.entry(i)), batch.adopted);
        --progress.starts;
        progress.done = 1;
        batch.set(i, progress);
    }
    consumer.finish(&batch);
}

}  // namespace shmbus::test
