// A real bus, looked at while it is used, when all is dead, and as a copy.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/look.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <shmbus/bus.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/support.h"
#include "daemon/fixture.h"
#include "lane/inbox_file.h"
#include "look/json.h"
#include "look/openmetrics.h"
#include "look/rates.h"
#include "look/traces.h"

namespace {

namespace look = shmbus::look;
using shmbus::Bus;
using shmbus::test::Child;
using test::eventually;
using namespace std::chrono_literals;

struct Job {
    static constexpr auto message = shmbus::command("look.job", shmbus::transient);
    std::uint64_t number = 0;
    static constexpr auto fields = shmbus::fields(shmbus::field<&Job::number>("number"));
};
struct News {
    static constexpr auto message = shmbus::event("look.news", shmbus::transient);
    std::uint64_t number = 0;
};

Bus open_bus(const test::Folder& folder, const char* name) {
    shmbus::BusOptions options;
    options.start_daemon = false;
    options.process_name = name;
    return Bus::open(folder.bus(), options);
}

look::Place place_of(const test::Folder& folder) {
    return {folder.bus(), "bus", folder.path() + "/journal"};
}

const look::Endpoint& endpoint_of(const look::Snapshot& seen, const std::string& name) {
    for (const look::Endpoint& endpoint : seen.endpoints)
        if (endpoint.name == name) return endpoint;
    FAIL("no endpoint " << name);
    return seen.endpoints.front();
}

const look::Process& process_of(const look::Snapshot& seen, const std::string& name) {
    for (const look::Process& process : seen.processes)
        if (process.name == name) return process;
    FAIL("no process " << name);
    return seen.processes.front();
}

// What the files take and when they were changed last: a look may change neither.
std::string state_of_files(const std::string& directory) {
    std::string all;
    for (const std::string& name : test::files_of_bus(directory)) {
        struct stat facts {};
        REQUIRE(::stat((directory + "/" + name).c_str(), &facts) == 0);
        std::ifstream file(directory + "/" + name, std::ios::binary);
        std::string content((std::istreambuf_iterator<char>(file)), {});
        all += name + " " + std::to_string(facts.st_blocks) + " " +
               std::to_string(std::hash<std::string>{}(content)) + "\n";
    }
    return all;
}

// A child that opens "work", handles `count` jobs and then waits to be killed.
test::Process worker(const test::Folder& folder, std::size_t count) {
    return test::fork_child([&folder, count] {
        // On the heap and never freed: this process is killed with the bus open.
        auto& bus = *new Bus(open_bus(folder, "worker"));
        auto& endpoint = *new shmbus::Endpoint(bus.endpoint("work"));
        endpoint.on<Job>([](const Job&) {});
        endpoint.on<News>([](const News&) {});
        for (std::size_t left = count; left > 0;) {
            left -= endpoint.poll(left);
            if (left > 0) endpoint.wait(1ms);
        }
    });
}

std::size_t last_processor() {
    cpu_set_t allowed;
    REQUIRE(::sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
    std::size_t last = CPU_SETSIZE;
    // Ends: we run on one of them.
    while (!CPU_ISSET(--last, &allowed)) continue;
    return last;
}

// Runs on the last processor alone.
test::Process sender(const test::Folder& folder, std::uint64_t count) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(last_processor(), &one);
    return test::fork_child([&folder, count, one] {
        if (::sched_setaffinity(0, sizeof(one), &one) != 0) return;
        auto& bus = *new Bus(open_bus(folder, "sender"));
        for (std::uint64_t at = 1; at <= count; ++at) bus.send(Job{at}).value();
    });
}

}  // namespace

TEST_SUITE("look") {
TEST_CASE("a look counts what was sent, what waits and what was handled, and who did it") {
    const test::Folder folder;
    test::Daemon daemon(folder.bus());
    const test::Process working = worker(folder, 0);
    const test::Process sending = sender(folder, 1000);
    look::Looker looker(place_of(folder));
    const look::Snapshot seen = looker.look();
    CHECK(seen.daemon.life == look::Life::alive);
    CHECK(seen.daemon.pid == daemon.process().pid());
    CHECK(seen.memory.used_bytes > 0);
    CHECK(seen.is_of_this_boot);
    const look::Endpoint& work = endpoint_of(seen, "work");
    CHECK(work.waiting() == 1000);
    CHECK(work.received() == 1000);
    CHECK(work.settled == 0);
    REQUIRE(work.consumers.size() == 1);
    const look::Process& process = process_of(seen, "worker");
    CHECK(work.consumers[0].process == process.reference);
    CHECK(process.life == look::Life::alive);
    CHECK(process.pid == working.pid());
    CHECK(process_of(seen, "sender").pid == sending.pid());
    REQUIRE(process_of(seen, "sender").cpu);
    CHECK(*process_of(seen, "sender").cpu == last_processor());
    CHECK(process_of(seen, "sender").sent == 1000);
    CHECK(seen.type_name(endpoint_of(seen, "work").lanes.empty() ? 0 : 1) != "");
    REQUIRE(seen.subscriptions.size() == 1);
    CHECK_FALSE(seen.subscriptions[0].is_orphaned);
}

TEST_CASE("two looks give the rates between them") {
    const test::Folder folder;
    test::Daemon daemon(folder.bus());
    look::Looker looker(place_of(folder));
    const test::Process sending = [&] {
        const test::Process first = worker(folder, 0);
        return sender(folder, 100);
    }();
    const look::Snapshot before = looker.look();
    const test::Process working = worker(folder, 60);
    const look::Snapshot after = looker.look();
    const look::Rates rates = look::rates_of(before, after);
    const look::Endpoint& work = endpoint_of(after, "work");
    CHECK(work.settled == 60);
    CHECK(work.waiting() == 40);
    CHECK(rates.seconds > 0);
    const look::EndpointRates& own = rates.endpoints.at(work.reference);
    CHECK(own.out_per_s * rates.seconds == doctest::Approx(60));
    CHECK(own.in_per_s == 0);
    // Of the lane what was handled is full no more, though its room is not given back yet.
    const look::Endpoint& work_before = endpoint_of(before, "work");
    CHECK(work.lanes.at(0).used_bytes() == work_before.lanes.at(0).used_bytes());
    CHECK(work.fill().value() == doctest::Approx(0.4 * work_before.fill().value()));
    std::uint64_t handled = 0;
    for (const look::Type& type : after.types)
        if (type.name == "look.job") handled = type.handled;
    CHECK(handled == 60);
}

TEST_CASE("with every process dead all is still seen, and no file changes by being looked at") {
    const test::Folder folder;
    {
        test::Daemon daemon(folder.bus());
        const test::Process working = worker(folder, 0);
        const test::Process sending = sender(folder, 500);
        // First of all, or it would clear away after the others.
        daemon.process().kill();
    }
    std::ofstream(folder.bus() + "/daemon.log") << "what a daemon said\n";
    const std::string before = state_of_files(folder.bus());
    look::Looker looker(place_of(folder));
    for (int time = 0; time < 3; ++time) {
        const look::Snapshot seen = looker.look();
        CHECK(seen.daemon.life == look::Life::dead);
        CHECK(seen.daemon.log == folder.bus() + "/daemon.log");
        CHECK(endpoint_of(seen, "work").waiting() == 500);
        CHECK(process_of(seen, "worker").life == look::Life::dead);
        CHECK(process_of(seen, "worker").has_left == false);
        CHECK_FALSE(process_of(seen, "worker").cpu);
        CHECK(process_of(seen, "sender").life == look::Life::dead);
        CHECK(seen.subscriptions.at(0).is_orphaned);
    }
    CHECK(state_of_files(folder.bus()) == before);
}

TEST_CASE("of a copy everything is seen but who lives") {
    const test::Folder folder;
    test::Daemon daemon(folder.bus());
    const test::Process working = worker(folder, 0);
    const test::Process sending = sender(folder, 10);
    const std::string copy = folder.path() + "/copy";
    std::filesystem::create_directory(copy);
    for (const char* name : {"directory", "daemon.lock", "participants", "inboxes", "lanes"})
        ::test::copy_sparsely(folder.bus() + "/" + name, copy);
    const look::Snapshot seen = look::look({copy, "copy", copy + "/journal"});
    CHECK(seen.daemon.life == look::Life::dead);
    CHECK(endpoint_of(seen, "work").waiting() == 10);
    CHECK(process_of(seen, "worker").life == look::Life::unknown);
    CHECK_FALSE(process_of(seen, "worker").cpu);
    const auto open = seen.opened(endpoint_of(seen, "work"));
    CHECK(open.alive == 0);
    CHECK(open.unknown == 1);
}

// The kernel's list of locks is read in parts; with some given up in between, others are left out.
TEST_CASE("a daemon is seen however many locks are taken and given up beside it") {
    const test::Folder folder;
    test::Daemon daemon(folder.bus());
    std::vector<shmbus::base::File> files;
    for (int at = 0; at < 300; ++at) {
        const std::string path = folder.path() + "/lock-" + std::to_string(at);
        files.emplace_back(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        REQUIRE(::flock(files.back().fd(), LOCK_EX) == 0);
    }
    const std::jthread busy([&](const std::stop_token& stop) {
        while (!stop.stop_requested())
            for (const int what : {LOCK_UN, LOCK_EX})
                for (std::size_t at = 0; at < files.size() / 2; ++at)
                    ::flock(files[at].fd(), what);
    });
    look::Looker looker(place_of(folder));
    for (int time = 0; time < 300; ++time)
        REQUIRE(looker.look().daemon.pid == daemon.process().pid());
}

TEST_CASE("the log of a daemon is the file that it has open for that, else where its errors go") {
    const test::Folder folder;
    const auto log_of = [&](const std::string& path, int as) {
        shmbus::test::SharedStep step;
        const Child daemon([&] {
            const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
            if (as >= 0) ::dup2(file, as);
            step.reach(1);
            return shmbus::test::stay();
        });
        REQUIRE(step.wait_for(1));
        return look::log_of_daemon(folder.bus(), {look::Life::alive, daemon.pid()});
    };
    for (const auto& [name, as] : {std::pair("daemon.log", -1), {"errors", STDERR_FILENO}})
        CHECK(log_of(folder.path() + "/" + name, as) == folder.path() + "/" + name);
    CHECK(log_of("/dev/null", STDERR_FILENO).empty());
}
TEST_CASE("a lane that is damaged is shown as damaged, and the others as they are") {
    const test::Folder folder;
    test::Daemon daemon(folder.bus());
    const test::Process working = worker(folder, 0);
    const test::Process first = sender(folder, 5);
    const test::Process second = sender(folder, 7);
    look::Looker looker(place_of(folder));
    const look::Endpoint before = endpoint_of(looker.look(), "work");
    REQUIRE(before.waiting() == 12);
    std::uint64_t cut = 0;
    for (const look::Lane& lane : before.lanes)
        if (lane.messages == 5) cut = lane.id;
    const std::string path = folder.bus() + "/lanes/" + shmbus::wire::lane_file(cut);
    SUBCASE("cut short while it is open") { std::filesystem::resize_file(path, 4096); }
    SUBCASE("cut short before it was opened") {
        std::filesystem::resize_file(path, 100);
        looker = look::Looker(place_of(folder));
    }
    SUBCASE("missing") {
        std::filesystem::remove(path);
        looker = look::Looker(place_of(folder));
    }
    const look::Endpoint after = endpoint_of(looker.look(), "work");
    CHECK(after.is_damaged());
    for (const look::Lane& lane : after.lanes) {
        CHECK((lane.sight == look::Sight::damaged) == (lane.id == cut));
        CHECK(lane.trouble.empty() == (lane.id != cut));
        if (lane.messages == 7) CHECK(lane.waiting == 7);
    }
}

TEST_CASE("an inbox that is cut short is damaged, not empty") {
    const test::Folder folder;
    test::Daemon daemon(folder.bus());
    const test::Process working = worker(folder, 0);
    look::Looker looker(place_of(folder));
    const look::Endpoint before = endpoint_of(looker.look(), "work");
    std::filesystem::resize_file(
        folder.bus() + "/inboxes/" + shmbus::wire::numbered_file(before.reference), 5000);
    const look::Endpoint after = endpoint_of(looker.look(), "work");
    CHECK(after.sight == look::Sight::damaged);
    CHECK_FALSE(after.trouble.empty());
}

TEST_CASE("a message in a hand is seen there, with its holder and its type") {
    const test::Folder folder;
    test::Daemon daemon(folder.bus());
    const test::Process sending = [&] {
        const test::Process first = worker(folder, 0);
        return sender(folder, 200);
    }();
    // By then it takes several at a time: of those in its hand some are done.
    test::Process holding = test::fork_child([&folder] {
        auto& bus = *new Bus(open_bus(folder, "holder"));
        auto& endpoint = *new shmbus::Endpoint(bus.endpoint("work"));
        endpoint.on<Job>([](const Job& job) {
            while (job.number == 100) ::pause();
        });
        // In the child's own thread nothing would ever answer.
        new std::thread([&endpoint] {
            for (;;)
                if (endpoint.poll() == 0) endpoint.wait(1ms);
        });
    });
    look::Looker looker(place_of(folder));
    look::Snapshot seen;
    CHECK(eventually([&] {
        seen = looker.look();
        return endpoint_of(seen, "work").settled == 99;
    }));
    const look::Endpoint& work = endpoint_of(seen, "work");
    REQUIRE(work.hands.size() == 1);
    CHECK(seen.process_name(work.hands[0].process) == "holder");
    CHECK(work.hands[0].held_ns.value_or(~0ULL) < 60'000'000'000);
    CHECK(work.hands[0].done > 0);
    CHECK(work.depth() == 101);
    CHECK(work.received() == 200);
    REQUIRE(work.types_in_hand.size() == 1);
    CHECK(seen.type_name(work.types_in_hand.begin()->first) == "look.job");
    CHECK(work.types_in_hand.begin()->second == work.in_hand());
    // The others, too, are shown as they lie, and stay where they are.
    const auto messages = looker.messages(seen, work, 1000);
    REQUIRE(messages.size() == 101);
    CHECK(messages.front().holder == work.hands[0].process);
    CHECK(messages.front().text == "number=100");
    CHECK(messages.back().holder == 0);
    CHECK(messages.back().text == "number=200");
    CHECK(seen.process_name(messages.back().sender) == "sender");
    CHECK(looker.messages(seen, work, 2).size() == 2);
    CHECK(endpoint_of(looker.look(), "work").depth() == 101);
    holding.kill();
    seen = looker.look();
    CHECK(endpoint_of(seen, "work").depth() == 101);
    CHECK(process_of(seen, "holder").life == look::Life::dead);
}

// The daemon's part is played here: each message is in its lane before the number says less.
TEST_CASE("what comes from the disk into a lane is in the depth all the time") {
    const test::Folder folder;
    test::Daemon daemon(folder.bus());
    const test::Process working = worker(folder, 0);
    shmbus::BusOptions options;
    options.start_daemon = false;
    options.lane_bytes = std::size_t{1} << 18;
    Bus bus = Bus::open(folder.bus(), options);
    look::Looker looker(place_of(folder));
    shmbus::lane::InboxAdmin admin(shmbus::base::File::open_at(
        shmbus::base::File::open_directory(folder.bus() + "/inboxes").fd(),
        shmbus::wire::numbered_file(endpoint_of(looker.look(), "work").reference),
        shmbus::base::Access::read_write));
    std::atomic<std::uint64_t> left;
    const auto move_one = [&] {
        bus.send(Job{left}).value();
        admin.tell_on_disk(--left);
    };
    std::function<void()> move_all;
    SUBCASE("a lane that is there") {
        left = 2000;
        move_all = [&] {
            // Slowly, so that many looks see some of it.
            for (; left > 0; std::this_thread::sleep_for(1us)) move_one();
        };
    }
    SUBCASE("a lane that is made for it") {
        left = 200;
        move_all = [&] {
            // Each thread keeps its lane until the last one has its own.
            std::vector<std::jthread> writers;
            for (std::uint64_t before = left; before > 0; --before) {
                writers.emplace_back([&] {
                    move_one();
                    for (std::uint64_t now = left; now > 0; now = left) left.wait(now);
                });
                while (left == before) std::this_thread::sleep_for(1us);
            }
            left.notify_all();
        };
    }
    const std::uint64_t all = left;
    admin.tell_on_disk(all);
    std::jthread mover(move_all);
    std::uint64_t least = all;
    while (left > 0) least = std::min(least, endpoint_of(looker.look(), "work").depth());
    CHECK(least == all);
    mover.join();
    const look::Snapshot seen = looker.look();
    CHECK(endpoint_of(seen, "work").on_disk == 0);
    CHECK(endpoint_of(seen, "work").depth() == all);
}

TEST_CASE("messages that are packed behind one header are counted each") {
    const test::Folder folder;
    test::Daemon daemon(folder.bus());
    const test::Process first = worker(folder, 0);
    const test::Process sending = test::fork_child([&folder] {
        auto& bus = *new Bus(open_bus(folder, "sender"));
        const std::vector<Job> jobs{{1}, {2}, {3}, {4}, {5}, {6}, {7}};
        bus.send_batch(std::span<const Job>(jobs)).value();
    });
    look::Looker looker(place_of(folder));
    look::Snapshot seen = looker.look();
    CHECK(endpoint_of(seen, "work").waiting() == 7);
    const auto messages = looker.messages(seen, endpoint_of(seen, "work"), 10);
    REQUIRE(messages.size() == 1);
    CHECK(messages[0].count == 7);
    const test::Process holding = test::fork_child([&folder] {
        auto& bus = *new Bus(open_bus(folder, "holder"));
        auto& endpoint = *new shmbus::Endpoint(bus.endpoint("work"));
        endpoint.on<Job>([](const Job&) {
            for (;;) ::pause();
        });
        new std::thread([&endpoint] { endpoint.poll(); });
    });
    CHECK(eventually([&] {
        seen = looker.look();
        // Taken while it was looked at, it is seen in the lane and in the hand.
        return endpoint_of(seen, "work").in_hand() == 7 && endpoint_of(seen, "work").depth() == 7;
    }));
}

TEST_CASE("a bus that is not there is told from one that cannot be read") {
    const test::Folder folder;
    CHECK_THROWS_AS(static_cast<void>(look::look(place_of(folder))), look::NoBus);
    std::filesystem::create_directory(folder.bus());
    CHECK_THROWS_AS(static_cast<void>(look::look(place_of(folder))), look::NoBus);
    for (const char* name : {"participants", "inboxes", "lanes"})
        std::filesystem::create_directory(folder.bus() + "/" + name);
    std::ofstream(folder.bus() + "/directory") << "this is none";
    bool is_no_bus = false;
    bool is_unreadable = false;
    try {
        static_cast<void>(look::look(place_of(folder)));
    } catch (const look::NoBus&) {
        is_no_bus = true;
    } catch (const shmbus::SetupError&) {
        is_unreadable = true;
    }
    CHECK_FALSE(is_no_bus);
    CHECK(is_unreadable);
}

TEST_CASE("a bus that goes away and comes again is found again") {
    const test::Folder folder;
    look::Looker looker(place_of(folder));
    {
        test::Daemon daemon(folder.bus());
        const test::Process working = worker(folder, 0);
        CHECK(endpoint_of(looker.look(), "work").consumers.size() == 1);
    }
    std::filesystem::remove_all(folder.bus());
    CHECK_THROWS_AS(static_cast<void>(looker.look()), look::NoBus);
    test::Daemon daemon(folder.bus());
    CHECK(looker.look().endpoints.empty());
}

TEST_CASE("a name that was scribbled on is no reason to print nothing") {
    look::Snapshot seen;
    seen.name = "shop";
    seen.endpoints.emplace_back().name = "sa\xff\xc3les";
    CHECK(look::json_text(seen, {}).find("sa") != std::string::npos);
}

TEST_CASE("times of a type are a family of their own in the metrics, so that sums stay sums") {
    look::Snapshot seen;
    seen.types.emplace_back().name = "shop.order";
    seen.types.back().index = 7;
    seen.endpoints.emplace_back().name = "sales";
    look::Metrics& metrics = seen.endpoints[0].metrics;
    metrics.processing_ns = look::Histogram({{990, 1009, 4}, {90'000, 91'000, 1}});
    metrics.times[7].processing_ns = look::Histogram({{990, 1009, 3}});
    const std::string text = look::openmetrics(seen);
    const auto has = [&](const std::string& line) { return text.find(line) != std::string::npos; };
    CHECK(has("shmbus_endpoint_processing_seconds_count{bus=\"\",endpoint=\"sales\",kind="
              "\"ordinary\",reference=\"0.0\"} 5\n"));
    const std::string labels = "{bus=\"\",endpoint=\"sales\",kind=\"ordinary\",reference=\"0.0\","
                               "type=\"shop.order\"";
    CHECK(has("shmbus_endpoint_type_processing_seconds_count" + labels + "} 3\n"));
    CHECK(has("shmbus_endpoint_type_processing_seconds_bucket" + labels + ",le=\"2.5e-06\"} 3\n"));
    CHECK(has("shmbus_endpoint_type_processing_seconds_bucket" + labels + ",le=\"5e-07\"} 0\n"));
    CHECK_FALSE(has("shmbus_endpoint_type_critical_seconds_count"));
    const std::string json = look::json_text(seen, {});
    CHECK(json.find("\"times_by_type\":{\"shop.order\":{\"processing_ns\":{\"count\":3,") !=
          std::string::npos);
}

TEST_CASE("times of a lane are a family of their own, of those lanes alone that have some") {
    look::Snapshot seen;
    seen.endpoints.emplace_back().name = "sales";
    look::Endpoint& sales = seen.endpoints[0];
    sales.metrics.processing_ns = look::Histogram({{990, 1009, 4}, {90'000, 91'000, 1}});
    sales.lanes.resize(2);
    sales.lanes[0].id = 0x11;
    sales.lanes[0].times.wait_ns = look::Histogram({{990, 1009, 3}});
    sales.lanes[1].id = 0x12;
    const std::string text = look::openmetrics(seen);
    const auto has = [&](const std::string& line) { return text.find(line) != std::string::npos; };
    const std::string labels = "{bus=\"\",endpoint=\"sales\",kind=\"ordinary\",reference=\"0.0\","
                               "lane=\"0000000000000011\",writer=\"0.0\"";
    CHECK(has("shmbus_lane_queue_wait_seconds_count" + labels + "} 3\n"));
    CHECK(has("shmbus_lane_queue_wait_seconds_bucket" + labels + ",le=\"2.5e-06\"} 3\n"));
    CHECK(has("shmbus_lane_queue_wait_seconds_bucket" + labels + ",le=\"5e-07\"} 0\n"));
    CHECK_FALSE(has("shmbus_lane_processing_seconds_count"));
    CHECK(text.find("_seconds_count", text.find("lane=\"0000000000000012\"")) ==
          std::string::npos);
    const std::string json = look::json_text(seen, {});
    CHECK(json.find("\"wait_ns\":{\"count\":3,") != std::string::npos);
}

TEST_CASE("times of lanes are read where they are asked for, and counted from look to look") {
    const test::Folder folder;
    test::Daemon daemon(folder.bus());
    shmbus::BusOptions options;
    options.start_daemon = false;
    options.time_sent_every = 1;
    Bus bus = Bus::open(folder.bus(), options);
    shmbus::Endpoint endpoint = bus.endpoint("work");
    endpoint.on<Job>([](const Job&) {});
    const auto handle = [&](int count) {
        for (int i = 0; i < count; ++i) bus.send(Job{}).value();
        for (int handled = 0; handled < count;) handled += static_cast<int>(endpoint.poll());
    };
    handle(3);
    look::Looker looker(place_of(folder));
    const auto lane_in = [](const look::Snapshot& seen) {
        REQUIRE(endpoint_of(seen, "work").lanes.size() == 1);
        return endpoint_of(seen, "work").lanes[0];
    };
    const look::Snapshot without = looker.look();
    CHECK(lane_in(without).times.critical_ns.empty());
    const look::Apart here{.endpoint = endpoint_of(without, "work").reference};
    const look::Snapshot first = looker.look(here);
    CHECK(lane_in(first).times.critical_ns.count() == 3);
    CHECK(lane_in(first).times.wait_ns.count() == 3);
    CHECK(lane_in(first).times.processing_ns.count() ==
          endpoint_of(first, "work").metrics.processing_ns.count());
    handle(5);
    const look::Snapshot second = looker.look(here);
    const std::uint64_t id = lane_in(second).id;
    CHECK(look::rates_of(first, second).lanes[id].times.critical_ns.count() == 5);
    // What was not read before is not new because of that.
    CHECK(look::rates_of(without, second).lanes[id].times.critical_ns.empty());
    CHECK(endpoint_of(looker.look({.endpoint = here.endpoint + 1}), "work")
              .lanes[0].times.critical_ns.empty());
    const look::Snapshot all = looker.look(look::apart_everywhere);
    CHECK(lane_in(all).times.critical_ns.count() == 8);
    const std::uint32_t type = all.types[0].index;
    CHECK(all.types[0].times.critical_ns.count() == 8);
    CHECK(look::rates_of(without, all).types[type].times.critical_ns.empty());
    handle(2);
    const look::Snapshot last = looker.look(look::apart_everywhere);
    const look::Rates rates = look::rates_of(all, last);
    CHECK(rates.types.at(type).times.critical_ns.count() == 2);
    const auto json = look::json_of(last, rates);
    const auto work = std::ranges::find_if(
        json["endpoints"], [](const auto& one) { return one["name"] == "work"; });
    REQUIRE(work != json["endpoints"].end());
    for (const auto* one : {&json["types"][0], &(*work)["lanes"][0]}) {
        CHECK((*one)["interval"]["critical_ns"]["count"] == 2);
        CHECK((*one)["critical_ns"]["count"] == 10);
    }
    CHECK(look::json_of(last, {})["types"][0]["interval"]["critical_ns"].is_null());
}

TEST_CASE("names with quotes and backslashes stay one label in the metrics") {
    look::Snapshot seen;
    seen.name = "a\"b\\c\nd";
    seen.daemon.life = look::Life::alive;
    const std::string text = look::openmetrics(seen);
    CHECK(text.find("shmbus_daemon_up{bus=\"a\\\"b\\\\c\\nd\"} 1\n") != std::string::npos);
    CHECK(text.ends_with("# EOF\n"));
}
}
