// Files that are no lane or no inbox, and lanes that turn bad while they are in use.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <shmbus/result.h>

#include <unistd.h>

#include "support/scene.h"

namespace shmbus::test {
namespace {

void scribble(const base::File& file, std::size_t at, std::uint64_t value, std::size_t bytes = 8) {
    REQUIRE(::pwrite(file.fd(), &value, bytes, static_cast<off_t>(at)) ==
            static_cast<ssize_t>(bytes));
}

bool refused(const base::File& file) {
    bool everywhere = true;
    for (const auto side : {lane::LaneParts::Side::writer, lane::LaneParts::Side::reader}) {
        try {
            const lane::LaneParts parts(file, side);
            everywhere = false;
        } catch (const SetupError& error) {
            everywhere = everywhere && std::string_view(error.what()).size() > 20;
        }
    }
    return everywhere;
}

// A scene with one good lane beside the bad one, and a consumer.
struct Neighbours {
    Neighbours() : good(scene.make_lane(5)), bad_file(scene.make_lane(6)), bad(bad_file) {
        scene.make_participant(1);
        life = scene.live_as(1);
        static_cast<void>(scene.admin->assign_consumer(1));
        consumer = scene.consume(0, 1);
    }
    // Takes what there is, a bounded number of times; the numbers.
    std::vector<std::uint64_t> drain() {
        std::vector<std::uint64_t> numbers;
        for (int takes = 0; takes < 1000; ++takes)
            if (lane::Batch* batch = consumer->take(8))
                handle(*consumer, *batch, [&](const std::optional<Cargo>& cargo, bool) {
                    numbers.push_back(cargo ? cargo->number : 0);
                });
        return numbers;
    }
    void check_the_other_lane_goes_on() {
        for (std::uint64_t number = 1; number <= 100; ++number) {
            REQUIRE(send(good, 1, number));
            CHECK(drain() == std::vector<std::uint64_t>{number});
        }
    }

    Scene scene;
    lane::Writer good;
    base::File bad_file;
    lane::Writer bad;
    std::unique_ptr<base::Presence> life;
    std::unique_ptr<lane::Consumer> consumer;
};

TEST_SUITE("lane") {
TEST_CASE("a file of zeros is refused as a lane and as an inbox") {
    const TemporaryDirectory directory;
    CHECK(refused(directory.make("zeros", lane::data_at + 4096)));
    const base::File inbox = directory.make("inbox", lane::inbox_bytes);
    CHECK_THROWS_AS(lane::InboxView{inbox}, SetupError);
    CHECK_THROWS_AS(lane::InboxAdmin{inbox}, SetupError);
}
TEST_CASE("a lane or an inbox that was left half made is refused") {
    Scene scene;
    const base::File file = scene.make_lane(5);
    scribble(file, offsetof(lane::LaneIdentity, ready), 0, 4);
    CHECK(refused(file));
    scribble(*scene.inbox, offsetof(lane::InboxIdentity, ready), 0, 4);
    CHECK_THROWS_AS(lane::InboxView{*scene.inbox}, SetupError);
}
TEST_CASE("another layout version is refused and the file left as it was") {
    Scene scene;
    const base::File file = scene.make_lane(5);
    scribble(file, offsetof(lane::LaneIdentity, major), lane::layout_major + 1, 4);
    const std::uint64_t bytes = file.facts().bytes;
    CHECK(refused(file));
    CHECK(file.facts().bytes == bytes);
    scribble(*scene.inbox, offsetof(lane::InboxIdentity, major), lane::layout_major + 1, 4);
    CHECK_THROWS_AS(lane::InboxView{*scene.inbox}, SetupError);
}
TEST_CASE("a lane whose length, magic, salt or capacity does not fit is refused") {
    struct Wrong {
        std::size_t at;
        std::uint64_t value;
    };
    const std::array wrongs{
        Wrong{offsetof(lane::LaneIdentity, magic), lane::inbox_magic},
        Wrong{offsetof(lane::LaneIdentity, salt), 5},
        Wrong{offsetof(lane::LaneIdentity, capacity), 0},
        Wrong{offsetof(lane::LaneIdentity, capacity), 4095},
        Wrong{offsetof(lane::LaneIdentity, capacity), 8192},
        Wrong{offsetof(lane::LaneIdentity, capacity), std::uint64_t{1} << 63},
    };
    Scene scene;
    for (std::size_t i = 0; i < wrongs.size(); ++i) {
        const base::File file = scene.make_lane(10 + i);
        scribble(file, wrongs[i].at, wrongs[i].value);
        CAPTURE(i);
        CHECK(refused(file));
    }
    const base::File cut = scene.make_lane(50);
    for (const off_t bytes : {16383, 12288, 4096, 71, 1, 0}) {
        REQUIRE(::ftruncate(cut.fd(), bytes) == 0);
        CHECK(refused(cut));
    }
}
TEST_CASE("a lane in the table whose file is missing or a stranger's is reported, others go on") {
    Neighbours pair;
    REQUIRE(pair.scene.admin->add_lane(77));
    pair.check_the_other_lane_goes_on();
    CHECK(pair.consumer->poisoned_lanes() == 1);
    CHECK_FALSE(pair.scene.log.empty());
}
TEST_CASE("a record longer than any may be poisons its lane, tells the writer, others go on") {
    Neighbours pair;
    const lane::Claim claim = pair.bad.claim(1);
    REQUIRE(claim);
    pair.bad.commit(claim, wire::Meta{1U << 30, 1, 0, 0}.word());
    CHECK(pair.drain().empty());
    CHECK(pair.consumer->poisoned_lanes() == 1);
    CHECK(pair.bad.lost());
    CHECK_FALSE(pair.good.lost());
    CHECK_FALSE(pair.scene.log.empty());
    pair.check_the_other_lane_goes_on();
}
TEST_CASE("extensions that do not fit their flags are refused by the reader of extensions") {
    std::array<std::byte, 256> block{};
    wire::Extensions into;
    for (std::uint32_t flags = 0; flags < 4096; ++flags) {
        const auto units = static_cast<std::uint8_t>(
            wire::extension_bytes(static_cast<std::uint16_t>(flags)) / 16);
        for (std::uint8_t given = 0; given < 16; ++given) {
            const wire::Meta meta{8, 1, given, static_cast<std::uint16_t>(flags)};
            CHECK(wire::read_extensions(meta, block.data(), into) == (given == units));
        }
    }
}
TEST_CASE("a lane that is cut short under its reader is poisoned, others go on") {
    Neighbours pair;
    REQUIRE(send(pair.bad, 1, 1));
    CHECK(pair.drain() == std::vector<std::uint64_t>{1});
    REQUIRE(::ftruncate(pair.bad_file.fd(), 0) == 0);
    CHECK(pair.drain().empty());
    pair.check_the_other_lane_goes_on();
}
TEST_CASE("a lane that is cut short under its writer is lost to it, without a crash") {
    Neighbours pair;
    REQUIRE(send(pair.bad, 1, 1));
    REQUIRE(::ftruncate(pair.bad_file.fd(), lane::data_at) == 0);
    // Records go into memory that leads nowhere until the writer looks.
    for (std::uint64_t number = 2; number <= 10; ++number)
        static_cast<void>(send(pair.bad, 1, number));
    CHECK(pair.bad.lost());
    pair.check_the_other_lane_goes_on();
}
TEST_CASE("positions that a stranger wrote into the readers' page make no writer overwrite") {
    Neighbours pair;
    for (std::uint64_t number = 1; number <= 64; ++number) REQUIRE(send(pair.bad, 1, number));
    const lane::InboxView view(*pair.scene.inbox);
    const std::size_t reclaim = lane::reader_page_at + offsetof(lane::StdReaderPage, reclaim);
    const std::uint64_t far = std::uint64_t{1} << 40;
    for (const std::uint64_t wrong : {std::uint64_t{65}, far, ~std::uint64_t{0}}) {
        scribble(pair.bad_file, reclaim, wrong);
        scribble(pair.bad_file, lane::reader_page_at, lane::head_word(wrong >> 17 | 65, 3));
        CHECK_FALSE(send(pair.bad, 1, 65));
        CHECK_FALSE(pair.bad.count_room(view, 1));
    }
}
TEST_CASE("in an inbox that was cut short nobody takes, and nobody counts room") {
    Neighbours pair;
    for (std::uint64_t number = 1; number <= 64; ++number) REQUIRE(send(pair.bad, 1, number));
    lane::Batch* held = pair.consumer->take(1);
    REQUIRE(held != nullptr);
    const lane::InboxView view(*pair.scene.inbox);
    REQUIRE(::ftruncate(pair.scene.inbox->fd(), 0) == 0);
    // Nobody can see any more that this one is held.
    CHECK_FALSE(pair.bad.count_room(view, 1));
    CHECK(view.lost());
    CHECK(cargo_of(held->entry(0)).value_or(Cargo{}).number == 1);
    pair.consumer->finish(held);
    CHECK_FALSE(send(pair.bad, 1, 65));
    CHECK(pair.drain().empty());
    CHECK_FALSE(pair.consumer->sleep(std::chrono::milliseconds(1)));
    const std::string_view told = "the inbox's file was cut short";
    const std::size_t first = pair.scene.log.find(told);
    CHECK(first != std::string::npos);
    CHECK(pair.scene.log.find(told, first + 1) == std::string::npos);
}
TEST_CASE("a writer sees that the readers' page or its own records were wiped") {
    Neighbours pair;
    for (std::uint64_t number = 1; number <= 60; ++number) REQUIRE(send(pair.bad, 1, number));
    CHECK_FALSE(pair.bad.is_scribbled());
    CHECK(pair.drain().size() == 60);
    REQUIRE(pair.bad.claim(10));  // and sees how far the readers are
    CHECK_FALSE(pair.bad.is_scribbled());
    scribble(pair.bad_file, lane::reader_page_at, 0);
    CHECK(pair.bad.is_scribbled());
    scribble(pair.bad_file, lane::reader_page_at, lane::head_word(61, 0));
    CHECK(pair.bad.is_scribbled());
    scribble(pair.bad_file, lane::reader_page_at, lane::head_word(60, 0));
    CHECK_FALSE(pair.bad.is_scribbled());
    REQUIRE(send(pair.bad, 1, 61));
    CHECK_FALSE(pair.bad.is_scribbled());
    scribble(pair.bad_file, lane::data_at + 60 * wire::unit_bytes, 0);
    CHECK(pair.bad.is_scribbled());
}
}

}  // namespace
}  // namespace shmbus::test
