// A flipped bit in a closed journal is damage: detected, located, and nothing lost in silence.
//
// Every bit of a megabyte is judged by the reader of the piece of a file in which it lies, and
// one of many by an inspection of the whole journal, which must also show every other record as
// it was and name those that it does not show. When an operator accepts the ranges that it names,
// nothing else may be missing of what is delivered.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "journal/checkpoint.h"
#include "journal/segment_file.h"
#include "journal/superblock.h"
#include "rig.h"

using namespace shmbus::test;
using namespace shmbus::journal;

namespace {

struct Closed {
    DiskState disk;
    std::shared_ptr<const Account> account;  // what it holds
};

// Everything there is: closed segments, merged ones, two checkpoints, spares.
[[nodiscard]] Closed closed_journal() {
    Rig rig(11, Rig::small_options());
    REQUIRE(rig.open());
    for (int step = 0; step < 2900; ++step) rig.step({12, 6, 2, 2, 0, 6, 4, 2, 0, 0, 0});
    rig.commit();
    for (int turn = 0; turn < 200; ++turn)
        if (!rig.journal->maintain(true)) break;
    rig.close();
    return {rig.disk.state, rig.allowed.before};
}

// Part of a file, and what recovery asks whether it is as it was written.
struct Piece {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::function<bool(std::span<const std::byte> file)> is_sound;
};

[[nodiscard]] Piece head_of_segment(std::uint64_t begin) {
    return {begin, begin + block_bytes, [begin](std::span<const std::byte> file) {
                return block_is_right(file.subspan(begin, block_bytes), 0);
            }};
}

[[nodiscard]] std::vector<Piece> pieces_of_segment(std::span<const std::byte> file) {
    const auto head = read_as<SegmentHead>(file);
    const bool is_merged = head.shape == SegmentHead::Shape::merged;
    const Numbering numbering = is_merged ? Numbering::rising : Numbering::dense;
    const Seed seed(head.journal_id, head.number, head.salt);
    const std::uint64_t data_end = file.size() - block_bytes;
    std::vector<Piece> pieces{head_of_segment(0)};
    std::uint64_t at = first_batch_offset;
    std::uint64_t before = head.previous.lsn;
    if (!is_merged)
        before = read_as<SegmentBegin>(file, first_batch_offset + sizeof(RecordHead)).previous.lsn;
    // Ends: every batch is a block or more.
    for (;;) {
        const auto is_sound = [=](std::span<const std::byte> bytes) {
            return read_batch({seed, bytes.first(data_end), 0}, at, before, numbering).valid;
        };
        const Batch batch = read_batch({seed, file.first(data_end), 0}, at, before, numbering);
        if (!batch.valid) break;
        pieces.push_back({at, batch.end, is_sound});
        at = batch.end;
        before = batch.last_lsn;
    }
    pieces.push_back({at, data_end, [=](std::span<const std::byte> bytes) {
                          return all_zero(bytes.subspan(at, data_end - at));
                      }});
    pieces.push_back(head_of_segment(data_end));
    return pieces;
}

// Flips every bit of a segment, and answers how many.
[[nodiscard]] std::uint64_t flip_in_segment(std::vector<std::byte> file) {
    std::uint64_t begin = 0;
    for (const Piece& piece : pieces_of_segment(file)) {
        REQUIRE(piece.begin == begin);
        begin = piece.end;
        REQUIRE(piece.is_sound(file));
        for (std::uint64_t bit = piece.begin * 8; bit < piece.end * 8; ++bit) {
            const std::byte mask{static_cast<unsigned char>(1U << bit % 8)};
            file[bit / 8] ^= mask;
            if (piece.is_sound(file)) FAIL("bit " << bit << " flipped, and nobody sees it");
            file[bit / 8] ^= mask;
        }
    }
    REQUIRE(begin == file.size());
    return begin * 8;
}

// The same of a file that is read as a whole.
[[nodiscard]] std::uint64_t flip_in_file(SimDisk& disk, const std::string& name,
                                         const std::function<bool(std::uint64_t bit)>& is_sound) {
    const std::uint64_t bits = disk.state.content(name).size() * 8;
    REQUIRE(is_sound(0));
    for (std::uint64_t bit = 0; bit < bits; ++bit) {
        disk.state.flip_bit(name, bit);
        if (is_sound(bit)) FAIL("bit " << bit << " of " << name << " flipped, and nobody sees it");
        disk.state.flip_bit(name, bit);
    }
    return bits;
}

// The records of a sound journal in the order of the files, to be held against what is shown of
// a damaged one.
class Records {
public:
    explicit Records(Storage& storage) {
        const Report report =
            inspect(storage, [this](std::uint64_t segment, std::uint64_t offset,
                                    const RecordHead& head, std::span<const std::byte> payload) {
                all_.push_back({segment, offset, head, {payload.begin(), payload.end()}});
            });
        REQUIRE(report.damages.empty());
    }

    // What is wrong with the report on the damaged one; empty when every record is shown as it
    // was or told to be lost.
    [[nodiscard]] std::string hold_against(Storage& damaged, Report& report) const {
        std::string wrong;
        std::vector<std::uint64_t> missing;
        auto due = all_.begin();
        report = inspect(damaged, [&](std::uint64_t segment, std::uint64_t offset,
                                      const RecordHead& head, std::span<const std::byte> payload) {
            for (; due != all_.end() && due->place() < std::pair(segment, offset); ++due)
                missing.push_back(due->head.lsn);
            if (due == all_.end() || due->place() != std::pair(segment, offset) ||
                !std::ranges::equal(bytes_of(due->head), bytes_of(head)) ||
                !std::ranges::equal(due->payload, payload))
                wrong += "record " + std::to_string(head.lsn) + " is shown and was never written. ";
            else
                ++due;
        });
        for (; due != all_.end(); ++due) missing.push_back(due->head.lsn);
        for (const std::uint64_t lsn : missing)
            if (std::ranges::none_of(report.damages, [lsn](const Damage& damage) {
                    return damage.loses && damage.lsns.first <= lsn && lsn <= damage.lsns.last;
                }))
                wrong += "record " + std::to_string(lsn) + " is gone in silence. ";
        return wrong;
    }

private:
    struct Record {
        std::uint64_t segment;
        std::uint64_t offset;
        RecordHead head;
        std::vector<std::byte> payload;
        [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> place() const noexcept {
            return {segment, offset};
        }
    };
    std::vector<Record> all_;
};

// What is wrong with what the endpoint is handed, but for losses that were accepted.
[[nodiscard]] std::string wrong_for(Journal& journal, const Account& account, Endpoint endpoint,
                                    const Ranges& lost) {
    Delivery delivery;
    auto due = account.messages.begin();
    // Ends: every turn takes a message.
    for (;; ++due) {
        const Next next = journal.next(endpoint, delivery);
        for (; due != account.messages.end(); ++due) {
            const auto& [lsn, line] = *due;
            if (next == Next::message && lsn >= delivery.lsn) break;
            if (std::ranges::binary_search(line->to, endpoint) && !lost.covers({lsn, lsn}) &&
                !account.settled.contains({endpoint, lsn}))
                return "message " + std::to_string(lsn) + " is missing";
        }
        if (next == Next::nothing) return {};
        if (next != Next::message) return "it stopped: " + journal.why_stopped();
        if (due == account.messages.end() || due->first != delivery.lsn ||
            !std::ranges::binary_search(due->second->to, endpoint) ||
            !std::ranges::equal(due->second->payload, delivery.payload))
            return "message " + std::to_string(delivery.lsn) + " was never published";
    }
}

}  // namespace

TEST_SUITE("journal") {
TEST_CASE("every bit of a closed journal of a megabyte is under a sum that is looked at") {
    SimDisk disk(closed_journal().disk);
    const std::uint64_t journal_id = SuperblockFile::read(disk).newest->journal_id;
    std::uint64_t bits = 0;
    for (const auto& [name, number] : disk.state.names) {
        if (name.starts_with("tmp-") || name == "LOCK") continue;  // hold nothing
        if (number_of(name, segment_prefix)) {
            bits += flip_in_segment(disk.state.content(name));
        } else if (const auto generation = number_of(name, CheckpointFiles::prefix)) {
            bits += flip_in_file(disk, name, [&](std::uint64_t) {
                std::string why;
                return CheckpointFiles::read(disk, *generation, journal_id, {}, why).has_value();
            });
        } else {
            REQUIRE(name == SuperblockFile::name);
            bits += flip_in_file(disk, name, [&](std::uint64_t bit) {
                return !SuperblockFile::read(disk).damaged.at(bit / 8 / block_bytes);
            });
        }
    }
    MESSAGE("bits flipped: ", bits);
    CHECK(bits >= std::uint64_t{8} << 20);
}

TEST_CASE("a flipped bit of a closed journal is reported with its range, and only that is lost") {
    const DiskState clean = closed_journal().disk;
    SimDisk sound(clean);
    const Records records(sound);
    // The step meets every bit of a byte and every kind of byte; each bit takes an inspection,
    // so all of them are a longer run.
    const char* const told = std::getenv("SHMBUS_FLIP_STEP");
    const std::uint64_t step = told != nullptr ? std::strtoull(told, nullptr, 10) : 601;
    std::uint64_t bits = 0;
    std::uint64_t losses = 0;
    for (const auto& [name, number] : clean.names) {
        if (name.starts_with("tmp-")) continue;  // holds nothing and is removed at every start
        const std::uint64_t all = clean.inodes.at(number).cached.bytes * 8;
        for (std::uint64_t bit = bits % step; bit < all; bit += step) {
            SimDisk disk(clean);
            disk.state.flip_bit(name, bit);
            Report report;
            const std::string wrong = records.hold_against(disk, report);
            ++bits;
            const bool is_located =
                std::ranges::any_of(report.damages, [&, file = name](const Damage& damage) {
                    return damage.file == file && damage.offset <= bit / 8;
                });
            if (!is_located || !wrong.empty())
                FAIL("bit " << bit << " of " << name << ": " << wrong << report.text());
            if (report.stops_service()) ++losses;
        }
    }
    MESSAGE("bits flipped: ", bits, ", of those losing a record: ", losses);
    CHECK(losses * 50 > bits);
}

TEST_CASE("behind a segment whose successor was merged zeros count, and void bytes do not") {
    int zeros = 0;
    int voids = 0;
    for (std::uint64_t seed = 1; seed <= 150; ++seed) {
        Rig rig(seed, Rig::small_options());
        REQUIRE(rig.open());
        // Kills and power cuts end segments early; what stands behind such an end is void.
        for (int step = 0; step < 1500; ++step) rig.step({12, 6, 2, 2, 0, 6, 4, 2, 0, 1, 1});
        while (!rig.journal) static_cast<void>(rig.open());
        rig.commit();
        const auto segments = rig.journal->ledger().segments;
        rig.close();
        SimDisk sound(rig.disk.state);
        const Report report = inspect(sound);
        CHECK_MESSAGE(report.damages.empty(), report.text());
        for (const auto& [number, merged] : segments) {
            const auto before = segments.find(merged.begin.number);
            if (!merged.merged || before == segments.end() || before->second.merged ||
                before->second.content_end + block_bytes >= before->second.file_bytes)
                continue;
            const std::string name = numbered_name(segment_prefix, before->first);
            SimDisk disk(sound.state);
            disk.state.flip_bit(name, before->second.content_end * 8 + 77);
            const bool is_told =
                std::ranges::any_of(inspect(disk).damages, [&](const Damage& damage) {
                    return damage.file == name && damage.offset >= before->second.content_end;
                });
            CHECK(is_told == before->second.clean);
            ++(before->second.clean ? zeros : voids);
        }
    }
    MESSAGE("ends with zeros: ", zeros, ", with void bytes: ", voids);
    CHECK(zeros > 0);
    CHECK(voids > 0);
}

TEST_CASE("what an inspection calls lost is all that is missing once an operator accepts it") {
    const Closed closed = closed_journal();
    std::uint64_t accepted = 0;
    for (const auto& [name, number] : closed.disk.names) {
        if (!number_of(name, segment_prefix)) continue;
        const std::uint64_t all = closed.disk.inodes.at(number).cached.bytes * 8;
        for (std::uint64_t bit = accepted % 4001; bit < all; bit += 4001) {
            SimDisk disk(closed.disk);
            disk.state.flip_bit(name, bit);
            Options options = Rig::small_options();
            for (const Damage& damage : inspect(disk).damages)
                if (damage.loses) options.accepted_losses.add(damage.lsns);
            if (options.accepted_losses.all().empty()) continue;
            ++accepted;
            Journal journal(disk, options);
            for (Endpoint endpoint = 1; endpoint <= most_endpoints; ++endpoint) {
                const std::string wrong =
                    wrong_for(journal, *closed.account, endpoint, options.accepted_losses);
                if (!wrong.empty())
                    FAIL("bit " << bit << " of " << name << ", endpoint " << endpoint << ": "
                                << wrong);
            }
        }
    }
    MESSAGE("losses accepted: ", accepted);
    CHECK(accepted > 200);
}
}
