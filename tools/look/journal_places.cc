// How far a journal has got, read off its files.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/journal_places.h"

#include <shmbus/result.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/file.h"
#include "journal/checkpoint.h"
#include "journal/segment_file.h"
#include "journal/superblock.h"

namespace shmbus::look {
namespace {

using journal::block_bytes;

// What is read of the batches behind the superblock's place, in one look.
constexpr std::uint64_t most_read_bytes = std::uint64_t{4} << 20;

class Files {
public:
    explicit Files(const std::string& directory)
        : directory_(base::File::open_directory(directory)) {}

    // As much as there is; empty without the file.
    [[nodiscard]] std::vector<std::byte> read(const std::string& name, std::uint64_t offset,
                                              std::uint64_t bytes) const {
        std::vector<std::byte> read(bytes);
        const auto file = base::File::open_if_there(directory_.fd(), name, base::Access::read_only);
        read.resize(file ? file->read_all(read, offset) : 0);
        return read;
    }

    // The younger of the two slots that hold one; it may be written to just now.
    [[nodiscard]] std::optional<journal::Superblock> superblock() const {
        const auto both = read(journal::SuperblockFile::name, 0, 2 * block_bytes);
        std::optional<journal::Superblock> newest;
        for (std::size_t slot = 0; (slot + 1) * block_bytes <= both.size(); ++slot) {
            const auto block = std::span(both).subspan(slot * block_bytes, block_bytes);
            const auto found = journal::read_as<journal::Superblock>(block);
            if (journal::block_is_right(block, slot) &&
                found.magic == journal::Superblock::right_magic &&
                found.version == journal::format_version &&
                (!newest || found.generation > newest->generation))
                newest = found;
        }
        return newest;
    }

    // Its head alone: a checkpoint has its name only when all of it is on disk and read back.
    [[nodiscard]] std::optional<journal::CheckpointHead> checkpoint(
        const journal::Superblock& superblock) const {
        const std::uint64_t generation = superblock.newest_checkpoint;
        const auto bytes =
            read(journal::numbered_name(journal::CheckpointFiles::prefix, generation), 0,
                 sizeof(journal::CheckpointHead));
        if (bytes.size() < sizeof(journal::CheckpointHead)) return std::nullopt;
        const auto head = journal::read_as<journal::CheckpointHead>(bytes);
        const bool is_right = head.magic == journal::CheckpointHead::right_magic &&
                              head.journal_id == superblock.journal_id &&
                              head.generation == generation;
        return is_right ? std::optional(head) : std::nullopt;
    }

    [[nodiscard]] std::optional<journal::SegmentHead> segment(std::uint64_t number,
                                                              std::uint64_t journal_id) const {
        const auto block =
            read(journal::numbered_name(journal::segment_prefix, number), 0, block_bytes);
        if (block.size() < block_bytes || !journal::block_is_right(block, 0)) return std::nullopt;
        const auto head = journal::read_as<journal::SegmentHead>(block);
        const bool is_right = head.magic == journal::SegmentHead::right_magic &&
                              head.journal_id == journal_id && head.number == number &&
                              head.file_bytes > 2 * block_bytes;
        return is_right ? std::optional(head) : std::nullopt;
    }

    // Its batches from `offset` on, at most so many bytes.
    [[nodiscard]] std::vector<std::byte> batches(const journal::SegmentHead& head,
                                                 std::uint64_t offset, std::uint64_t most) const {
        const std::uint64_t end = head.file_bytes - block_bytes;
        return read(journal::numbered_name(journal::segment_prefix, head.number), offset,
                    std::min(most, end - std::min(end, offset)));
    }

private:
    base::File directory_;
};

class Follower {
public:
    Follower(const Files& files, const journal::Superblock& superblock)
        : files_(files), superblock_(superblock), place_(superblock.end) {}

    void run() {
        follow(place_.number, place_.offset);
        // Full, or given up after a write that failed: a later one says that it follows.
        for (std::uint64_t number = place_.number + 1;
             number <= superblock_.newest_segment && left_ > 0; ++number)
            if (begins(number)) follow(number, journal::first_batch_offset);
    }
    [[nodiscard]] const journal::Place& place() const noexcept { return place_; }
    [[nodiscard]] bool is_cut_off() const noexcept { return left_ == 0; }

private:
    [[nodiscard]] static journal::Stretch stretch(const journal::SegmentHead& head,
                                                  const std::vector<std::byte>& bytes,
                                                  std::uint64_t begin) {
        return {journal::Seed(head.journal_id, head.number, head.salt), bytes, begin};
    }
    // This segment's first record says that it goes on where we are.
    [[nodiscard]] bool begins(std::uint64_t number) const {
        const auto head = files_.segment(number, superblock_.journal_id);
        if (!head) return false;
        const auto bytes = files_.batches(*head, journal::first_batch_offset, block_bytes);
        const auto read = stretch(*head, bytes, journal::first_batch_offset);
        const auto first = journal::head_at(read, read.begin);
        if (!first || first->kind != journal::Kind::begin ||
            first->payload_bytes < sizeof(journal::SegmentBegin) ||
            !journal::payload_is_right(read, read.begin, *first))
            return false;
        const auto payload = journal::payload_at(read, read.begin, *first);
        return journal::read_as<journal::SegmentBegin>(payload).previous == place_;
    }
    void follow(std::uint64_t number, std::uint64_t offset) {
        const auto head = files_.segment(number, superblock_.journal_id);
        if (!head) return;
        const auto bytes = files_.batches(*head, offset, left_);
        const auto read = stretch(*head, bytes, offset);
        const bool is_short = bytes.size() == left_;
        journal::Batch batch = journal::read_batch(read, offset, place_.lsn);
        // Ends: each valid batch is longer than nothing, and lies in the stretch.
        for (; batch.valid && batch.tail.previous_chain == place_.chain;
             batch = journal::read_batch(read, batch.end, place_.lsn))
            place_ = {number, batch.end, batch.last_lsn, batch.chain, 0};
        // What was not read may hold more, if something is where it would begin.
        const bool may_go_on = is_short && (batch.is_cut_off || place_.offset == read.end());
        left_ = may_go_on ? 0 : left_ - std::min<std::uint64_t>(left_ - 1, bytes.size());
    }

    const Files& files_;
    const journal::Superblock& superblock_;
    journal::Place place_;
    std::uint64_t left_ = most_read_bytes;
};

}  // namespace

JournalPlaces journal_places(const std::string& directory) {
    JournalPlaces places;
    try {
        const Files files(directory);
        const auto superblock = files.superblock();
        if (!superblock) {
            places.trouble = "it has no superblock that can be read";
            return places;
        }
        places.synced = superblock->end;
        places.synced_at_s = superblock->seconds;
        if (const auto head = files.checkpoint(*superblock)) {
            places.checkpointed = head->place;
            places.oldest_needed = head->oldest_segment;
        }
        Follower follower(files, *superblock);
        follower.run();
        places.written = follower.place();
        places.written_is_at_least = follower.is_cut_off();
    } catch (const SetupError& error) {
        places.trouble = error.tried();
    }
    return places;
}

}  // namespace shmbus::look
