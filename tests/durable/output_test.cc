// A message that was handled is not settled on disk before what its handler sent is: a power cut
// between the two would take both.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <deque>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/mman.h>

#include "flaky_storage.h"
#include "served_bus.h"
#include "shortage.h"
#include "worker.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Context;
using shmbus::Endpoint;
using shmbus::Receipt;

namespace {

struct Next {
    static constexpr auto message = shmbus::command("test.next", shmbus::durable);
    std::uint64_t number = 0;
};

// Fails each Work, or sends it on as Next.
struct Stage {
    explicit Stage(Bus& bus, bool fails, std::uint64_t from = 1)
        : endpoint(bus.endpoint("worker", options())) {
        endpoint.on<Work>([this, fails, from](const Work& work, Context& context) {
            if (work.number < from) return;
            ++handled;
            if (fails) throw std::runtime_error("not this one");
            context.send(Next{work.number}).value();
        });
    }
    static shmbus::EndpointOptions options() {
        shmbus::EndpointOptions options;
        options.attempts_when_throwing = 1;
        return options;
    }
    Endpoint endpoint;
    std::uint64_t handled = 0;
};

// Holds the daemon behind a reading, and kills it behind a commit. Shared with it.
class Held {
public:
    Held() {
        void* const memory = ::mmap(nullptr, sizeof(Words), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        words_ = new (memory) Words;
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() { ::munmap(words_, sizeof(Words)); }

    void hold() { words_->state = State::asked; }
    [[nodiscard]] bool is_held() const { return words_->state == State::held; }
    // It dies behind so many commits.
    void let_go_for(int commits) {
        words_->commits = commits;
        words_->state = State::free;
    }
    void at_step(const char* name) const {
        if (std::strcmp(name, "committed") == 0 && words_->commits > 0 && --words_->commits == 0)
            ::raise(SIGKILL);
        if (std::strcmp(name, "collected") != 0 || words_->state != State::asked) return;
        words_->state = State::held;
        // Ends: the test lets it go on, or kills it.
        while (words_->state == State::held) std::this_thread::sleep_for(100us);
    }

private:
    enum class State : int { free, asked, held };
    struct Words {
        std::atomic<State> state{State::free};
        std::atomic<int> commits{0};
    };
    Words* words_ = nullptr;
};

// The numbers that are there behind a reboot.
struct Left {
    std::set<std::uint64_t> not_handled;
    std::set<std::uint64_t> come_of_it;  // failed, or sent on
    std::uint64_t texts = 0;             // not handled
    [[nodiscard]] std::set<std::uint64_t> all() const {
        std::set<std::uint64_t> both = not_handled;
        both.insert(come_of_it.begin(), come_of_it.end());
        return both;
    }
};
[[nodiscard]] Left all_that_is_left(ServedBus& served, std::uint64_t least) {
    Left found;
    Bus bus = served.open();
    Endpoint worker = bus.endpoint("worker");
    worker.on<Work>([&](const Work& work) { found.not_handled.insert(work.number); });
    Endpoint next = bus.endpoint("next");
    next.on<Next>([&](const Next& work) { found.come_of_it.insert(work.number); });
    Endpoint errors = bus.endpoint("error");
    errors.on_any([&](std::span<const std::byte> payload, Context&) {
        std::uint64_t number = 0;
        std::memcpy(&number, payload.data(), sizeof(number));
        found.come_of_it.insert(number);
    });
    Endpoint other = bus.endpoint("other");
    other.on<Text>([&](const Text&) { ++found.texts; });
    const auto enough = [&] {
        for (Endpoint* const one : {&worker, &next, &errors, &other}) one->poll();
        return found.all().size() >= least && served.rests();
    };
    CHECK(wait_until(enough));
    return found;
}

// Until one waits; how many are on disk. A batch takes a page there, so a shorter one waits too.
[[nodiscard]] std::uint64_t fill_disk(ServedBus& served, Bus& bus) {
    // Ends: no disk is larger than a test gives it.
    for (std::uint64_t on_disk = 0;; ++on_disk) {
        const Receipt last = bus.send(Text{std::string(2'000, 'x')}).value();
        REQUIRE(wait_until([&] { return last.is_there() || served.rests(); }));
        if (!last.is_there()) return on_disk;
    }
}

}  // namespace

TEST_SUITE("durable") {

TEST_CASE("on a full disk nothing is settled whose outputs are not on it") {
    bool fails = true;
    SUBCASE("of a handler that fails") {}
    SUBCASE("of a handler that sends on") { fails = false; }
    ServedBus served;
    Weather& weather = give_weather(served);
    served.serve();
    std::uint64_t acknowledged = 0;
    {
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        bus.declare_endpoint<Next>("next");
        bus.declare_endpoint<Text>("other");
        send_numbers(bus, 1, 20);
        weather.allocate = ENOSPC;
        static_cast<void>(fill_disk(served, bus));
        acknowledged = 20;
        Stage stage(bus, fails);
        REQUIRE(handle_until(stage.endpoint, [&] { return stage.handled == acknowledged; }));
        CHECK(wait_until([&] {
            stage.endpoint.poll();
            return served.rests();
        }));
    }
    weather.allocate = 0;
    served.wipe_memory();
    served.serve();
    CHECK(all_that_is_left(served, acknowledged).all().size() == acknowledged);
}

TEST_CASE("what waits for a full disk keeps only what it came of from being settled") {
    bool fails = true;
    bool is_restarted = false;
    SUBCASE("of a handler that fails") {}
    SUBCASE("of a handler that sends on") { fails = false; }
    SUBCASE("of a handler that fails, and another daemon") { is_restarted = true; }
    SUBCASE("of a handler that sends on, and another daemon") {
        fails = false;
        is_restarted = true;
    }
    ServedBus served;
    Weather& weather = give_weather(served);
    served.serve();
    {
        Bus bus = served.open();
        bus.declare_endpoint<Next>("next");
        Stage stage(bus, fails, 11);
        // Of the first ten nothing comes.
        for (std::uint64_t number = 1; number <= 10; ++number) {
            send_numbers(bus, number, number);
            send_numbers(bus, 10 + number, 10 + number);
        }
        Bus another = served.open();
        another.declare_endpoint<Text>("other");
        weather.allocate = ENOSPC;
        const std::uint64_t on_disk = fill_disk(served, another);
        REQUIRE(on_disk > 0);
        REQUIRE(handle_until(stage.endpoint, [&] { return stage.handled == 10; }));
        Endpoint other = another.endpoint("other");
        std::uint64_t texts = 0;
        other.on<Text>([&](const Text&) { ++texts; });
        REQUIRE(handle_until(other, [&] { return texts == on_disk; }));
        const auto rests = [&] {
            stage.endpoint.poll();
            other.poll();
            return served.rests();
        };
        REQUIRE(wait_until(rests));
        if (is_restarted) {
            served.serve();
            REQUIRE(wait_until(rests));
        }
        CHECK(texts == on_disk);
    }
    weather.allocate = 0;
    served.wipe_memory();
    served.serve();
    std::set<std::uint64_t> waiting;
    for (std::uint64_t number = 11; number <= 20; ++number) waiting.insert(number);
    const Left left = all_that_is_left(served, 10);
    CHECK(left.not_handled == waiting);
    CHECK(left.come_of_it.empty());
    CHECK(left.texts == 0);
}

TEST_CASE("room on a full disk comes back though what others have sent waits for it") {
    bool fails = true;
    SUBCASE("of a handler that fails") {}
    SUBCASE("of a handler that sends on") { fails = false; }
    ServedBus served;
    served.config.journal_segment_bytes = 64 << 10;
    Weather& weather = give_weather(served);
    weather.room = 14 * served.config.journal_segment_bytes;
    served.serve();
    {
        Bus bus = served.open();
        bus.declare_endpoint<Next>("next");
        Stage stage(bus, fails);
        Bus another = served.open();
        another.declare_endpoint<Text>("other");
        // What the journal has gets room from its begin on.
        for (int first = 0; first < 60; ++first) {
            REQUIRE(another.send(Text{std::string(2'000, 'x')}));
            REQUIRE(another.sync(20s));
        }
        send_numbers(bus, 1, 20);
        REQUIRE(fill_disk(served, another) > 0);
        REQUIRE(handle_until(stage.endpoint, [&] { return stage.handled == 20; }));
        stage.endpoint.poll();
        REQUIRE(wait_until([&] { return served.rests(); }));
        CHECK_FALSE(bus.sync(1ms));
        Endpoint other = another.endpoint("other");
        other.on<Text>([](const Text&) {});
        CHECK(handle_until(other, [&] { return bus.sync(0s) && another.sync(0s); }));
        REQUIRE(wait_until([&] {
            other.poll();
            return served.rests();
        }));
    }
    served.wipe_memory();
    served.serve();
    const Left left = all_that_is_left(served, 20);
    CHECK(left.not_handled.empty());
    CHECK(left.come_of_it.size() == 20);
    CHECK(left.texts == 0);
}

TEST_CASE("more gaps than a record can tell of close when what is in them may be settled") {
    ServedBus served;
    served.config.journal_segment_bytes = 32 << 10;  // an endpoint has 508 ranges
    Weather& weather = give_weather(served);
    served.serve();
    constexpr std::uint64_t count = 2'000;
    std::uint64_t handled = 0;
    {
        Bus bus = served.open();
        bus.declare_endpoint<Next>("next");
        bus.declare_endpoint<Text>("other");
        bus.declare_endpoint<Work>("worker");
        send_numbers(bus, 1, count);
        weather.allocate = ENOSPC;
        REQUIRE(fill_disk(served, bus) > 0);
        // Lanes into such a journal are short: several.
        std::deque<Bus> buses;
        std::deque<Endpoint> workers;
        for (int one = 0; one < 8; ++one) {
            workers.push_back(buses.emplace_back(served.open()).endpoint("worker"));
            workers.back().on<Work>([&](const Work& work, Context& context) {
                ++handled;
                if (work.number % 2 != 0) context.send(Next{work.number}).value();
            });
        }
        const auto rests = [&] {
            for (Endpoint& one : workers) one.poll(8);
            return served.rests();
        };
        REQUIRE(wait_until(rests));
        CHECK(handled > 2 * 508);
        weather.allocate = 0;
        REQUIRE(wait_until([&] { return rests() && handled == count; }));
    }
    served.wipe_memory();
    served.serve();
    const Left left = all_that_is_left(served, count / 2);
    CHECK(left.not_handled.empty());
    CHECK(left.come_of_it.size() == count / 2);
}

TEST_CASE("an id that handlers give comes once, whatever it is that they handle") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    Endpoint worker = bus.endpoint("worker");
    worker.on<Work>([](const Work& work, Context& context) {
        shmbus::SendOptions named;
        named.id = {0xABC, work.number / 2};
        context.send(Next{work.number}, named).value();
    });
    Endpoint next = bus.endpoint("next");
    std::vector<std::uint64_t> came;
    next.on<Next>([&](const Next& one) { came.push_back(one.number); });
    send_numbers(bus, 2, 5);
    CHECK(wait_until([&] {
        worker.poll();
        next.poll();
        return served.rests();
    }));
    CHECK(came == std::vector<std::uint64_t>{2, 4});
}

TEST_CASE("what is handled while a batch is read is not settled in it without its outputs") {
    bool fails = true;
    SUBCASE("of a handler that fails") {}
    SUBCASE("of a handler that sends on") { fails = false; }
    Held held;
    ServedBus served;
    served.at_step = [&held](const char* name) { held.at_step(name); };
    served.serve();
    {
        Bus bus = served.open();
        bus.declare_endpoint<Next>("next");
        bus.declare_endpoint<Text>("other");
        Stage stage(bus, fails, 2);
        // The lane into the journal is there, and so is all that a first message needs.
        send_numbers(bus, 1, 1);
        REQUIRE(handle_until(stage.endpoint, [&] { return served.rests(); }));
        send_numbers(bus, 2, 2);
        Bus another = served.open();
        held.hold();
        REQUIRE(another.send(Text{"anything"}));
        REQUIRE(wait_until([&] { return held.is_held(); }));
        // The batch was read; now one more is handled, and what it sends stands in a lane.
        REQUIRE(handle_until(stage.endpoint, [&] { return stage.handled == 1; }));
        stage.endpoint.poll();
        held.let_go_for(1);
        REQUIRE(wait_until([&] { return served.daemon_has_died(); }));
    }
    served.wipe_memory();
    served.serve();
    CHECK(all_that_is_left(served, 1).all().contains(2));
}

TEST_CASE("what is handled is not settled in a batch that is full before its outputs are read") {
    Held held;
    ServedBus served;
    served.config.journal_segment_bytes = 64 << 10;  // a batch has half of that
    served.at_step = [&held](const char* name) { held.at_step(name); };
    served.serve();
    {
        // The oldest lane's turn comes last.
        Bus bus = served.open();
        bus.declare_endpoint<Next>("next");
        bus.declare_endpoint<Text>("other");
        Stage stage(bus, false, 2);
        send_numbers(bus, 1, 1);
        Bus first = served.open();
        REQUIRE(first.send(Text{"anything"}));
        Bus second = served.open();
        REQUIRE(second.send(Text{"anything"}));
        REQUIRE(handle_until(stage.endpoint, [&] { return served.rests(); }));
        send_numbers(bus, 2, 2);
        held.hold();
        REQUIRE(first.send(Text{"anything"}));
        REQUIRE(wait_until([&] { return held.is_held(); }));
        for (Bus* const one : {&first, &second})
            for (int more = 0; more < 16; ++more)
                REQUIRE(one->send(Text{std::string(1'500, 'x')}));
        REQUIRE(handle_until(stage.endpoint, [&] { return stage.handled == 1; }));
        stage.endpoint.poll();
        // The batch that is held, and the next one, which has no room for what was sent on.
        held.let_go_for(2);
        REQUIRE(wait_until([&] { return served.daemon_has_died(); }));
    }
    served.wipe_memory();
    served.serve();
    CHECK(all_that_is_left(served, 1).all().contains(2));
}

TEST_CASE("what was handled is not settled while a lane cannot be opened that has its outputs") {
    bool is_opened = false;
    SUBCASE("and the power goes") {}
    SUBCASE("but when it was read") { is_opened = true; }
    ServedBus served;
    Shortage& shortage = Shortage::make();
    served.serve();
    {
        Bus bus = served.open();
        bus.declare_endpoint<Next>("next");
        Stage stage(bus, false);
        send_numbers(bus, 1, 20);
        REQUIRE(wait_until([&] { return served.rests(); }));
        served.kill_daemon();
        REQUIRE(handle_until(stage.endpoint, [&] { return stage.handled == 20; }));
        stage.endpoint.poll();
        // By then it has opened all but the lanes into the journal.
        served.at_step = [&](const char* name) {
            if (std::string_view(name) == "to be committed") shortage.take_guards(0);
        };
        served.serve();
        REQUIRE(wait_until([&] { return shortage.has_begun && served.rests(); }));
        if (is_opened) {
            shortage.is_over = true;
            REQUIRE(bus.sync(20s));
            REQUIRE(wait_until([&] { return served.rests(); }));
        }
    }
    served.at_step = {};
    served.wipe_memory();
    served.serve();
    const Left left = all_that_is_left(served, 20);
    CHECK(left.all().size() == 20);
    if (is_opened) CHECK(left.not_handled.empty());
}

}

}  // namespace durable_tests
