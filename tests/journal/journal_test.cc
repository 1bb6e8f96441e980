// What the journal promises to the daemon, one by one.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/journal.h"

#include <doctest/doctest.h>
#include <shmbus/result.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <set>
#include <string>

#include "rig.h"

using namespace shmbus::test;
using namespace shmbus::journal;
using shmbus::MessageId;
using shmbus::SetupError;

namespace {

constexpr Endpoint sales = 1;
constexpr Endpoint billing = 2;

// A journal on a disk of its own, opened again at will.
struct Bench {
    SimDisk disk;
    Options options;
    std::uint64_t now = 1'700'000'000;
    std::uint64_t uptime = 100;
    std::unique_ptr<Journal> journal;
    std::uint64_t opened_at_lsn = 0;

    explicit Bench(const Options& how = Rig::small_options()) : options(how) {
        options.now_seconds = [this] { return now; };
        options.uptime_seconds = [this] { return uptime; };
        reopen();
    }
    void reopen() {
        journal.reset();
        journal = std::make_unique<Journal>(disk, options);
        opened_at_lsn = journal->report().end.lsn;
    }
    Appended publish(const std::string& text, std::vector<Endpoint> to, MessageId id = {},
                     bool keep = false) {
        Message message;
        message.to = to;
        message.payload = std::as_bytes(std::span(text));
        message.id = id;
        message.keep_id = keep;
        return journal->publish(message);
    }
    void commit() { REQUIRE(journal->commit().outcome == Outcome::ok); }
    // The next message, " again" if it is from before this start; or what came instead.
    std::string next(Endpoint endpoint, std::uint64_t* lsn = nullptr) {
        Delivery delivery;
        switch (journal->next(endpoint, delivery)) {
            case Next::nothing:
                return "nothing";
            case Next::full:
                return "full";
            case Next::unreadable:
                return "unreadable";
            case Next::damaged:
                return "damaged";
            case Next::message:
                break;
        }
        if (lsn != nullptr) *lsn = delivery.lsn;
        const auto* const text = reinterpret_cast<const char*>(delivery.payload.data());
        return std::string(text, delivery.payload.size()) +
               (delivery.lsn <= opened_at_lsn ? " again" : "");
    }
    void settle(Endpoint endpoint, std::uint64_t lsn) {
        REQUIRE(journal->settle(endpoint, lsn) == Outcome::ok);
    }
    void up_to(std::uint64_t lane, std::uint64_t position) {
        REQUIRE(journal->up_to(lane, position) == Outcome::ok);
    }
    // Everything that was written is on disk.
    void settle_disk() {
        std::mt19937_64 dice(1);
        disk.state = after_crash(
            disk.state, [](auto, auto) { return Fate::kept; }, dice);
    }
    void rest() {
        for (int turn = 0; turn < 1000 && journal->maintain(true);) ++turn;
    }
};

}  // namespace

TEST_SUITE("journal") {
TEST_CASE("a message is delivered after its commit, and after a restart as possibly repeated") {
    Bench bench;
    bench.publish("one", {sales});
    CHECK(bench.next(sales) == "nothing");
    bench.commit();
    std::uint64_t lsn = 0;
    CHECK(bench.next(sales, &lsn) == "one");
    CHECK(bench.next(sales) == "nothing");
    bench.reopen();
    CHECK(bench.next(sales, &lsn) == "one again");
    CHECK(bench.journal->settle(sales, lsn) == Outcome::ok);
    bench.commit();
    bench.reopen();
    CHECK(bench.next(sales) == "nothing");
    CHECK(bench.journal->is_settled(sales, lsn));
}

TEST_CASE("one record serves all its receivers, and each settles it for itself") {
    Bench bench;
    bench.publish("first", {sales, billing});
    bench.commit();
    const std::uint64_t before = bench.journal->status().durable_lsn;
    const Appended second = bench.publish("second", {billing, sales});
    bench.commit();
    CHECK(bench.journal->status().durable_lsn == before + 1);
    CHECK(bench.journal->backlog(sales) == 2);
    std::uint64_t lsn = 0;
    CHECK(bench.next(sales, &lsn) == "first");
    bench.settle(sales, lsn);
    CHECK(bench.next(sales, &lsn) == "second");
    CHECK(lsn == second.lsn);
    bench.commit();
    bench.reopen();
    CHECK(bench.next(sales) == "second again");
    CHECK(bench.next(billing) == "first again");
    CHECK(bench.journal->backlog(sales) == 1);
    CHECK(bench.journal->backlog(billing) == 2);
}

TEST_CASE("what was taken back was never there") {
    Bench bench;
    bench.publish("kept", {sales});
    const Journal::Mark mark = bench.journal->mark();
    bench.publish("withdrawn", {sales});
    bench.publish("withdrawn too", {billing});
    bench.up_to(9, 100);
    bench.journal->take_back(mark);
    bench.publish("also kept", {sales});
    bench.commit();
    bench.reopen();
    CHECK(bench.next(sales) == "kept again");
    CHECK(bench.next(sales) == "also kept again");
    CHECK(bench.next(billing) == "nothing");
    CHECK(bench.journal->consumed_of(9) == 0);
}

TEST_CASE("a batch that grows large is written meanwhile, and counts when it is committed") {
    Bench bench;
    bench.commit();
    bench.publish("small", {sales});
    CHECK(bench.disk.begun_writes == 0);
    const std::string large(5000, 'x');
    bench.publish(large, {sales});
    bench.publish(large, {sales});
    CHECK(bench.disk.begun_writes == 2);
    // The process dies before the commit.
    SimDisk cut(bench.disk.state);
    CHECK(Journal(cut, bench.options).backlog(sales) == 0);
    bench.commit();
    bench.reopen();
    CHECK(bench.next(sales) == "small again");
    CHECK(bench.next(sales) == large + " again");
    CHECK(bench.next(sales) == large + " again");
    CHECK(bench.next(sales) == "nothing");
}

TEST_CASE("what was taken back after its writing had begun was never there either") {
    Bench bench;
    const std::string large(5000, 'x');
    bench.publish("kept", {sales});
    const Journal::Mark mark = bench.journal->mark();
    bench.publish(large, {sales});
    CHECK(bench.disk.begun_writes == 1);
    bench.journal->take_back(mark);
    bench.publish("also kept", {sales});
    const std::uint32_t segments = bench.journal->status().segments;
    bench.commit();
    // What lies there may look like records behind the batch: that segment is left alone.
    CHECK(bench.journal->status().segments == segments + 1);
    bench.publish(large, {billing});
    bench.commit();
    bench.reopen();
    CHECK(bench.journal->report().damages.empty());
    CHECK(bench.next(sales) == "kept again");
    CHECK(bench.next(sales) == "also kept again");
    CHECK(bench.next(sales) == "nothing");
    CHECK(bench.next(billing) == large + " again");
}

TEST_CASE("a write that was begun early and failed is no better than one that failed late") {
    for (const bool is_waited_for : {false, true}) {
        CAPTURE(is_waited_for);
        Bench bench;
        // Where its writing begins decides whether it is done at once; see SimFile.
        if (is_waited_for) {
            bench.publish("before", {billing});
            bench.commit();
        }
        const std::string large(5000, 'x');
        bench.disk.fault = {bench.disk.calls + 1, 5, false};
        bench.options.most_batch_bytes = 8 << 10;
        bench.publish(large, {sales});
        const Committed done = bench.journal->commit();
        CHECK(done.outcome == Outcome::ok);
        CHECK(done.rewritten);
        std::mt19937_64 dice(1);
        bench.disk.state = after_crash(
            bench.disk.state, [](auto, auto) { return Fate::lost; }, dice);
        bench.reopen();
        CHECK(bench.next(sales) == large + " again");
    }
}

TEST_CASE("a journal that was not closed serves with the room that is left, and makes more then") {
    Bench bench;
    CHECK(bench.journal->status().spares == 2);
    bench.publish("before", {sales});
    bench.commit();
    for (int life = 0; life < 2; ++life) {
        const std::uint64_t files = bench.disk.state.names.size();
        bench.reopen();
        // It goes on in a segment that was there.
        CHECK(bench.disk.state.names.size() == files + static_cast<std::uint64_t>(life));
        CHECK(bench.journal->status().spares == 1);
        CHECK(bench.publish("behind", {sales}).outcome == Outcome::ok);
        bench.commit();
    }
    while (bench.journal->maintain()) continue;
    CHECK(bench.journal->status().spares == 2);
}

TEST_CASE("a message that is longer than a batch is taken, also behind what a lane was read to") {
    Bench bench;
    bench.options.most_batch_bytes = 4096;
    bench.reopen();
    while (bench.journal->maintain()) continue;
    const std::string long_one(8050, 'x');
    // Blocks of the segment: its head, the first batch, these, and two that are left.
    for (int i = 0; i < 3; ++i) {
        bench.publish("small", {billing});
        bench.commit();
    }
    const std::uint32_t segments = bench.journal->status().segments;
    bench.up_to(9, 100);
    CHECK(bench.publish(long_one, {sales}).outcome == Outcome::ok);
    CHECK(bench.publish("small", {sales}).outcome == Outcome::batch_full);
    // It does not fit there: nothing is begun.
    CHECK(bench.disk.begun_writes == 0);
    bench.commit();
    CHECK(bench.journal->status().segments == segments + 1);
    bench.reopen();
    CHECK(bench.journal->report().damages.empty());
    CHECK(bench.next(sales) == long_one + " again");
    CHECK(bench.journal->consumed_of(9) == 100);
}

TEST_CASE("what was taken back may have been summed and not yet written") {
    Bench bench;
    const std::string thing(4200, 'x');
    REQUIRE(bench.journal->put({1, 1}, std::as_bytes(std::span(thing))) == Outcome::ok);
    const Journal::Mark mark = bench.journal->mark();
    bench.publish("withdrawn", {sales});
    CHECK(bench.disk.begun_writes == 1);
    bench.journal->take_back(mark);
    bench.publish("kept", {sales});
    bench.commit();
    bench.reopen();
    CHECK(bench.journal->report().damages.empty());
    CHECK(bench.next(sales) == "kept again");
}

TEST_CASE("a journal is not closed in peace behind what was begun and taken back") {
    Bench bench;
    const Journal::Mark mark = bench.journal->mark();
    bench.publish(std::string(5000, 'x'), {sales});
    bench.journal->take_back(mark);
    bench.journal->close();
    CHECK(inspect(bench.disk).damages.empty());
    bench.reopen();
    CHECK_FALSE(bench.journal->report().was_clean);
}

TEST_CASE("settling that was taken back is not settled") {
    Bench bench;
    bench.publish("one", {sales});
    bench.commit();
    std::uint64_t lsn = 0;
    bench.next(sales, &lsn);
    const Journal::Mark mark = bench.journal->mark();
    bench.settle(sales, lsn);
    CHECK(bench.journal->is_settled(sales, lsn));
    bench.journal->take_back(mark);
    CHECK_FALSE(bench.journal->is_settled(sales, lsn));
}

TEST_CASE("the daemon may hand out what it just published, unless older ones wait") {
    Bench bench;
    const std::uint64_t one = bench.publish("one", {sales}).lsn;
    bench.commit();
    CHECK(bench.journal->hand_out(sales, one));
    CHECK(bench.next(sales) == "nothing");
    bench.publish("two", {sales});
    bench.commit();
    const std::uint64_t three = bench.publish("three", {sales}).lsn;
    bench.commit();
    CHECK_FALSE(bench.journal->hand_out(sales, three));
    CHECK(bench.next(sales) == "two");
    CHECK(bench.next(sales) == "three");
}

TEST_CASE("settled out of order stays settled, and only what is missing comes again") {
    Bench bench;
    std::vector<std::uint64_t> lsns;
    for (int i = 0; i < 8; ++i) {
        lsns.push_back(bench.publish(std::to_string(i), {sales}).lsn);
        bench.publish("other", {billing});
    }
    bench.commit();
    for (int i = 0; i < 8; ++i) bench.next(sales);
    for (const int which : {7, 5, 4, 1}) bench.settle(sales, lsns[std::size_t(which)]);
    bench.commit();
    bench.reopen();
    for (const char* const left : {"0 again", "2 again", "3 again", "6 again", "nothing"})
        CHECK(bench.next(sales) == left);
}

namespace {

// Takes all that there is for sales; their LSNs.
std::vector<std::uint64_t> take_all(Bench& bench) {
    std::vector<std::uint64_t> out;
    std::uint64_t lsn = 0;
    // Ends: with what there is, or may be handed out.
    for (std::string text; (text = bench.next(sales, &lsn)) != "nothing" && text != "full";)
        out.push_back(lsn);
    return out;
}

// In as many batches as it takes; what is refused for another reason is answered.
Outcome settle_at_last(Bench& bench, std::uint64_t lsn) {
    Outcome outcome = bench.journal->settle(sales, lsn);
    if (outcome == Outcome::batch_full) {
        bench.commit();
        while (bench.journal->maintain()) continue;
        outcome = bench.journal->settle(sales, lsn);
    }
    return outcome;
}

void publish_texts(Bench& bench, std::size_t count) {
    for (std::size_t number = 0; number < count; ++number)
        while (bench.publish("text", {sales}).outcome != Outcome::ok) {
            bench.commit();
            while (bench.journal->maintain()) continue;
        }
    bench.commit();
}

Options paced_options(std::uint64_t most_batch) {
    Options options;
    options.segment_bytes = 1024 * 1024;
    options.most_batch_bytes = most_batch;
    options.slice_bytes = 64 * 1024;
    return options;
}

std::uint64_t made_segments(const Bench& bench) { return bench.disk.renamed.at("tmp-seg"); }

// Batches of so many bytes, one call of the upkeep behind each; how many messages waited.
int write_batches(Bench& bench, int batches, std::size_t bytes) {
    int waited = 0;
    for (int batch = 0; batch < batches; ++batch) {
        while (bench.publish(std::string(bytes, 'x'), {sales}).outcome != Outcome::ok) {
            ++waited;
            REQUIRE(waited < batches);
            bench.journal->maintain();
        }
        bench.commit();
        bench.journal->maintain();
    }
    return waited;
}

}  // namespace

TEST_CASE("beside small batches a segment is all zeros before it is due") {
    Bench bench(paced_options(256 * 1024));
    const std::uint64_t zeros = bench.disk.zeros;
    const std::uint64_t made = made_segments(bench);
    CHECK(zeros == made * bench.options.segment_bytes);
    CHECK(write_batches(bench, 2000, 3000) == 0);
    CHECK(made_segments(bench) - made > 5);
    CHECK(bench.disk.zeros - zeros >= (made_segments(bench) - made) * bench.options.segment_bytes);
    CHECK(bench.disk.violations.empty());
}

TEST_CASE("beside large batches no segment is written twice, and none is waited for") {
    Bench bench(paced_options(256 * 1024));
    const std::uint64_t zeros = bench.disk.zeros;
    const std::uint64_t made = made_segments(bench);
    CHECK(write_batches(bench, 60, 160'000) == 0);
    CHECK(made_segments(bench) - made > 5);
    CHECK(bench.disk.zeros == zeros);
}

TEST_CASE("a message that finds no segment to go to has one made at once") {
    Bench bench(paced_options(64 * 1024));
    while (bench.journal->status().spares > 1) CHECK(write_batches(bench, 1, 3000) == 0);
    // To where a batch of the usual length has room, and not all zeros are due.
    CHECK(write_batches(bench, 215, 3000) == 0);
    REQUIRE(bench.journal->status().spares == 1);
    const std::string longest(bench.journal->status().most_payload_bytes, 'x');
    int turns = 0;
    while (bench.publish(longest, {sales}).outcome == Outcome::no_space) {
        REQUIRE(++turns < 4);
        bench.journal->maintain();
    }
    bench.commit();
    CHECK(turns > 0);
}

TEST_CASE("one message that nobody settles does not hinder settling what is behind it") {
    Bench bench;
    publish_texts(bench, 3000);
    std::vector<std::uint64_t> out = take_all(bench);
    REQUIRE(out.size() == 3000);
    for (std::size_t at = 1; at < out.size(); ++at)
        REQUIRE(settle_at_last(bench, out[at]) == Outcome::ok);
    bench.commit();
    bench.reopen();
    CHECK(bench.journal->backlog(sales) == 1);
    CHECK(take_all(bench) == std::vector(out.begin(), out.begin() + 1));
    REQUIRE(settle_at_last(bench, out[0]) == Outcome::ok);
    bench.commit();
    CHECK(bench.journal->backlog(sales) == 0);
}

TEST_CASE("more ranges than a record can tell of are refused until what is between is settled") {
    Bench bench;
    publish_texts(bench, 3000);
    std::vector<std::uint64_t> out = take_all(bench);
    REQUIRE(out.size() == 3000);
    std::size_t refused = 0;
    // Every second one; what was refused is asked for again, as the daemon does. Once by a journal
    // that has been opened since and knows some by what it read.
    for (const bool reopens : {true, false}) {
        refused = 0;
        for (std::size_t at = 1; at < out.size(); at += 2) {
            const Outcome outcome = settle_at_last(bench, out[at]);
            REQUIRE((outcome == Outcome::ok || outcome == Outcome::too_large));
            refused += outcome == Outcome::too_large ? 1 : 0;
        }
        CHECK(refused == 1500 - 508);
        bench.commit();
        CHECK(bench.journal->backlog(sales) == 1500 + refused);
        if (!reopens) continue;
        bench.reopen();
        CHECK(take_all(bench).size() == 1500 + refused);
    }
    // From the front on, as messages come back in the end.
    for (const std::uint64_t lsn : out) REQUIRE(settle_at_last(bench, lsn) == Outcome::ok);
    bench.commit();
    bench.reopen();
    CHECK(bench.journal->report().damages.empty());
    CHECK(bench.journal->backlog(sales) == 0);
    CHECK(bench.next(sales) == "nothing");
}

TEST_CASE("too many handed out are refused until some are settled") {
    Bench bench;
    bench.options.most_handed_out = 3;
    bench.reopen();
    for (int i = 0; i < 5; ++i) bench.publish(std::to_string(i), {sales});
    bench.commit();
    std::uint64_t lsn = 0;
    bench.next(sales, &lsn);
    bench.next(sales);
    bench.next(sales);
    CHECK(bench.next(sales) == "full");
    bench.settle(sales, lsn);
    bench.commit();
    CHECK(bench.next(sales) == "3");
}

TEST_CASE("however unevenly they were settled, all that are left come, also after a restart") {
    Bench bench;
    bench.options.most_ranges = 4;
    bench.reopen();
    std::vector<std::uint64_t> lsns;
    for (int i = 0; i < 40; ++i) {
        lsns.push_back(bench.publish(std::to_string(i), {sales}).lsn);
        bench.publish("other", {billing});
    }
    bench.commit();
    for (int i = 0; i < 40; ++i) bench.next(sales);
    for (std::size_t i = 1; i < 40; i += 2) bench.settle(sales, lsns[i]);
    bench.commit();
    CHECK(bench.next(sales) == "full");
    bench.reopen();
    std::set<std::uint64_t> came;
    // Ends: when no more come, though all that came were settled.
    for (bool some = true; some;) {
        some = false;
        std::uint64_t lsn = 0;
        while (std::isdigit(bench.next(sales, &lsn).front()) != 0) {
            CHECK(came.insert(lsn).second);
            bench.settle(sales, lsn);
            some = true;
        }
        bench.commit();
    }
    CHECK(came.size() == 20);
    CHECK(bench.next(sales) == "nothing");
}

TEST_CASE("a batch that is full says so before anything is lost") {
    Bench bench;
    std::string text(3000, 'x');
    Outcome outcome = Outcome::ok;
    int taken = 0;
    for (; outcome == Outcome::ok; ++taken) outcome = bench.publish(text, {sales}).outcome;
    CHECK(outcome == Outcome::batch_full);
    bench.commit();
    CHECK(bench.journal->backlog(sales) == std::uint64_t(taken - 1));
    CHECK(bench.publish(std::string(9000, 'y'), {sales}).outcome == Outcome::too_large);
}

TEST_CASE("a lane of which a batch tells has its place in it however full the batch is") {
    std::uint64_t refused = 0;
    // Each length leaves other bytes free at the batch's end.
    for (std::size_t length = 8; length <= 4096; length += 40) {
        Bench bench;
        const std::string text(length, 'x');
        bench.up_to(77, 0);
        std::uint64_t taken = 0;
        // Ends: with a full batch.
        while (bench.publish(text, {sales}).outcome == Outcome::ok) ++taken;
        refused += bench.journal->up_to(78, 1) == Outcome::batch_full ? 1 : 0;
        bench.up_to(77, taken);
        bench.commit();
        bench.reopen();
        CHECK(bench.journal->backlog(sales) == taken);
        CHECK(bench.journal->consumed_of(77) == taken);
    }
    CHECK(refused > 0);  // or nothing was shown
}

// A daemon tells of each lane as often as it looks, and a thousand senders are not many.
TEST_CASE("telling how far a lane was read takes no longer with many others in the batch") {
    // Of this thread's time, so that others on its core do not count.
    const auto microseconds_for = [](std::uint64_t lanes) {
        Bench bench;
        timespec begin{};
        timespec end{};
        REQUIRE(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin) == 0);
        std::uint64_t told = 0;
        for (std::uint64_t look = 1; look <= 4; ++look)
            for (std::uint64_t lane = 1; lane <= lanes; ++lane)
                told += bench.journal->up_to(lane, look) == Outcome::ok ? 1 : 0;
        REQUIRE(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end) == 0);
        REQUIRE(told == 4 * lanes);
        return 1e6 * static_cast<double>(end.tv_sec - begin.tv_sec) +
               1e-3 * static_cast<double>(end.tv_nsec - begin.tv_nsec);
    };
    // Ten times as many: ten times as long, and a hundred times where each looks at all.
    double least = 1e9;
    for (int round = 0; round < 5; ++round)
        least = std::min(least, microseconds_for(1000) / microseconds_for(100));
    MESSAGE("so many times as long: ", least);
    CHECK(least < 30);
}

TEST_CASE("what a batch tells of a lane is what it told before, when the rest is taken back") {
    Bench bench;
    bench.up_to(9, 100);
    bench.commit();
    const Journal::Mark none = bench.journal->mark();
    bench.up_to(9, 110);
    bench.up_to(7, 5);
    const Journal::Mark one = bench.journal->mark();
    bench.up_to(9, 120);
    bench.up_to(9, 130);
    bench.up_to(8, 0);
    CHECK(bench.journal->consumed_of(9) == 130);
    bench.journal->take_back(one);
    CHECK(bench.journal->consumed_of(9) == 110);
    CHECK(bench.journal->consumed_of(7) == 5);
    bench.journal->take_back(none);
    CHECK(bench.journal->consumed_of(9) == 100);
    CHECK(bench.journal->consumed_of(7) == 0);
    // Nothing of it is left: lower than what was told and taken back is news.
    bench.up_to(9, 105);
    // And lower than what the journal knows is none.
    bench.up_to(9, 90);
    bench.commit();
    bench.reopen();
    CHECK(bench.journal->consumed_of(9) == 105);
}

namespace {

// What it said is known by a checkpoint alone then.
// Where a message stands in the first segment.
std::uint64_t place_of(Bench& bench, const std::string& wanted) {
    const std::vector<std::byte> file = bench.disk.state.content(numbered_name("seg-", 1));
    const auto found =
        std::search(file.begin(), file.end(), wanted.begin(), wanted.end(),
                    [](std::byte a, char b) { return std::to_integer<char>(a) == b; });
    return static_cast<std::uint64_t>(found - file.begin());
}

void let_go_of_the_first_segment(Bench& bench) {
    const std::string text(2000, 'x');
    for (int i = 0; i < 200; ++i) {
        bench.publish(text, {sales});
        bench.commit();
        std::uint64_t lsn = 0;
        while (bench.next(sales, &lsn) != "nothing") bench.settle(sales, lsn);
        bench.commit();
        bench.journal->maintain();
    }
    bench.rest();
    CHECK(bench.disk.state.names.count(numbered_name("seg-", 1)) == 0);
}

}  // namespace

TEST_CASE("a lane's position and a kept id survive restart, checkpoints and removal") {
    Bench bench;
    bench.up_to(77, 4000);
    bench.publish("kept", {sales}, MessageId{5, 6}, true);
    REQUIRE(bench.journal->put({3, 1}, std::as_bytes(std::span("route"))) == Outcome::ok);
    bench.commit();
    let_go_of_the_first_segment(bench);
    bench.reopen();
    CHECK(bench.journal->consumed_of(77) == 4000);
    CHECK(bench.journal->was_seen({5, 6}));
    CHECK(bench.journal->ledger().items.count({3, 1}) == 1);
    // For 24 hours, and not for ever.
    bench.uptime += 86'000;
    bench.publish("later", {sales});
    bench.commit();
    CHECK(bench.journal->was_seen({5, 6}));
    bench.uptime += 500;
    bench.publish("much later", {sales});
    bench.commit();
    CHECK_FALSE(bench.journal->was_seen({5, 6}));
}

TEST_CASE("a kept id that comes after a quiet day is known from then on, also after a restart") {
    Bench bench;
    bench.publish("before", {sales}, MessageId{5, 1}, true);
    bench.commit();
    bench.uptime += 200'000;
    bench.publish("kept", {sales}, MessageId{5, 2}, true);
    bench.publish("kept as well", {sales}, MessageId{5, 3}, true);
    bench.commit();
    const auto knows = [&](std::uint64_t low) { return bench.journal->was_seen({5, low}); };
    CHECK_FALSE(knows(1));
    CHECK(knows(2));
    CHECK(knows(3));
    bench.reopen();
    CHECK(knows(2));
    CHECK(knows(3));
    let_go_of_the_first_segment(bench);
    bench.reopen();
    bench.uptime += 86'300;
    bench.publish("later", {sales});
    bench.commit();
    CHECK(knows(2));
    bench.uptime += 200;
    bench.publish("much later", {sales});
    bench.commit();
    CHECK_FALSE(knows(2));
    CHECK_FALSE(knows(3));
}

TEST_CASE("ids and lanes stay known when the system's clock steps, and while nobody has it open") {
    Bench bench;
    bench.up_to(77, 4000);
    bench.publish("kept", {sales}, MessageId{5, 1}, true);
    REQUIRE(bench.journal->lane_gone(77) == Outcome::ok);
    bench.commit();
    SUBCASE("forward") { bench.now += 200'000; }
    SUBCASE("back") { bench.now -= 1'000'000'000; }
    SUBCASE("forward, and the machine boots") {
        bench.now += 200'000;
        bench.uptime = 3;
        bench.reopen();
    }
    SUBCASE("nobody has it open for two days") {
        bench.now += 200'000;
        bench.uptime += 200'000;
        bench.reopen();
    }
    let_go_of_the_first_segment(bench);
    CHECK(bench.journal->was_seen({5, 1}));
    CHECK(bench.journal->ledger().lanes.count(77) == 1);
    bench.uptime += 86'500;
    bench.publish("much later", {sales});
    bench.commit();
    CHECK_FALSE(bench.journal->was_seen({5, 1}));
}

TEST_CASE("a lane that goes after a quiet day is remembered from then on, also after a restart") {
    Bench bench;
    bench.up_to(77, 4000);
    bench.commit();
    bench.uptime += 200'000;
    REQUIRE(bench.journal->lane_gone(77) == Outcome::ok);
    bench.commit();
    const auto is_known = [&] { return bench.journal->ledger().lanes.count(77) == 1; };
    SUBCASE("as it was written") {}
    SUBCASE("as it was read again") { bench.reopen(); }
    let_go_of_the_first_segment(bench);
    CHECK(is_known());
    bench.reopen();
    CHECK(is_known());
    // For 24 hours, and not for ever.
    bench.uptime += 86'500;
    let_go_of_the_first_segment(bench);
    CHECK_FALSE(is_known());
}

TEST_CASE("ids beyond the bound push the oldest out, and that is counted") {
    Bench bench;
    bench.options.ledger.most_ids = 100;
    bench.reopen();
    for (std::uint64_t i = 1; i <= 150; ++i) {
        bench.publish("x", {sales}, MessageId{1, i}, true);
        if (i % 50 == 0) bench.commit();
    }
    CHECK_FALSE(bench.journal->was_seen({1, 50}));
    for (std::uint64_t i = 51; i <= 150; ++i) CHECK(bench.journal->was_seen({1, i}));
    CHECK(bench.journal->status().ids_pushed_out == 50);
}

TEST_CASE("what is settled gives its room back: twice the live bytes and three segments") {
    Bench bench;
    const std::string text(700, 'x');
    std::uint64_t lsn = 0;
    // Every tenth message is for somebody who never comes, so no segment is wholly settled.
    for (int i = 0; i < 1500; ++i) {
        const bool stays = i % 10 == 0;
        bench.publish(text, {stays ? billing : sales});
        if (i % 5 == 4) bench.commit();
        if (i % 5 != 4) continue;
        while (bench.next(sales, &lsn) != "nothing") bench.settle(sales, lsn);
        bench.commit();
        bench.journal->maintain();
    }
    bench.rest();
    const Status status = bench.journal->status();
    CHECK(status.live_bytes >= 150 * 700);
    INFO("live ", status.live_bytes, ", all ", status.journal_bytes, " in ", status.segments);
    // A quarter of a block for each file's head and filling is all that comes on top.
    CHECK(status.journal_bytes <=
          2 * status.live_bytes + 3 * 32'768 + status.segments * 16'384);
    bench.reopen();
    int left = 0;
    while (bench.next(billing) != "nothing") ++left;
    CHECK(left == 150);
    CHECK(inspect(bench.disk).damages.empty());
}

TEST_CASE("on a full disk publishing is refused, settling works, and room makes it go on") {
    Bench bench;
    bench.disk.capacity_bytes = 12 * 32'768;
    const std::string text(2500, 'x');
    int published = 0;
    Outcome outcome = Outcome::ok;
    for (; published < 1000; ++published) {
        outcome = bench.publish(text, {sales}).outcome;
        if (outcome != Outcome::ok) break;
        bench.commit();
        bench.journal->maintain();
    }
    CHECK(outcome == Outcome::no_space);
    CHECK(published > 30);
    CHECK(bench.journal->status().trouble.find("No space") != std::string::npos);
    // All that settles is written down, two by two; and it makes room.
    std::uint64_t lsn = 0;
    int settled = 0;
    while (bench.next(sales, &lsn) != "nothing") {
        bench.settle(sales, lsn);
        if (++settled % 2 != 0) continue;
        bench.commit();
        for (int turn = 0; turn < 5; ++turn) bench.journal->maintain();
    }
    bench.commit();
    CHECK(settled == published);
    bench.rest();
    CHECK(bench.publish(text, {sales}).outcome == Outcome::ok);
    bench.commit();
    bench.reopen();
    CHECK(bench.journal->backlog(sales) == 1);
}

TEST_CASE("after a failed sync the segment is left alone and the batch stands in a fresh one") {
    Bench bench;
    bench.publish("before", {sales});
    bench.commit();
    bench.publish("in doubt", {sales});
    // The write is the next call, the sync the one after it.
    bench.disk.fault = {bench.disk.calls + 2, 5, false};
    const Committed done = bench.journal->commit();
    CHECK(done.outcome == Outcome::ok);
    CHECK(done.rewritten);
    bench.publish("after", {sales});
    bench.commit();
    // What the failed sync left in the cache is not what is on disk.
    std::mt19937_64 dice(1);
    bench.disk.state = after_crash(
        bench.disk.state, [](auto, auto) { return Fate::lost; }, dice);
    bench.reopen();
    CHECK(bench.journal->report().damages.empty());
    for (const char* const text : {"before again", "in doubt again", "after again", "nothing"})
        CHECK(bench.next(sales) == text);
}

TEST_CASE("when the fresh segment fails as well nothing more is acknowledged") {
    Bench bench;
    bench.publish("in doubt", {sales});
    bench.disk.fault = {bench.disk.calls + 2, 5, true};
    const Committed done = bench.journal->commit();
    CHECK(done.outcome == Outcome::stopped);
    CHECK(done.why.find("Input/output error") != std::string::npos);
    bench.disk.fault = {};
    CHECK(bench.publish("more", {sales}).outcome == Outcome::stopped);
    CHECK(bench.journal->commit().outcome == Outcome::stopped);
    bench.reopen();
    CHECK(bench.journal->why_stopped().empty());
}

TEST_CASE("the messages of an audience are numbered one by one, also behind what was taken back") {
    Bench bench;
    for (int batch = 0; batch < 2; ++batch) {
        bench.publish("one", {sales});
        bench.publish("two", {sales});
        const Journal::Mark mark = bench.journal->mark();
        bench.publish("withdrawn", {sales});
        bench.publish("withdrawn", {billing});
        bench.journal->take_back(mark);
        bench.publish("three", {billing});
        bench.publish("four", {sales});
        bench.commit();
    }
    std::map<std::uint32_t, std::vector<std::uint32_t>> numbers;
    static_cast<void>(inspect(bench.disk, [&](auto, auto, const RecordHead& head, auto) {
        if (head.kind == Kind::publish) numbers[head.number].push_back(head.sequence);
    }));
    REQUIRE(numbers.size() == 2);
    CHECK(numbers.begin()->second == std::vector<std::uint32_t>{1, 2, 3, 4, 5, 6});
    CHECK(numbers.rbegin()->second == std::vector<std::uint32_t>{1, 2});
}

TEST_CASE("damage stops the service, is named exactly, and is gone around once accepted") {
    Bench bench;
    std::vector<std::uint64_t> lsns;
    for (int i = 0; i < 6; ++i) {
        lsns.push_back(
            bench.publish("message " + std::to_string(i), {i == 3 ? billing : sales}).lsn);
        bench.commit();
    }
    bench.publish("last of billing", {billing});
    bench.commit();
    bench.journal->close();
    // A bit of the fourth message's head.
    const std::uint64_t offset = place_of(bench, "message 3") - 48;
    bench.disk.state.flip_bit(numbered_name("seg-", 1), (offset + 16) * 8);
    bench.settle_disk();
    const DiskState before = bench.disk.state;
    bench.reopen();
    REQUIRE(bench.journal->report().stops_service());
    const Damage& damage = bench.journal->report().damages.at(0);
    CHECK(damage.file == numbered_name("seg-", 1));
    CHECK(damage.offset == offset);
    CHECK(damage.lsns == Range{lsns[3], lsns[3]});
    CHECK(damage.endpoints == std::vector<std::uint64_t>{billing});
    CHECK(bench.publish("x", {sales}).outcome == Outcome::stopped);
    CHECK(bench.next(sales) == "nothing");
    // Looking and refusing has changed nothing.
    CHECK(bench.disk.state.hash() == before.hash());
    bench.options.accepted_losses.add(damage.lsns);
    bench.reopen();
    CHECK(bench.journal->why_stopped() == "");
    bench.options.accepted_losses.clear();
    bench.reopen();
    for (const char* const text : {"message 0 again", "message 1 again", "message 2 again",
                                   "message 4 again", "message 5 again", "nothing"})
        CHECK(bench.next(sales) == text);
    CHECK(bench.next(billing) == "last of billing again");
}

TEST_CASE("what is whole in a damaged batch has come when the batch did") {
    Bench bench;
    bench.publish("before", {sales});
    bench.commit();
    bench.uptime += 200'000;
    bench.publish("whole", {sales}, MessageId{5, 1}, true);
    bench.publish("damaged", {sales}, MessageId{5, 2}, true);
    bench.commit();
    bench.journal->close();
    bench.disk.state.flip_bit(numbered_name("seg-", 1), place_of(bench, "damaged") * 8);
    bench.settle_disk();
    bench.reopen();
    bench.options.accepted_losses.add(bench.journal->report().damages.at(0).lsns);
    bench.reopen();
    bench.publish("later", {sales});
    bench.commit();
    CHECK(bench.journal->was_seen({5, 1}));
    CHECK_FALSE(bench.journal->was_seen({5, 2}));
}

TEST_CASE("what is known when a loss is accepted is doubted, and what comes later is not") {
    Bench bench;
    bench.publish("kept", {sales}, MessageId{5, 6}, true);
    REQUIRE(bench.journal->up_to(77, 4000) == Outcome::ok);
    bench.commit();
    const std::uint64_t lost = bench.publish("lost", {sales}, MessageId{5, 7}, true).lsn;
    bench.commit();
    CHECK_FALSE(bench.journal->is_doubted({5, 6}));
    CHECK_FALSE(bench.journal->is_doubted_lane(77));
    bench.options.accepted_losses.add({lost, lost});
    bench.reopen();
    bench.options.accepted_losses.clear();
    for (int life = 0; life < 3; ++life) {
        CHECK(bench.journal->is_doubted({5, 6}));
        CHECK(bench.journal->is_doubted({5, 7}));
        CHECK(bench.journal->is_doubted_lane(77));
        const std::uint64_t later = 100 + static_cast<std::uint64_t>(life);
        bench.publish("later", {sales}, MessageId{5, later}, true);
        REQUIRE(bench.journal->up_to(later, 1) == Outcome::ok);
        bench.commit();
        CHECK(bench.journal->was_seen({5, later}));
        CHECK_FALSE(bench.journal->is_doubted({5, later}));
        CHECK_FALSE(bench.journal->is_doubted({6, later}));
        CHECK_FALSE(bench.journal->is_doubted_lane(later));
        CHECK_FALSE(bench.journal->is_doubted_lane(78));
        if (life == 1) let_go_of_the_first_segment(bench);
        bench.reopen();
        CHECK_FALSE(bench.journal->is_doubted({5, later}));
        CHECK_FALSE(bench.journal->is_doubted_lane(later));
    }
}

TEST_CASE("the last synced batch is known to be missing when the superblock has seen it") {
    Bench bench;
    bench.publish("first", {sales});
    bench.commit();
    const std::uint64_t lsn = bench.publish("last", {sales}).lsn;
    bench.commit();
    bench.rest();  // as after a second of idleness
    bench.settle_disk();
    // Lost as by a disk that lied: the last batch's block is zeros again.
    const std::string name = numbered_name("seg-", 1);
    std::vector<std::byte> file = bench.disk.state.content(name);
    std::uint64_t end = file.size() - block_bytes;
    while (all_zero(std::span(file).subspan(end - block_bytes, block_bytes)))
        end -= block_bytes;
    std::fill_n(file.begin() + static_cast<std::ptrdiff_t>(end - block_bytes), block_bytes,
                std::byte{});
    bench.disk.state.set_content(name, file);
    bench.reopen();
    REQUIRE(bench.journal->report().stops_service());
    CHECK(bench.journal->report().damages.at(0).lsns == Range{lsn, lsn});
    bench.options.accepted_losses.add({lsn, lsn});
    for (int life = 0; life < 3; ++life) {
        bench.reopen();
        REQUIRE(bench.journal->why_stopped() == "");
        bench.options.accepted_losses.clear();
        CHECK(bench.next(sales) == "first again");
        // The lost number is not given again.
        CHECK(bench.publish("new", {billing}).lsn > lsn);
        bench.commit();
        if (life == 1) bench.journal->close();
    }
    for (int i = 0; i < 3; ++i) CHECK(bench.next(billing).starts_with("new"));
    CHECK_FALSE(inspect(bench.disk).damages.empty());
}

TEST_CASE("a missing, a swapped and a foreign segment are holes, not an end") {
    Bench bench;
    const std::string text(2500, 'x');
    for (int i = 0; i < 60; ++i) {
        bench.publish(text, {sales});
        bench.commit();
        bench.journal->maintain();
    }
    bench.journal->close();
    const DiskState good = bench.disk.state;
    const auto damage_of = [&](const auto& change) {
        bench.disk.state = good;
        change(bench.disk.state);
        bench.reopen();
        return bench.journal->report().stops_service();
    };
    const std::string second = numbered_name("seg-", 2);
    const std::string third = numbered_name("seg-", 3);
    const auto drop = [](DiskState& state, const std::string& name) {
        state.names.erase(name);
        state.durable_names.erase(name);
    };
    bench.options.checkpoint_bytes = UINT64_MAX;
    for (const auto& [name, number] : good.names)
        if (name.starts_with("seg-"))
            CHECK(damage_of([&, gone = name](DiskState& state) {
                drop(state, gone);
                for (const auto& [other, inode] : good.names)
                    if (other.starts_with("ckpt-")) drop(state, other);
            }));
    CHECK(damage_of([&](DiskState& state) {
        for (const auto& [other, inode] : good.names)
            if (other.starts_with("ckpt-")) drop(state, other);
        std::swap(state.names[second], state.names[third]);
        std::swap(state.durable_names[second], state.durable_names[third]);
    }));
    CHECK_FALSE(damage_of([](DiskState&) {}));
}

TEST_CASE("one good checkpoint of two is enough") {
    Bench bench;
    const std::string text(2500, 'x');
    for (int i = 0; i < 100; ++i) {
        bench.publish(text, {sales});
        bench.commit();
        bench.journal->maintain();
    }
    bench.journal->close();
    std::vector<std::string> checkpoints;
    for (const auto& [name, number] : bench.disk.state.names)
        if (name.starts_with("ckpt-")) checkpoints.push_back(name);
    REQUIRE(checkpoints.size() == 2);
    bench.disk.state.flip_bit(checkpoints[1], 1000);
    bench.reopen();
    CHECK(bench.journal->why_stopped() == "");
    CHECK(bench.journal->report().damages.size() == 1);
    CHECK(bench.journal->backlog(sales) == 100);
}

TEST_CASE("either checkpoint may rot at any time, whatever was removed and merged meanwhile") {
    std::uint64_t rotten = 0;
    for (std::uint64_t seed = 1; seed <= 16; ++seed) {
        Rig rig(seed);
        for (int step = 0; step < 260; ++step) {
            // Idle journals write both checkpoints at one place, busy ones far apart.
            const bool is_busy = seed % 2 == 0;
            rig.step({14, 20, 3, 2, 0, 8, is_busy ? 12 : 3, is_busy ? 0 : 5, 0, 1, 0, true});
            if (step % 5 != 0 || !rig.journal) continue;
            std::vector<std::string> names;
            for (const auto& [name, number] : rig.disk.state.names)
                if (name.starts_with("ckpt-")) names.push_back(name);
            if (names.size() < 2) continue;
            for (const std::string& name : names) {
                Rig after(seed, rig.options_of_disk());
                after.allowed = rig.allowed;
                after.disk.state = rig.disk.state;
                after.disk.state.flip_bit(name, 900);
                INFO("seed ", seed, ", step ", step, ", ", name);
                REQUIRE(after.open());
                REQUIRE(after.check() == "");
                ++rotten;
            }
        }
    }
    MESSAGE("rotten checkpoints: ", rotten);
    CHECK(rotten > 200);
}

TEST_CASE("what the older checkpoint needs to go on from is not merged away") {
    Bench bench;
    bench.options.checkpoint_bytes = 70 * 1024;
    bench.reopen();
    const std::string text(2500, 'x');
    std::uint64_t looked = 0;
    for (std::uint64_t i = 0; i < 300; ++i) {
        if (i % 40 == 0) bench.publish("stays", {billing});
        bench.publish(text, {sales});
        REQUIRE(bench.journal->put({1, i % 50}, bytes_of(i)) == Outcome::ok);
        bench.commit();
        std::uint64_t lsn = 0;
        while (bench.next(sales, &lsn) != "nothing") bench.settle(sales, lsn);
        bench.commit();
        for (int turn = 0; turn < 50 && bench.journal->maintain();) ++turn;
        std::string newest;
        for (const auto& [name, number] : bench.disk.state.names)
            if (name.starts_with("ckpt-")) newest = name;
        if (newest.empty() || i % 3 != 0) continue;
        SimDisk disk(bench.disk.state);
        disk.state.flip_bit(newest, 700);
        Journal journal(disk, bench.options);
        REQUIRE(journal.why_stopped() == "");
        REQUIRE(journal.ledger().items == bench.journal->ledger().items);
        REQUIRE(journal.backlog(billing) == bench.journal->backlog(billing));
        REQUIRE(journal.backlog(sales) == 0);
        ++looked;
    }
    CHECK(looked > 50);
    CHECK(bench.disk.renamed["tmp-merge"] > 5);
}

TEST_CASE("damage before later batches is no torn tail, also when the superblock is old") {
    Bench bench;
    std::vector<std::uint64_t> lsns;
    for (int i = 0; i < 5; ++i) {
        lsns.push_back(bench.publish("message " + std::to_string(i), {sales}).lsn);
        bench.commit();
    }
    const std::string name = numbered_name("seg-", 1);
    const std::vector<std::byte> file = bench.disk.state.content(name);
    for (const std::string wanted : {"message 2", "message 4"}) {
        const auto found = std::search(
            file.begin(), file.end(), wanted.begin(), wanted.end(),
            [](std::byte a, char b) { return std::to_integer<char>(a) == b; });
        SimDisk disk(bench.disk.state);
        disk.state.flip_bit(name, static_cast<std::uint64_t>(found - file.begin()) * 8);
        Journal journal(disk, bench.options);
        // Nothing says that the last batch was ever synced; for any other one the next one does.
        const bool is_last = wanted == "message 4";
        CHECK(journal.report().stops_service() == !is_last);
        CHECK((journal.report().torn_bytes > 0) == is_last);
        if (!is_last) CHECK(journal.report().damages.at(0).lsns == Range{lsns[2], lsns[2]});
    }
}

TEST_CASE("a second journal on the same directory is refused, another version left alone") {
    Bench bench;
    SimDisk other(bench.disk.state);
    other.locked_by_other = true;
    CHECK_THROWS_WITH_AS(Journal(other, bench.options), doctest::Contains("another daemon"),
                         SetupError);
    // Nobody has it: the disk does not take the lock.
    SimDisk read_only(bench.disk.state);
    read_only.fault = {.call = 1, .error = EROFS, .for_ever = true};
    CHECK_THROWS_WITH_AS(Journal(read_only, bench.options), doctest::Contains("writable"),
                         SetupError);
    bench.journal->close();
    auto block = bench.disk.state.content("superblock");
    for (const std::uint64_t slot : {0U, 1U}) {
        const std::uint32_t newer = 2;
        const auto at = static_cast<std::ptrdiff_t>(slot * block_bytes);
        std::memcpy(block.data() + at + 8, &newer, 4);
        const Block sealed =
            sealed_block(std::span(block).subspan(slot * block_bytes, block_bytes - 4), slot);
        std::copy(sealed.begin(), sealed.end(), block.begin() + at);
    }
    bench.disk.state.set_content("superblock", block);
    bench.journal.reset();
    bench.settle_disk();
    const std::uint64_t before = bench.disk.state.hash();
    CHECK_THROWS_WITH_AS(bench.reopen(), doctest::Contains("version 2"), SetupError);
    CHECK(bench.disk.state.hash() == before);
}
}
