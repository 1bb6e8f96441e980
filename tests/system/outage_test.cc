// While the daemon is killed or stopped: what goes on without it, what waits for it, and that
// nothing is counted against a message for it.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>
#include <thread>

#include "support/waiting.h"
#include "system/stage.h"

using namespace system_tests;
using shmbus::ErrorCode;

namespace {

// A reply that nobody has sent before the daemon is away.
struct FirstReply {
    static constexpr auto message = shmbus::reply("system.first_reply", shmbus::transient);
    std::uint64_t number;
};
struct RareQuestion {
    static constexpr auto message = shmbus::command("system.rare_question", shmbus::transient);
    using reply = FirstReply;
    std::uint64_t number;
};

enum class Outage : std::uint8_t { killed, stopped };

void begin(Stage& stage, Outage outage) {
    if (outage == Outage::killed) stage.daemon.process().kill();
    else stage.daemon.process().signal(SIGSTOP);
}
void end(Stage& stage, Outage outage) {
    if (outage == Outage::killed) stage.daemon.kill_and_restart();
    else stage.daemon.process().signal(SIGCONT);
}

// Does not wait long for a daemon that is away.
Bus join(const Stage& stage) {
    shmbus::BusOptions options;
    options.start_daemon = false;
    options.daemon_timeout = 100ms;
    return Bus::open(stage.folder.bus(), options);
}

// A process that handles Jobs until it has seen `all` of them done. Whoever gets `held` keeps it
// until told. Words: 0 handled, 1 marked, 2 consumers ready, 3 pid of the holder, 4 let go.
int consume_jobs(const Stage& stage, std::uint64_t held, std::uint64_t all) {
    Bus bus = join(stage);
    Endpoint endpoint = bus.endpoint("jobs", small_lanes());
    endpoint.on<Job>([&](const Job& job, Context& context) {
        if (job.number == held) {
            stage.words->set(3, static_cast<std::uint64_t>(::getpid()));
            while (stage.words->get(4) == 0) std::this_thread::sleep_for(1ms);
        }
        if (context.redelivered()) stage.words->add(1);
        stage.words->add(0);
    });
    stage.words->add(2);
    handle_jobs(endpoint, [&] { return stage.words->get(0) >= all; });
    return 0;
}

std::vector<std::string> lanes_of(const Stage& stage) {
    std::vector<std::string> lanes;
    for (const std::string& name : test::files_of_bus(stage.folder.bus()))
        if (name.starts_with("lanes/")) lanes.push_back(name);
    return lanes;
}

// This process has a descriptor of that file.
bool has_open(const std::string& path) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;  // the one that reads this directory
        if (std::filesystem::read_symlink(entry, gone) == path) return true;
    }
    return false;
}

// A publisher that was there before its subscriber, so that a lane was made for it ahead, and uses
// that lane for the first time while no daemon runs. Words: 2 ready, 5 publish, 6 published,
// 7 send a job there.
int publish_by_name(const Stage& stage) {
    Bus bus = join(stage);
    static_cast<void>(bus.publish(News{0}).value());
    stage.words->set(2, 1);
    if (!stage.words->comes(5, 1)) return 1;
    if (bus.publish(News{1}).value().subscribers != 1) return 2;
    stage.words->set(6, 1);
    if (!stage.words->comes(7, 1)) return 3;
    send(bus, 1, 1);
    return 0;
}

// Its subscriber, in the test's process.
struct Listener {
    explicit Listener(const Stage& stage) : bus(join(stage)), endpoint(bus.endpoint("news")) {
        endpoint.on<News>([this](const News& event) { heard += event.number; });
        endpoint.on<Job>([this](const Job&) { ++jobs; });
    }
    Bus bus;
    Endpoint endpoint;
    std::uint64_t heard = 0, jobs = 0;
};

// What a handler that publishes saw, and what came of it.
struct Publisher {
    explicit Publisher(const Stage& stage, unsigned threads = 1)
        : bus(join(stage)), news(bus.endpoint("news", small_lanes())) {
        news.on<News>([this](const News& event) { heard.push_back(event.number); });
        shmbus::EndpointOptions options = small_lanes();
        options.handler_threads = threads;
        jobs.emplace(bus.endpoint("jobs", options));
        jobs->on<Job>([this](const Job& job, Context& context) {
            if (job.number % 10 != 0) {
                ++others;
                return;
            }
            ++calls;
            if (context.attempt() != 1 || context.redelivered()) ++told_of_failures;
            context.publish(News{job.number}).value();
        });
        send(bus, 1, 1);  // from here on this lane is open
    }
    // News is published for the first time while the daemon is away.
    void go_through(Stage& stage, Outage outage, const std::function<void()>& work) {
        REQUIRE(eventually([&] { return work(), others == 1; }));
        begin(stage, outage);
        for (std::uint64_t number = 10; number < 30; ++number) send(bus, 1, number);
        // More calls than there are attempts, and all others handled meanwhile.
        REQUIRE(eventually([&] { return work(), others == 19 && calls >= 12; }));
        CHECK(jobs->counts().threw == 0);
        CHECK(jobs->counts().failed == 0);
        CHECK(heard.empty());
        end(stage, outage);
        REQUIRE(eventually([&] { return work(), news.poll(), heard.size() == 2; }));
        std::sort(heard.begin(), heard.end());
        CHECK(heard == std::vector<std::uint64_t>{10, 20});
        CHECK(told_of_failures == 0);
    }
    // A pool adds its counts when it ends.
    void check_counts() const {
        CHECK(jobs->counts().handled == 21);
        CHECK(jobs->counts().threw == 0);
        CHECK(jobs->counts().failed == 0);
    }

    Bus bus;
    Endpoint news;
    std::optional<Endpoint> jobs;
    std::atomic<std::uint64_t> calls{0}, others{0}, told_of_failures{0};
    std::vector<std::uint64_t> heard;
};

TEST_SUITE("system") {

TEST_CASE("a message whose handler needs the daemon waits for it, uncounted; others go on") {
    Outage outage{};
    SUBCASE("killed") { outage = Outage::killed; }
    SUBCASE("stopped") { outage = Outage::stopped; }
    Stage stage;
    Publisher publisher(stage);
    publisher.go_through(stage, outage, [&] { publisher.jobs->poll(); });
    publisher.check_counts();
}

TEST_CASE("in a pool of handlers too a message waits for the daemon, uncounted") {
    Outage outage{};
    SUBCASE("killed") { outage = Outage::killed; }
    SUBCASE("stopped") { outage = Outage::stopped; }
    Stage stage;
    Publisher publisher(stage, 3);
    std::jthread running([&](const std::stop_token& stop) { publisher.jobs->run(stop); });
    publisher.go_through(stage, outage, [] {});
    running.request_stop();
    running.join();
    publisher.check_counts();
}

TEST_CASE("a reply that a handler returns waits for the daemon, if it is the first of its type") {
    for (const Outage outage : {Outage::killed, Outage::stopped}) {
        Stage stage;
        Bus bus = join(stage);
        Endpoint questions = bus.endpoint("questions");
        std::uint64_t calls = 0;
        questions.on<Question>([](const Question& question) { return Answer{question.number}; });
        questions.on<RareQuestion>([&](const RareQuestion& question) {
            ++calls;
            return FirstReply{question.number};
        });
        std::uint64_t answer = 0;
        bus.request(Question{1}).then([&](const auto& got) { answer = got ? got->number : 0; });
        REQUIRE(eventually([&] { return questions.poll(), answer == 1; }));
        begin(stage, outage);
        bus.request(RareQuestion{2}).then([&](const auto& got) { answer = got ? got->number : 0; });
        // More calls than there are attempts.
        CHECK(eventually([&] { return questions.poll(), calls >= 6; }));
        end(stage, outage);
        CHECK(eventually([&] { return questions.poll(), answer == 2; }));
        CHECK(questions.counts().threw == 0);
        CHECK(questions.counts().handled == 2);
    }
}

TEST_CASE("a handler that goes on without what the daemon refused has handled its message") {
    Stage stage;
    Bus bus = join(stage);
    Endpoint jobs = bus.endpoint("jobs", small_lanes());
    ErrorCode refused = ErrorCode::ok;
    jobs.on<Job>([&](const Job&, Context& context) {
        refused = context.publish(News{1}).error().code();
    });
    send(bus, 1, 1);
    begin(stage, Outage::killed);
    REQUIRE(eventually([&] { return jobs.poll() == 1; }));
    CHECK(refused == ErrorCode::no_daemon);
    CHECK(jobs.counts().handled == 1);
}

TEST_CASE("what was written to a lane taken by name, no daemon there, outlives its writer") {
    Stage stage;
    Child publisher([&] { return publish_by_name(stage); });
    REQUIRE(stage.words->comes(2, 1));
    Listener listener(stage);
    begin(stage, Outage::killed);
    stage.words->set(5, 1);
    REQUIRE(stage.words->comes(6, 1));
    publisher.kill_now();
    end(stage, Outage::killed);
    const auto observer = test::join(stage.folder.bus());
    std::vector<shmbus::directory::Participant> there;
    // The publisher is known to be dead: only the listener and the observer live.
    REQUIRE(eventually([&] {
        return observer->directory().participants(there) &&
               std::count_if(there.begin(), there.end(), [](const auto& one) {
                   return one.row.state == shmbus::directory::RowState::live;
               }) == 2;
    }));
    CHECK(eventually([&] { return listener.endpoint.poll(), listener.heard == 1; }));
}

TEST_CASE("a lane taken by name, no daemon there, outlives the subscription it was made for") {
    Stage stage;
    Child publisher([&] { return publish_by_name(stage); });
    REQUIRE(stage.words->comes(2, 1));
    Listener listener(stage);
    begin(stage, Outage::killed);
    stage.words->set(5, 1);
    REQUIRE(stage.words->comes(6, 1));
    end(stage, Outage::killed);
    listener.endpoint.unsubscribe<News>();
    stage.words->set(7, 1);
    CHECK(ends_well(publisher));
    CHECK(eventually([&] { return listener.endpoint.poll(), listener.jobs == 1; }));
}

TEST_CASE("a lane taken by name where another was lost gets nothing that was for that one") {
    Stage stage;
    Bus bus = join(stage);
    Bus theirs = join(stage);
    Endpoint one = theirs.endpoint("one", small_lanes());
    Endpoint other = theirs.endpoint("other", small_lanes());
    std::uint64_t here = 0, there = 0;
    one.on<News>([&](const News&) { ++here; });
    one.on<Job>([&](const Job&) { ++here; });
    bool is_event = false;
    SUBCASE("an event's") { is_event = true; }
    SUBCASE("a command's") { is_event = false; }
    const auto put = [&](std::uint64_t number) {
        if (!is_event) return bus.send(Job{1, number}).error().code();
        return bus.publish(News{number}).error().code();
    };
    REQUIRE(put(1) == ErrorCode::ok);
    const std::string lost = stage.folder.bus() + "/" + lanes_of(stage).at(0);
    // Known for a publisher of it, it has a lane to whoever subscribes before it uses one.
    static_cast<void>(bus.publish(Weather{1}).value());
    other.on<Weather>([&](const Weather&) { ++there; });
    REQUIRE(put(2) == ErrorCode::ok);
    REQUIRE(eventually([&] { return one.poll(), here == 2; }));
    begin(stage, Outage::killed);
    REQUIRE(::truncate(lost.c_str(), 0) == 0);
    REQUIRE(eventually([&] { return put(3) == ErrorCode::lane_lost; }));
    REQUIRE(bus.publish(Weather{2}).value().subscribers == 1);
    // No lane to be had for it: nobody gets it, least of all who never asked for it.
    CHECK(put(4) == ErrorCode::no_daemon);
    REQUIRE(eventually([&] { return other.poll() == 1; }));
    CHECK(there == 1);
    end(stage, Outage::killed);
    REQUIRE(eventually([&] { return put(5) == ErrorCode::ok; }));
    CHECK(eventually([&] { return one.poll(), here == 3; }));
    CHECK(other.poll() == 0);
    CHECK(other.counts().failed == 0);
}

TEST_CASE("a reply whose requester leaves while others get their lanes goes to nobody else") {
    Stage stage;
    Bus worker = stage.join();
    std::optional<Bus> asker(join(stage));
    Bus theirs = join(stage);
    Endpoint questions = worker.endpoint("questions", small_lanes());
    std::vector<Endpoint> listeners;
    std::uint64_t heard = 0;
    std::jthread waking;
    questions.on<Question>([&](const Question& question, Context& context) {
        context.reply(Answer{question.number}).value();
        context.publish(News{question.number}).value();
        if (question.number == 1) return;
        // The event is for some more now; their lanes are to be had from the daemon, which hears
        // first that the asker has left. Is it awake too early, the reply is not even planned.
        for (const char* const name : {"a", "b", "c", "d"}) {
            listeners.push_back(theirs.endpoint(name, small_lanes()));
            listeners.back().on<News>([&](const News&) { ++heard; });
        }
        begin(stage, Outage::stopped);
        asker.reset();
        waking = std::jthread([&] {
            std::this_thread::sleep_for(50ms);
            end(stage, Outage::stopped);
        });
    });
    auto first = asker->request(Question{1});
    REQUIRE(eventually([&] { return questions.poll() == 1; }));
    REQUIRE(first.wait());
    auto second = asker->request(Question{2});
    REQUIRE(eventually([&] { return questions.poll() == 1; }));
    waking.join();
    REQUIRE(eventually([&] {
        for (Endpoint& one : listeners) one.poll();
        return heard == 4;
    }));
    for (Endpoint& one : listeners) {
        CHECK(one.poll() == 0);
        CHECK(one.counts().handled == 1);
        CHECK(one.counts().failed == 0);
    }
    CHECK(questions.counts().threw == 0);
    CHECK(worker.counts().replies_to_gone == 1);
}

TEST_CASE("behind a held lane a busy sender goes on in the next one, daemon or no daemon") {
    Outage outage{};
    SUBCASE("killed") { outage = Outage::killed; }
    SUBCASE("stopped") { outage = Outage::stopped; }
    Stage stage;
    constexpr std::uint64_t before = 200, all = before + 64 * 20;
    Child one([&] { return consume_jobs(stage, before + 1, all); });
    Child other([&] { return consume_jobs(stage, before + 1, all); });
    REQUIRE(stage.words->comes(2, 2));
    Bus bus = stage.join();
    for (std::uint64_t number = 1; number <= before; ++number) send(bus, 1, number);
    // The lane of this sender, and the one that was made for it ahead of need: it has that when a
    // busy daemon has answered one of its sends.
    std::uint64_t more = 0;
    REQUIRE(eventually([&] {
        const std::vector<std::string> lanes = lanes_of(stage);
        if (lanes.size() == 2 && has_open(stage.folder.bus() + "/" + lanes[1])) return true;
        send(bus, 1, ++more);
        return false;
    }));
    const std::string held = lanes_of(stage)[0];
    REQUIRE(stage.words->comes(0, before + more));
    stage.words->set(0, before);
    begin(stage, outage);
    const auto began = std::chrono::steady_clock::now();
    for (std::uint64_t number = before + 1; number <= all; ++number) send(bus, 1, number);
    // All but what the holder took with the message that it holds: at most a hand full.
    REQUIRE(stage.words->comes(0, all - shmbus::lane::most_entries));
    MESSAGE("20 lanes' worth in " << (std::chrono::steady_clock::now() - began) / 1ms << " ms");
    CHECK(stage.words->get(3) != 0);
    CHECK(stage.words->get(0) < all);
    stage.words->set(4, 1);
    CHECK(ends_well(one));
    CHECK(ends_well(other));
    CHECK(stage.words->get(0) == all);
    CHECK(stage.words->get(1) == 0);
    // The daemon finds the lane that was left while it was away.
    end(stage, outage);
    CHECK(eventually([&] { return lanes_of(stage)[0] != held; }));
}

TEST_CASE("a held lane without a next one refuses, naming holder and daemon, until that is back") {
    Outage outage{};
    SUBCASE("killed") { outage = Outage::killed; }
    SUBCASE("stopped") { outage = Outage::stopped; }
    Stage stage;
    constexpr std::uint64_t all = 64 * 5;
    Child one([&] { return consume_jobs(stage, 1, all); });
    Child other([&] { return consume_jobs(stage, 1, all); });
    REQUIRE(stage.words->comes(2, 2));
    Bus bus = stage.join();
    send(bus, 1, 1);
    REQUIRE(eventually([&] { return stage.words->get(3) != 0; }));
    begin(stage, outage);
    // The sender has the usual five seconds for the daemon, and takes none of them.
    shmbus::SendOptions at_once;
    at_once.when_full = shmbus::WhenFull::refuse;
    std::uint64_t sent = 1;
    std::string text;
    const auto names_both = [&] {
        const auto began = std::chrono::steady_clock::now();
        const auto result = bus.send(Job{1, sent + 1}, at_once);
        CHECK(std::chrono::steady_clock::now() - began < 1s);
        if (result) ++sent;
        else text = result.error().text();
        return text.find("shmbusd") != std::string::npos;
    };
    REQUIRE(eventually(names_both));
    CAPTURE(text);
    CHECK(sent < 64 * 2);
    CHECK(text.find("process " + std::to_string(stage.words->get(3)) + " has held message") !=
          std::string::npos);
    CHECK(text.find("\"jobs\"") != std::string::npos);
    // A sender that waits goes on by itself.
    std::jthread healer([&] {
        CHECK(eventually([&] { return shmbus::test::somebody_waits(stage.folder.bus()); }));
        end(stage, outage);
    });
    for (std::uint64_t number = sent + 1; number <= all; ++number) send(bus, 1, number);
    CHECK(stage.words->comes(0, all - shmbus::lane::most_entries));
    stage.words->set(4, 1);
    CHECK(ends_well(one));
    CHECK(ends_well(other));
    CHECK(stage.words->get(1) == 0);
}
}

}  // namespace
