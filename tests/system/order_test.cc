// Order, and time: who comes first, who comes last, who has gone meanwhile.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <map>
#include <vector>

#include "system/stage.h"

using namespace system_tests;

namespace {

constexpr std::uint64_t many = 20'000;

// Handles until `all` Jobs were handled by everybody together; checks that each sender's come in
// order here. Words: 0 handled by all, 1 out of order, 2 ready.
int compete(const Stage& stage, std::uint64_t all) {
    Bus bus = stage.join();
    Endpoint endpoint = bus.endpoint("jobs");
    std::map<std::uint64_t, std::uint64_t> last;
    endpoint.on<Job>([&](const Job& job) {
        std::uint64_t& before = last[job.sender];
        if (job.number <= before) stage.words->add(1);
        before = job.number;
        stage.words->add(0);
    });
    stage.words->add(2);
    handle_jobs(endpoint, [&] { return stage.words->get(0) >= all; });
    return 0;
}

int send_many(const Stage& stage, std::uint64_t sender) {
    Bus bus = stage.join();
    for (std::uint64_t number = 1; number <= many; ++number) send(bus, sender, number);
    return 0;
}

TEST_SUITE("system") {

TEST_CASE("each of two competing consumers takes two senders' messages in their order") {
    const Stage stage;
    Child first([&] { return compete(stage, 2 * many); });
    Child second([&] { return compete(stage, 2 * many); });
    REQUIRE(stage.words->comes(2, 2));
    Child one([&] { return send_many(stage, 1); });
    Child other([&] { return send_many(stage, 2); });
    CHECK(ends_well(one));
    CHECK(ends_well(other));
    CHECK(ends_well(first));
    CHECK(ends_well(second));
    CHECK(stage.words->get(0) == 2 * many);
    CHECK(stage.words->get(1) == 0);
}

TEST_CASE("what was sent to a declared endpoint waits for its first process, sender long gone") {
    const Stage stage;
    Child sender([&] {
        Bus bus = stage.join();
        bus.declare_endpoint<Job>("jobs");
        for (std::uint64_t number = 1; number <= 100; ++number) send(bus, 1, number);
        return 0;
    });
    REQUIRE(ends_well(sender));
    Bus bus = stage.join();
    Endpoint endpoint = bus.endpoint("jobs");
    std::vector<std::uint64_t> seen;
    endpoint.on<Job>([&](const Job& job, Context& context) {
        seen.push_back(job.number);
        CHECK_FALSE(context.redelivered());
    });
    REQUIRE(eventually([&] { return endpoint.poll() == 0 && seen.size() >= 100; }));
    REQUIRE(seen.size() == 100);
    for (std::uint64_t number = 1; number <= 100; ++number) CHECK(seen[number - 1] == number);
}

TEST_CASE("after every process and the daemon were killed a new process handles everything") {
    Stage stage;
    // Words: 3 sent, 4 in the handler.
    Child receiver([&] {
        Bus bus = stage.join();
        Endpoint endpoint = bus.endpoint("jobs");
        endpoint.on<Job>([&](const Job& job) {
            if (job.number < 10) return;
            stage.words->set(4, 1);
            shmbus::test::stay();
        });
        stage.words->set(2, 1);
        handle_jobs(endpoint, [] { return false; });
        return 0;
    });
    REQUIRE(stage.words->comes(2, 1));
    Child sender([&]() -> int {
        Bus bus = stage.join();
        for (std::uint64_t number = 1; number <= 100; ++number) send(bus, 1, number);
        stage.words->set(3, 1);
        shmbus::test::stay();
    });
    REQUIRE(stage.words->comes(3, 1));
    REQUIRE(stage.words->comes(4, 1));
    stage.daemon.process().kill();
    receiver.kill_now();
    sender.kill_now();
    stage.daemon.kill_and_restart();
    Bus bus = stage.join();
    Endpoint endpoint = bus.endpoint("jobs");
    std::map<std::uint64_t, int> seen;
    bool tenth_is_marked = false;
    endpoint.on<Job>([&](const Job& job, Context& context) {
        ++seen[job.number];
        if (job.number == 10) tenth_is_marked = context.redelivered();
    });
    CHECK(eventually([&] {
        endpoint.poll();
        return seen.size() >= 91 && seen.contains(100);
    }));
    CHECK(tenth_is_marked);
    for (std::uint64_t number = 10; number <= 100; ++number) CHECK(seen[number] == 1);
    CHECK(eventually([&] { return endpoint.poll() == 0; }));
}

// Words: 0 published last, 1 stop, 2 publishing.
int publish_at_full_rate(const Stage& stage) {
    Bus bus = stage.join();
    for (std::uint64_t number = 1; stage.words->get(1) == 0; ++number) {
        if (!bus.publish(News{number})) return 1;
        stage.words->set(0, number);
    }
    return 0;
}

TEST_CASE("from the return of subscribe on no event of a busy publisher is missing") {
    const Stage stage;
    Child publisher([&] { return publish_at_full_rate(stage); });
    REQUIRE(stage.words->comes(0, 1000));
    Bus bus = stage.join();
    shmbus::EndpointOptions options;
    options.subscribe_automatically = false;
    Endpoint endpoint = bus.endpoint("readers", options);
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::uint64_t gaps = 0;
    endpoint.on<News>([&](const News& news) {
        if (first == 0) first = news.number;
        else if (news.number != last + 1) ++gaps;
        last = news.number;
    });
    endpoint.subscribe<News>();
    // What is published from here on is ours: the one under way may be, the next one must be.
    const std::uint64_t begun_by_now = stage.words->get(0) + 1;
    REQUIRE(eventually([&] { return endpoint.poll() + 1 > 0 && last >= begun_by_now + 5000; }));
    CHECK(first <= begun_by_now + 1);
    CHECK(gaps == 0);

    SUBCASE("and after unsubscribe none comes") {
        endpoint.unsubscribe<News>();
        // A publish under way may wait for room, and what is on its way is dropped.
        const auto goes_on = [&] {
            const std::uint64_t wanted = stage.words->get(0) + 1000;
            return eventually([&] {
                return endpoint.poll() + 1 > 0 && stage.words->get(0) > wanted;
            });
        };
        REQUIRE(goes_on());
        const std::uint64_t before = last;
        REQUIRE(goes_on());
        CHECK(last == before);
    }
    stage.words->set(1, 1);
    REQUIRE(eventually([&] {
        while (endpoint.poll() != 0) {
        }
        return ::waitpid(publisher.pid(), nullptr, WNOHANG) != 0;
    }));
}

TEST_CASE("a subscription outlives its process and the daemon") {
    Stage stage;
    Child subscriber([&]() -> int {
        Bus bus = stage.join();
        Endpoint endpoint = bus.endpoint("readers");
        endpoint.on<News>([](const News&) {});
        stage.words->set(2, 1);
        shmbus::test::stay();
    });
    REQUIRE(stage.words->comes(2, 1));
    subscriber.kill_now();
    stage.daemon.kill_and_restart();
    REQUIRE_MESSAGE(stage.daemon.trouble().empty(), stage.daemon.trouble());
    Bus bus = stage.join();
    for (std::uint64_t number = 1; number <= 10; ++number) {
        const auto published = bus.publish(News{number});
        REQUIRE(published);
        CHECK(published->subscribers == 1);
    }
    Endpoint endpoint = bus.endpoint("readers");
    std::vector<std::uint64_t> seen;
    endpoint.on<News>([&](const News& news) { seen.push_back(news.number); });
    CHECK(eventually([&] { return endpoint.poll() + 1 > 0 && seen.size() >= 10; }));
    CHECK(seen == std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
}
}

}  // namespace
