// How far a journal has got, seen in its files while it is written.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/journal_places.h"

#include <doctest/doctest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>

#include "daemon/fixture.h"
#include "journal/journal.h"
#include "journal/superblock.h"
#include "look/look.h"

namespace {

namespace fs = std::filesystem;
namespace journal = shmbus::journal;
namespace look = shmbus::look;

struct Desk {
    test::Folder folder;
    std::string path = folder.path() + "/journal";
    std::unique_ptr<journal::RealStorage> storage = std::make_unique<journal::RealStorage>(path);
    std::unique_ptr<journal::Journal> journal;
    std::uint64_t next_id = 1;

    explicit Desk(std::uint64_t segment_bytes) {
        journal::Options options;
        options.segment_bytes = segment_bytes;
        journal = std::make_unique<journal::Journal>(*storage, options);
    }
    // A batch for each.
    void write(int count, std::size_t bytes = 600) {
        const std::vector<std::byte> payload(bytes);
        const std::array<journal::Endpoint, 1> to{1};
        for (int at = 0; at < count; ++at) {
            REQUIRE(journal->publish({.to = to, .head = {}, .payload = payload, .type = 1,
                                      .id = {1, next_id++}}).outcome == journal::Outcome::ok);
            REQUIRE(journal->commit().outcome == journal::Outcome::ok);
        }
    }
    void keep_up() {
        while (journal->maintain(true)) continue;
    }
    [[nodiscard]] std::uint64_t lsn() const { return journal->status().durable_lsn; }
};

// The newest superblock, as it is after this.
void change_superblock(const Desk& desk, const std::function<void(journal::Superblock&)>& change) {
    std::fstream file(desk.path + "/superblock", std::ios::in | std::ios::out | std::ios::binary);
    std::array<journal::Block, 2> slots{};
    file.read(reinterpret_cast<char*>(slots.data()), sizeof(slots));
    std::array<journal::Superblock, 2> both{};
    for (std::size_t slot = 0; slot < 2; ++slot)
        both[slot] = journal::read_as<journal::Superblock>(slots[slot]);
    const std::size_t slot = both[1].generation > both[0].generation ? 1 : 0;
    change(both[slot]);
    const journal::Block block = journal::sealed_block(journal::bytes_of(both[slot]), slot);
    file.seekp(static_cast<std::streamoff>(slot * sizeof(block)));
    file.write(reinterpret_cast<const char*>(block.data()), sizeof(block));
}

}  // namespace

TEST_SUITE("look") {
TEST_CASE("what is written is seen at once, what is synced when the superblock says so") {
    Desk desk(1U << 20);
    desk.write(5);
    desk.keep_up();
    const look::JournalPlaces first = look::journal_places(desk.path);
    REQUIRE(first.written);
    REQUIRE(first.synced);
    CHECK(first.trouble == "");
    CHECK(first.written->lsn == desk.lsn());
    CHECK(first.synced == first.written);
    desk.write(7);
    const look::JournalPlaces second = look::journal_places(desk.path);
    CHECK(second.written->lsn == desk.lsn());
    CHECK_FALSE(second.written_is_at_least);
    CHECK(second.synced == first.synced);
    desk.keep_up();
    CHECK(look::journal_places(desk.path).synced == second.written);
    CHECK_FALSE(second.checkpointed);
}

TEST_CASE("a journal is followed from segment to segment, and its checkpoint is told") {
    Desk desk(32U << 10);
    desk.write(8);
    const look::JournalPlaces places = look::journal_places(desk.path);
    CHECK(places.written->number > places.synced->number);
    CHECK(places.written->lsn == desk.lsn());
    for (int round = 0; round < 200; ++round) {
        desk.keep_up();
        desk.write(6);
    }
    const look::JournalPlaces later = look::journal_places(desk.path);
    CHECK(later.written->lsn == desk.lsn());
    REQUIRE(later.checkpointed);
    CHECK(later.checkpointed->lsn <= later.synced->lsn);
    CHECK(later.checkpointed->lsn > 0);
    CHECK(later.oldest_needed > 0);
}

TEST_CASE("batches that do not follow, and a checkpoint of another journal, are not believed") {
    Desk desk(32U << 10);
    for (int round = 0; round < 50; ++round) {
        desk.keep_up();
        desk.write(6);
    }
    desk.keep_up();
    desk.write(2);
    const look::JournalPlaces before = look::journal_places(desk.path);
    REQUIRE(before.written->lsn > before.synced->lsn);
    REQUIRE(before.checkpointed);
    SUBCASE("a chain that is another") {
        change_superblock(desk, [](journal::Superblock& block) { block.end.chain ^= 1; });
        const look::JournalPlaces after = look::journal_places(desk.path);
        CHECK(after.written->lsn == before.synced->lsn);
        CHECK(after.checkpointed == before.checkpointed);
    }
    SUBCASE("a journal that is another") {
        change_superblock(desk, [](journal::Superblock& block) { block.journal_id ^= 1; });
        const look::JournalPlaces after = look::journal_places(desk.path);
        CHECK_FALSE(after.checkpointed);
        CHECK(after.written->lsn == before.synced->lsn);
    }
}

TEST_CASE("no more than a few MiB are read, and that there may be more is told") {
    Desk desk(16U << 20);
    desk.write(1);
    desk.keep_up();
    desk.write(12, 1U << 20);
    const look::JournalPlaces places = look::journal_places(desk.path);
    CHECK(places.written_is_at_least);
    CHECK(places.written->lsn < desk.lsn());
    CHECK(places.written->lsn > places.synced->lsn);
}

TEST_CASE("of a journal that is not there, cut short or scribbled on nothing is made up") {
    Desk desk(32U << 10);
    CHECK(look::journal_places(desk.path + "-of-nobody").trouble != "");
    desk.write(5);
    desk.keep_up();
    desk.journal.reset();
    const look::JournalPlaces before = look::journal_places(desk.path);
    REQUIRE(before.synced);
    const std::string segment =
        desk.path + "/" + journal::numbered_name("seg-", before.synced->number);
    SUBCASE("the segment is gone") { fs::remove(segment); }
    SUBCASE("the segment is cut short") { fs::resize_file(segment, 5000); }
    SUBCASE("the segment's head is scribbled on") {
        std::fstream(segment, std::ios::in | std::ios::out | std::ios::binary) << "nonsense";
    }
    CHECK(look::journal_places(desk.path).synced == before.synced);
    fs::resize_file(desk.path + "/superblock", 100);
    const look::JournalPlaces after = look::journal_places(desk.path);
    CHECK_FALSE(after.synced);
    CHECK_FALSE(after.written);
    CHECK(after.trouble == "it has no superblock that can be read");
}
}
