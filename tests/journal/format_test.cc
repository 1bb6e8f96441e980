// The sums are those of the RFC, and the bytes are those that FORMAT.md shows.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <string>

#include "journal/crc32c.h"
#include "journal/journal.h"
#include "sim_disk.h"

using namespace shmbus::test;
using namespace shmbus::journal;

namespace {

namespace fs = std::filesystem;

[[nodiscard]] std::string hex_lines(std::span<const std::byte> bytes, std::uint64_t offset) {
    std::string text;
    for (std::uint64_t at = 0; at < bytes.size(); at += 16) {
        const auto line = bytes.subspan(at, 16);
        if (all_zero(line)) continue;
        char cell[32];
        std::snprintf(cell, sizeof cell, "    %6llu ",
                      static_cast<unsigned long long>(offset + at));
        text += cell;
        for (std::size_t i = 0; i < 16; ++i) {
            std::snprintf(cell, sizeof cell, "%s%02x", i % 4 == 0 ? " " : "",
                          std::to_integer<unsigned>(line[i]));
            text += cell;
        }
        text += "\n";
    }
    return text;
}

// A new journal in which one message of five bytes was published to endpoint 7.
[[nodiscard]] std::vector<std::byte> example() {
    SimDisk disk;
    Options options;
    options.segment_bytes = 32 * 1024;
    options.now_seconds = [] { return std::uint64_t{1'700'000'000}; };
    options.uptime_seconds = [] { return std::uint64_t{100}; };
    std::uint64_t number = 0x1111;
    options.random = [&] { return number += 0x1111; };
    Journal journal(disk, options);
    const Endpoint to = 7;
    const char text[] = {'h', 'e', 'l', 'l', 'o'};
    Message message;
    message.to = std::span(&to, 1);
    message.payload = std::as_bytes(std::span(text));
    message.type = 3;
    message.id = {0x1000, 0x20000};
    REQUIRE(journal.publish(message).lsn == 2);
    REQUIRE(journal.commit().outcome == Outcome::ok);
    return disk.state.content(numbered_name("seg-", 1));
}

}  // namespace

TEST_SUITE("journal") {
TEST_CASE("the sums are those of RFC 3720, by instruction and by table") {
    std::vector<std::byte> bytes(32);
    const auto both = [&](std::span<const std::byte> what) {
        CHECK(crc32c(0, what) == crc32c_by_table(0, what));
        return crc32c(0, what);
    };
    CHECK(both(bytes) == 0x8A9136AA);
    bytes.assign(32, std::byte{0xFF});
    CHECK(both(bytes) == 0x62A8AB43);
    for (unsigned i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(i);
    CHECK(both(bytes) == 0x46DD794E);
    for (unsigned i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(31 - i);
    CHECK(both(bytes) == 0x113FDB5C);
    // Sums of parts can be continued, whatever their lengths.
    for (std::size_t front = 0; front <= 32; ++front) {
        const auto all = std::span<const std::byte>(bytes);
        CHECK(crc32c(crc32c(0, all.first(front)), all.subspan(front)) == 0x113FDB5C);
    }
}

TEST_CASE("a long sum is that of the table, wherever it begins and ends") {
    std::vector<std::byte> bytes(10'000);
    std::uint32_t noise = 1;
    for (std::byte& byte : bytes) byte = static_cast<std::byte>((noise = noise * 69'069 + 1) >> 24);
    const auto all = std::span<const std::byte>(bytes);
    std::uint32_t by_table = 0;
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        REQUIRE(crc32c(0, all.first(length)) == by_table);
        REQUIRE(crc32c(crc32c_by_table(0, all.first(length)), all.subspan(length)) ==
                crc32c(0, all));
        by_table = crc32c_by_table(by_table, all.subspan(length, 1));
    }
}

TEST_CASE("the example in FORMAT.md is what the journal writes") {
    const std::vector<std::byte> file = example();
    const std::string lines = hex_lines(std::span(file).subspan(8192, 4096), 8192) +
                              hex_lines(std::span(file).first(4096), 0);
    const char* const told = std::getenv("SHMBUS_SOURCE_ROOT");
    const fs::path root =
        told != nullptr ? fs::path(told) : fs::path(__FILE__).parent_path() / ".." / "..";
    std::ostringstream text;
    text << std::ifstream(root / "src/journal/FORMAT.md").rdbuf();
    std::istringstream wanted(lines);
    for (std::string line; std::getline(wanted, line);) {
        INFO("the journal writes:\n", lines);
        CHECK(text.str().find(line) != std::string::npos);
    }
}

TEST_CASE("a record counts at its own place only") {
    const std::vector<std::byte> file = example();
    const auto head = read_as<SegmentHead>(file);
    const Stretch right{Seed(head.journal_id, 1, head.salt), file, 0};
    REQUIRE(read_batch(right, 8192, 0).valid);
    CHECK_FALSE(read_batch(right, 8192, 1).valid);
    // Another segment, another journal, another filling of the same file, another place in it.
    CHECK_FALSE(read_batch({Seed(head.journal_id, 2, head.salt), file, 0}, 8192, 0).valid);
    CHECK_FALSE(read_batch({Seed(head.journal_id + 1, 1, head.salt), file, 0}, 8192, 0).valid);
    CHECK_FALSE(read_batch({Seed(head.journal_id, 1, head.salt ^ 1), file, 0}, 8192, 0).valid);
    std::vector<std::byte> moved = file;
    std::copy(file.begin() + 8192, file.begin() + 12288, moved.begin() + 12288);
    CHECK_FALSE(head_at({right.seed, moved, 0}, 12288).has_value());
}
}
