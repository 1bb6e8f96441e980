// A journal that is held still while somebody goes on writing to it.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>

#include "cli/copy_journal.h"
#include "cli/trouble.h"
#include "journal/journal.h"
#include "support/folder.h"

using namespace shmbus;
using cli::StillJournal;

namespace {

namespace fs = std::filesystem;

// A journal with small segments in a directory of its own.
struct Desk {
    ::test::Folder folder;
    std::string path;
    std::unique_ptr<journal::RealStorage> storage;
    std::unique_ptr<journal::Journal> journal;

    Desk() {
        // In memory: what is written counts here, not how safely.
        path = folder.path() + "/journal";
        storage = std::make_unique<journal::RealStorage>(path);
        journal::Options options;
        options.segment_bytes = 32U << 10;
        options.checkpoint_bytes = 48U << 10;
        journal = std::make_unique<journal::Journal>(*storage, options);
    }
    ~Desk() { journal.reset(); }
    // So many messages, a batch for each, with all the upkeep; every second one is settled, so that
    // segments are merged and removed as well.
    void write(int count) {
        const std::array<std::byte, 600> payload{};
        const std::array<journal::Endpoint, 1> to{1};
        for (int i = 0; i < count; ++i) {
            const auto appended = journal->publish(
                {.to = to, .head = {}, .payload = payload, .type = 1, .id = {1, next_id++}});
            REQUIRE(appended.outcome == journal::Outcome::ok);
            if (appended.lsn % 2 == 0) static_cast<void>(journal->settle(1, appended.lsn - 1));
            REQUIRE(journal->commit().outcome == journal::Outcome::ok);
            while (journal->maintain(i % 8 == 0)) continue;
        }
    }
    [[nodiscard]] std::uint64_t last_lsn() const { return journal->status().durable_lsn; }
    std::uint64_t next_id = 1;
};

}  // namespace

TEST_SUITE("cli") {

TEST_CASE("a journal that is held still shows what was there, whatever is written meanwhile") {
    Desk desk;
    for (int round = 0; round < 20; ++round) {
        desk.write(7);
        const std::uint64_t lsn = desk.last_lsn();
        StillJournal still(desk.path);
        desk.write(30);
        const journal::Report report = journal::inspect(still);
        CHECK_MESSAGE(!report.stops_service(), report.text());
        CHECK(report.end.lsn == lsn);
    }
}

TEST_CASE("a copy of a journal that is held still is a journal") {
    Desk desk;
    desk.write(50);
    StillJournal still(desk.path);
    const std::uint64_t lsn = desk.last_lsn();
    desk.write(100);
    const std::string to = desk.folder.path() + "/copy";
    CHECK(cli::copy_journal(still, to).files > 2);
    CHECK_THROWS_AS(static_cast<void>(cli::copy_journal(still, to)), cli::Trouble);
    journal::RealStorage storage(to, journal::RealStorage::Mode::must_exist);
    journal::Journal copy(storage);
    CHECK(copy.why_stopped().empty());
    CHECK(copy.report().end.lsn == lsn);
}

TEST_CASE("nothing can be changed through a journal that is held still") {
    Desk desk;
    desk.write(3);
    StillJournal still(desk.path);
    int error = 0;
    CHECK(still.create("seg-1", error) == nullptr);
    CHECK(error == EROFS);
    CHECK(still.unlink("superblock") == EROFS);
    CHECK(still.rename("superblock", "other") == EROFS);
    const auto file = still.open("superblock", error);
    REQUIRE(file != nullptr);
    const std::array<std::byte, 8> bytes{};
    CHECK(file->write(bytes, 0).error == EROFS);
    CHECK_THROWS_AS(StillJournal("/nonexistent/journal"), cli::Trouble);
}

}
