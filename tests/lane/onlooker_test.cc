// Looking at a lane and an inbox from outside: what is counted, copied, and left alone.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

#include "lane/metrics_map.h"
#include "lane/onlooker.h"
#include "support/scene.h"

namespace shmbus::test {
namespace {

// A lane that is looked at while its writer and a consumer are at work.
struct Watched {
    Watched() : file(scene.make_lane(5)), writer(file) {
        scene.make_participant(1);
        life = scene.live_as(1);
        consumer = scene.consume(scene.admin->assign_consumer(1).value(), 1);
    }
    // Handles at most `batches` batches of at most `records`; returns how many messages.
    std::uint64_t work(int batches, std::uint32_t records) {
        std::uint64_t handled = 0;
        while (batches-- > 0) {
            lane::Batch* const batch = consumer->take(records);
            if (batch == nullptr) break;
            handled += batch->count;
            handle(*consumer, *batch, [](const std::optional<Cargo>&, bool) {});
        }
        return handled;
    }
    // A record of several messages.
    bool send_packed(std::uint32_t messages) {
        const std::uint32_t bytes = 16 + messages * 8;
        const std::uint64_t meta = wire::Meta{bytes, 1, 0, wire::is_packed}.word();
        const lane::Claim claim = writer.claim(wire::units_of(meta));
        if (!claim) return false;
        const std::array<std::uint32_t, 4> count{messages, 0, 0, 0};
        std::memcpy(claim.record + wire::head_bytes, count.data(), sizeof(count));
        writer.commit(claim, meta, messages);
        return true;
    }
    [[nodiscard]] lane::LaneOnlooker::Count count() const {
        return lane::LaneOnlooker(scene.open_lane(5)).count();
    }
    [[nodiscard]] std::uint64_t settled() const {
        return lane::InboxOnlooker(scene.open_inbox()).settled();
    }

    Scene scene;
    base::File file;
    lane::Writer writer;
    std::unique_ptr<base::Presence> life;
    std::unique_ptr<lane::Consumer> consumer;
};

TEST_SUITE("lane") {
TEST_CASE("a lane and its hands tell at every moment how many messages went in and out") {
    Watched watched;
    std::uint64_t sent = 0;
    for (int turn = 0; turn < 500; ++turn) {
        for (int i = 0; i < turn % 7; ++i) sent += send(watched.writer, 1, sent + 1) ? 1 : 0;
        if (turn % 3 == 0) sent += watched.send_packed(5) ? 5 : 0;
        const auto count = watched.count();
        CHECK(count.is_exact);
        CHECK(count.messages == sent);
        CHECK(count.tail == watched.writer.tail());
        const std::uint64_t before = watched.settled();
        CHECK(count.waiting == sent - before);
        watched.work(turn % 4, 3);
        CHECK(watched.count().messages == sent);
    }
    CHECK(watched.writer.tail() > 10 * 64);
    while (watched.work(1, 64) != 0) {
    }
    CHECK(watched.settled() == sent);
    CHECK(watched.count().waiting == 0);
}

TEST_CASE("what comes one by one is counted one by one, awaited or not") {
    Watched watched;
    for (std::uint64_t sent = 1; sent <= 300; ++sent) {
        // Nothing is there: the take that follows may be made ready.
        CHECK(watched.work(1, 3) == 0);
        if (sent % 3 != 0) CHECK(watched.consumer->await_expected(1) == nullptr);
        REQUIRE(send(watched.writer, 1, sent));
        CHECK(watched.settled() == sent - 1);
        CHECK(watched.count().waiting == 1);
        CHECK(watched.work(1, 3) == 1);
        CHECK(watched.settled() == sent);
        CHECK(watched.count().waiting == 0);
    }
}
// Two batches of one, so that a third message like them is expected.
void expect_another(Watched& watched) {
    for (std::uint64_t number = 1; number <= 2; ++number) {
        CHECK(watched.work(1, 3) == 0);
        REQUIRE(send(watched.writer, 1, number));
        CHECK(watched.work(1, 3) == 1);
    }
    CHECK(watched.work(1, 3) == 0);
    CHECK(watched.consumer->await_expected(1) == nullptr);
}
TEST_CASE("a hand that is made ready again and again is of one filling, the next to be counted") {
    Watched watched;
    expect_another(watched);
    const lane::InboxView view(watched.scene.open_inbox());
    const auto& hand = view.hands()[0];
    const std::uint32_t next =
        lane::settled_filling_in(hand.settled.load(std::memory_order_acquire)) + 1;
    for (int i = 0; i < 1000; ++i) {
        REQUIRE(watched.consumer->take(3) == nullptr);
        REQUIRE(watched.consumer->await_expected(1) == nullptr);
        REQUIRE(lane::filling_in(hand.count.load(std::memory_order_acquire)) == next);
    }
    REQUIRE(send(watched.writer, 1, 3));
    CHECK(watched.work(1, 3) == 1);
    CHECK(watched.settled() == 3);
}
TEST_CASE("what is taken behind a sleep was not taken before it") {
    Watched watched;
    expect_another(watched);
    watched.consumer->sleep(std::chrono::milliseconds(1));
    const std::uint64_t behind = base::ticks();
    watched.consumer->sleep(std::chrono::milliseconds(1));
    REQUIRE(send(watched.writer, 1, 3));
    lane::Batch* const batch = watched.consumer->take(3);
    REQUIRE(batch != nullptr);
    const auto hands = lane::InboxOnlooker(watched.scene.open_inbox()).hands();
    REQUIRE(hands.size() == 1);
    CHECK(hands[0].since_ticks >= behind);
    handle(*watched.consumer, *batch, [](const std::optional<Cargo>&, bool) {});
}
TEST_CASE("a new writer goes on counting where a dead one ended") {
    Watched watched;
    std::uint64_t sent = 0;
    for (int i = 0; i < 300; ++i) {
        sent += send(watched.writer, 1, sent + 1) ? 1 : 0;
        watched.work(1, 64);
    }
    lane::Writer heir(watched.file, watched.writer.tail());
    CHECK(heir.messages() == sent);
    for (int i = 0; i < 300; ++i) {
        sent += send(heir, 1, sent + 1) ? 1 : 0;
        watched.work(1, 64);
    }
    CHECK(watched.count().messages == sent);
    CHECK(watched.settled() == sent);
}

TEST_CASE("what is gone of a budget counts as sent") {
    Watched watched;
    watched.writer.set_budget(10);
    for (int i = 0; i < 7; ++i) {
        const std::uint64_t units = units_for(least_cargo);
        const lane::QuickClaim claim = watched.writer.claim_quickly(units);
        REQUIRE(claim);
        watched.writer.commit_quickly(claim, wire::Meta{least_cargo, 1, 0, 0}.word(), units);
    }
    CHECK(watched.writer.messages() == 7);
    watched.writer.set_budget(5);
    CHECK(watched.writer.messages() == 7);
    CHECK(send(watched.writer, 1, 8));
    CHECK(watched.writer.messages() == 8);
    CHECK(watched.count().messages == 8);
}

TEST_CASE("a record is copied whole, or not at all once it is overwritten") {
    Watched watched;
    REQUIRE(send(watched.writer, 1, 1, 100));
    const lane::LaneOnlooker onlooker(watched.scene.open_lane(5));
    lane::SeenRecord seen;
    REQUIRE(onlooker.look(0, seen));
    CHECK(seen.payload().size() == 100);
    CHECK(seen.units == units_for(100));
    Cargo cargo;
    std::memcpy(&cargo, seen.payload().data(), sizeof(cargo));
    CHECK(cargo.check == cargo.sum());
    CHECK_FALSE(onlooker.look(seen.units, seen));
    for (int i = 0; i < 200; ++i) {
        static_cast<void>(send(watched.writer, 1, 2, 100));
        watched.work(1, 64);
    }
    CHECK_FALSE(onlooker.look(0, seen));
    CHECK_FALSE(onlooker.look(1, seen));
}

TEST_CASE("whoever looks at a busy lane sees whole records only, and numbers that only grow") {
    Watched watched;
    std::atomic<bool> stops{false};
    std::thread writing([&] {
        std::uint64_t number = 1;
        while (!stops.load(std::memory_order_relaxed))
            if (send(watched.writer, 1, number, 40 + static_cast<std::uint32_t>(number % 200)))
                ++number;
    });
    std::thread reading([&] {
        while (!stops.load(std::memory_order_relaxed)) watched.work(1, 64);
    });
    const lane::LaneOnlooker onlooker(watched.scene.open_lane(5));
    std::uint64_t messages = 0;
    std::uint64_t copied = 0;
    lane::SeenRecord seen;
    while (copied < 2'000) {
        const auto count = onlooker.count();
        CHECK(count.messages >= messages);
        messages = count.messages;
        for (std::uint64_t at = onlooker.where().head; onlooker.look(at, seen); at += seen.units) {
            ++copied;
            Cargo cargo;
            REQUIRE(seen.payload().size() >= sizeof(cargo));
            std::memcpy(&cargo, seen.payload().data(), sizeof(cargo));
            REQUIRE(cargo.check == cargo.sum());
            REQUIRE(cargo.bytes == seen.payload().size());
            for (std::size_t i = sizeof(cargo); i < cargo.bytes; ++i)
                REQUIRE(seen.payload()[i] == static_cast<std::byte>(cargo.filler(i)));
        }
    }
    stops.store(true, std::memory_order_relaxed);
    writing.join();
    reading.join();
}

TEST_CASE("what did not get in through a lane that goes stays in the inbox's account, once") {
    Scene scene;
    const shmbus::base::File file = scene.make_lane(5);
    lane::Writer first(file);
    lane::Writer second(scene.make_lane(6));
    first.note(lane::Writer::Account::refused, 3);
    first.note(lane::Writer::Account::waits, 10);
    first.commit(first.claim(3), wire::Meta{.payload_bytes = 150}.word());
    // As if it was taken. relaxed: nobody else is here.
    const lane::LaneParts taken(file, lane::LaneParts::Side::reader);
    taken.reader_page().head.store(lane::head_word(first.tail(), 0), std::memory_order_relaxed);
    second.note(lane::Writer::Account::refused, 4);
    second.note(lane::Writer::Account::dropped_oldest, 100);
    const lane::InboxOnlooker onlooker(scene.open_inbox());
    scene.admin->keep_account(5, first.parts());
    // A daemon that died meanwhile does it again.
    scene.admin->keep_account(5, first.parts());
    scene.admin->keep_account(6, second.parts());
    scene.admin->keep_account(6, second.parts());
    CHECK(lane::InboxOnlooker(scene.open_inbox()).gone() ==
          lane::InboxOnlooker::Gone{7, 0, 100, 10, 3});
}

TEST_CASE("what waits on disk is read as it was told last, and off a file cut short as nothing") {
    Scene scene;
    const base::File inbox = scene.open_inbox();
    CHECK(lane::on_disk(inbox) == 0);
    for (const std::uint64_t records : {7ULL, 10'000'000'000ULL, 1ULL}) {
        scene.admin->tell_on_disk(records);
        CHECK(lane::on_disk(inbox) == records);
    }
    REQUIRE(::ftruncate(scene.inbox->fd(), lane::consumers_page_at + 412) == 0);
    CHECK(lane::on_disk(inbox) == 0);
}

TEST_CASE("an inbox nobody handled at costs no memory for its metrics, also when looked at") {
    Watched watched;
    struct stat before {};
    REQUIRE(::fstat(watched.scene.inbox->fd(), &before) == 0);
    const lane::InboxOnlooker onlooker(watched.scene.open_inbox());
    for (std::uint16_t slot = 0; slot < lane::most_consumers; ++slot) {
        CHECK(onlooker.metrics(slot).types().empty());
        for (std::size_t row = 0; row < lane::most_timed_types; ++row)
            CHECK(onlooker.times_of_row(slot, row) == lane::Metrics::Times{});
        CHECK(onlooker.metrics(slot).timed_lanes().empty());
        for (std::size_t row = 0; row < lane::most_timed_lanes; ++row)
            CHECK(onlooker.times_of_lane(slot, {0, row}) == lane::Metrics::Times{});
    }
    struct stat after {};
    REQUIRE(::fstat(watched.scene.inbox->fd(), &after) == 0);
    CHECK(after.st_blocks == before.st_blocks);
    CHECK(static_cast<std::uint64_t>(after.st_blocks) * 512 <= lane::inbox_bytes + 4096);
    const lane::MetricsMap map(*watched.scene.inbox, 3);
    REQUIRE(::fstat(watched.scene.inbox->fd(), &after) == 0);
    CHECK(after.st_blocks > before.st_blocks);
    // The times of a type, and of a lane, cost what they take, wherever they lie.
    for (const std::size_t at : {lane::type_times_at(31, 14), lane::lane_times_at(31, 14)}) {
        before = after;
        const lane::TimesMap times(*watched.scene.inbox, at);
        REQUIRE(::fstat(watched.scene.inbox->fd(), &after) == 0);
        CHECK(static_cast<std::uint64_t>(after.st_blocks - before.st_blocks) * 512 ==
              lane::times_bytes);
    }
    CHECK(static_cast<std::uint64_t>(after.st_size) == lane::inbox_file_bytes);
}

TEST_CASE("a row that is given to another lane never shows the times of one as the other's") {
    Scene scene;
    const lane::MetricsMap block(*scene.inbox, 2);
    const lane::TimesMap row(*scene.inbox, lane::lane_times_at(2, 4));
    constexpr std::uint64_t lanes = 400;
    std::jthread giving([&] {
        // Who looks finds a lane's id everywhere in its row; relaxed: read with the name only.
        for (std::uint64_t id = 1; id <= lanes; ++id) {
            lane::name_row<base::StdAtomics>(block.block().timed_lanes[4], row.block(), id);
            for (auto& histogram : row.block())
                for (auto& bucket : histogram) bucket.store(id, std::memory_order_relaxed);
        }
    });
    const lane::InboxOnlooker inbox(scene.open_inbox());
    for (std::uint64_t last = 0; last != lanes;) {
        const lane::Metrics metrics = inbox.metrics(2);
        for (const auto& seen : metrics.timed_lanes()) {
            CHECK(seen.row == 4);
            for (const auto& histogram : inbox.times_of_lane(2, seen))
                for (const std::uint64_t count : histogram)
                    REQUIRE((count == 0 || count == seen.lane));
            last = seen.lane;
        }
    }
    giving.join();
    CHECK(inbox.times_of_lane(2, {lanes, 4})[1][1087] == lanes);
    CHECK(inbox.times_of_lane(2, {lanes - 1, 4}) == lane::Metrics::Times{});
}

TEST_CASE("a histogram tells a value to two per cent, from 50 ns to minutes") {
    for (std::uint64_t value = 50; value < 240'000'000'000; value += value / 37 + 1) {
        const std::size_t bucket = lane::bucket_of(value);
        REQUIRE(bucket < lane::buckets);
        const std::uint64_t begin = lane::bucket_begin(bucket);
        const std::uint64_t end = lane::bucket_begin(bucket + 1);
        REQUIRE(begin <= value);
        REQUIRE(value < end);
        const double middle = static_cast<double>(begin + end) / 2;
        const double off = std::abs(middle - static_cast<double>(value));
        REQUIRE(off <= 0.02 * static_cast<double>(value));
    }
    CHECK(lane::bucket_of(~std::uint64_t{0}) == lane::buckets - 1);
}
}

}  // namespace
}  // namespace shmbus::test
