// Reading a journal whose batches are long: all of it, and at a start no more than is asked for.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "journal/journal.h"
#include "journal/segment_file.h"
#include "sim_disk.h"

using namespace shmbus::test;
using namespace shmbus::journal;

namespace {

constexpr std::uint64_t batches = 32;
constexpr std::uint64_t messages = 40;  // of 60,000 bytes in each: more than two megabytes

[[nodiscard]] Options long_batches() {
    Options options;
    options.segment_bytes = 8U << 20;
    options.checkpoint_bytes = 8U << 20;
    return options;
}

void fill(SimDisk& disk) {
    Journal journal(disk, long_batches());
    const std::vector<Endpoint> to{1};
    const std::vector<std::byte> payload(60'000, std::byte{7});
    Message message;
    message.to = to;
    message.payload = payload;
    for (std::uint64_t batch = 0; batch < batches; ++batch) {
        for (std::uint64_t number = 0; number < messages; ++number)
            REQUIRE(journal.publish(message).outcome == Outcome::ok);
        REQUIRE(journal.commit().outcome == Outcome::ok);
        while (journal.maintain()) continue;
    }
}

}  // namespace

TEST_SUITE("journal") {
TEST_CASE("batches longer than what is read at once: a flipped bit in any is found in its place") {
    SimDisk disk;
    fill(disk);
    const Report sound = inspect(disk);
    CHECK(sound.damages.empty());
    CHECK(sound.torn_bytes == 0);
    // The first record says who the audience is.
    CHECK(sound.records == batches * messages + 1);
    CHECK(sound.end.lsn == sound.records);
    for (const std::uint64_t lsn : {1U, 2U, 17U, 41U, 42U, 60U, 161U, 399U, 600U}) {
        SimDisk flipped;
        flipped.state = disk.state;
        std::string file;
        std::uint64_t offset = 0;
        const auto look = [&](std::uint64_t number, std::uint64_t at, const RecordHead& head,
                              std::span<const std::byte>) {
            if (head.lsn != lsn || head.kind == Kind::begin || head.kind == Kind::batch_end) return;
            file = numbered_name(segment_prefix, number);
            offset = at;
        };
        REQUIRE(inspect(flipped, look).damages.empty());
        flipped.state.flip_bit(file, (offset + sizeof(RecordHead) + 1) * 8);
        const Report report = inspect(flipped);
        REQUIRE(report.damages.size() >= 1);
        CHECK(report.damages[0].file == file);
        CHECK(report.damages[0].offset == offset);
        CHECK(report.damages[0].lsns == Range{lsn, lsn});
        CHECK(report.end.lsn == sound.end.lsn);
        CHECK(report.records == sound.records - 1);
    }
}

TEST_CASE("a start reads what came since the last checkpoint, however much was before") {
    SimDisk disk;
    fill(disk);
    const std::uint64_t before = disk.read_bytes;
    const Journal journal(disk, long_batches());
    CHECK_MESSAGE(journal.why_stopped().empty(), journal.why_stopped());
    CHECK(journal.backlog(1) == batches * messages);
    CHECK(journal.status().journal_bytes > 12 * long_batches().segment_bytes);
    // Less than two segments since then, two spare ones, and something of the last one twice.
    CHECK(disk.read_bytes - before < 6 * long_batches().segment_bytes);
    MESSAGE("read at a start: ", disk.read_bytes - before, " bytes of ",
            journal.status().journal_bytes);
}
}
