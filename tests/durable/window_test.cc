// The lanes out of the journal, which are windows: larger than what may be handed out, damaged,
// followed by others, and left behind by a killed daemon.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flaky_storage.h"
#include "lane/lane_file.h"
#include "lane/onlooker.h"
#include "served_bus.h"
#include "wire/names.h"
#include "worker.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Endpoint;

namespace {

// A consumer of texts, whose lanes are made for short ones.
struct Reader {
    explicit Reader(Bus& bus) : endpoint(bus.endpoint("long", small_lanes())) {
        endpoint.on<Text>([this](const Text& text) { came.push_back(text.text.size()); });
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    static shmbus::EndpointOptions small_lanes() {
        shmbus::EndpointOptions options;
        options.lane_bytes = 4096;
        return options;
    }
    Endpoint endpoint;
    std::vector<std::size_t> came;  // the length of each
};

// The first one is handled, and so is known as that, when this daemon is killed.
void read_one(ServedBus& served, Bus& bus, Reader& reader) {
    REQUIRE(bus.send(Text{"1"}));
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(reader.endpoint, [&] { return reader.came.size() == 1; }));
    served.kill_daemon();
}

[[nodiscard]] bool is_in_order(const std::vector<std::uint64_t>& order) {
    for (std::uint64_t at = 0; at < order.size(); ++at)
        if (order[at] != at + 1) return false;
    return true;
}

// Of the worker: what the daemon tells to be on disk, and what waits in its lanes.
[[nodiscard]] std::uint64_t depth_of_worker(const ServedBus& served) {
    using shmbus::base::Access;
    std::uint64_t depth = shmbus::lane::on_disk(shmbus::base::File::open_at(
        AT_FDCWD,
        served.directory() + "/inboxes/" +
            shmbus::wire::numbered_file(served.rows().find_endpoint("worker")->reference()),
        Access::read_only));
    for (const std::string& lane : served.lanes_out())
        depth += shmbus::lane::LaneOnlooker(
                     shmbus::base::File::open_at(AT_FDCWD, lane, Access::read_only))
                     .count()
                     .waiting;
    return depth;
}

[[nodiscard]] std::size_t files_in(const std::string& folder) {
    const std::filesystem::directory_iterator all(folder);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// The daemon has looked at everything that is due after a death, twice.
void wait_until_swept(const ServedBus& served) {
    const std::string pages = served.directory() + "/participants";
    const std::size_t before = files_in(pages);
    for (int time = 0; time < 2; ++time) {
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            const Bus short_lived = served.open();
            ::_exit(0);
        }
        int status = -1;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(status == 0);
        REQUIRE(wait_until([&] { return files_in(pages) == before; }));
    }
}

}  // namespace

TEST_CASE("what was handled while no daemon ran is settled, however much, and the rest comes") {
    ServedBus served;
    served.config.journal_segment_bytes = 4 << 20;
    served.serve();
    Bus bus = served.open();
    shmbus::EndpointOptions options;
    options.lane_bytes = 32 << 20;
    Worker worker(bus, options);
    // More than the journal lets out unsettled, in a lane that would take them all.
    constexpr std::uint64_t most_out = 65'536;
    constexpr std::uint64_t count = most_out + 5'000;
    send_numbers(bus, 1, count);
    REQUIRE(wait_until([&] { return served.rests(); }));
    served.kill_daemon();
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.order.size() == most_out; }));
    CHECK(worker.endpoint.poll() == 0);
    // Nobody sends anything.
    served.serve();
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.order.size() == count; }));
    CHECK(is_in_order(worker.order));
    CHECK(worker.marked() == 0);
}

TEST_CASE("the daemon's memory does not grow with the backlog, and all of it comes in order") {
    const auto most_with = [](std::uint64_t backlog) {
        // The daemon is forked from here: what this process has freed and keeps would count as its.
        ::malloc_trim(0);
        ServedBus served;
        served.config.journal_segment_bytes = 1 << 20;
        served.serve();
        Bus bus = served.open();
        Worker worker(bus);
        send_numbers(bus, 1, backlog);
        REQUIRE(handle_until(worker.endpoint, [&] { return worker.order.size() == backlog; }));
        CHECK(is_in_order(worker.order));
        CHECK(worker.marked() == 0);
        return served.most_resident();
    };
    // Of three: what is in the air at the busiest moment differs by 2 MiB from one to the next.
    const std::uint64_t few =
        std::max({most_with(100'000), most_with(100'000), most_with(100'000)});
    const std::uint64_t many = most_with(500'000);
    MESSAGE("the daemon had ", few >> 10, " KiB with 100,000, ", many >> 10, " KiB with 500,000");
    // A word for each message would be three times as much.
    CHECK(many < few + (std::uint64_t{1} << 20));
}

TEST_CASE("what was handled is settled on disk, by this daemon or the next, in a quiet bus") {
    ServedBus served;
    bool dies = false;
    SUBCASE("while the daemon runs") {}
    SUBCASE("while no daemon ran") { dies = true; }
    {
        served.serve();
        Bus bus = served.open();
        Worker worker(bus);
        send_numbers(bus, 1, 100);
        REQUIRE(wait_until([&] { return served.rests(); }));
        if (dies) served.kill_daemon();
        REQUIRE(handle_until(worker.endpoint, [&] { return worker.order.size() == 100; }));
        if (dies) served.serve();
        REQUIRE(wait_until([&] { return served.rests(); }));
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    Worker worker(bus);
    send_numbers(bus, 101, 101);
    REQUIRE(handle_until(worker.endpoint, [&] { return !worker.order.empty(); }));
    CHECK(worker.order == std::vector<std::uint64_t>{101});
}

TEST_CASE("a damaged lane out of the journal is replaced; what it carried comes again, marked") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 100);
    bool dies = false;
    SUBCASE("while the daemon lives") {}
    SUBCASE("and the daemon is killed") { dies = true; }
    REQUIRE(wait_until([&] { return served.rests(); }));
    const std::vector<std::string> lanes = served.lanes_out();
    REQUIRE(lanes.size() == 1);
    REQUIRE(::truncate(lanes.front().c_str(), 4096) == 0);
    // Goes into another lane, whose last LSN says nothing of the first lane's.
    send_numbers(bus, 101, 200);
    if (dies) {
        served.kill_daemon();
        served.serve();
    }
    Worker worker(bus);
    REQUIRE(handle_until(worker.endpoint, [&] {
        const std::set<std::uint64_t> seen(worker.order.begin(), worker.order.end());
        return seen.size() == 200;
    }));
    CHECK(worker.marked() >= 100);
    send_numbers(bus, 201, 300);
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.order.back() == 300; }));
}

TEST_CASE("a damaged lane is not forgotten before what it carried is in another, killed or not") {
    ServedBus served;
    served.config.default_lane_bytes = 4096;  // less than all that waits
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 20);
    REQUIRE(wait_until([&] { return served.rests(); }));
    const std::vector<std::string> lanes = served.lanes_out();
    REQUIRE(lanes.size() == 1);
    REQUIRE(::truncate(lanes.front().c_str(), 4096) == 0);
    send_numbers(bus, 21, 220);  // fills the lane that follows
    wait_until_swept(served);
    served.kill_daemon();
    served.serve();
    Worker worker(bus);
    REQUIRE(handle_until(worker.endpoint, [&] {
        const std::set<std::uint64_t> seen(worker.order.begin(), worker.order.end());
        return seen.size() == 220;
    }));
    CHECK(worker.marked() >= 20);
    // Then it goes.
    REQUIRE(wait_until([&] { return !std::filesystem::exists(lanes.front()); }));
}

TEST_CASE("what was on disk is told to be there until it is in a lane, at each step") {
    constexpr std::uint64_t count = 200;
    int deaths = 0;
    for (const std::string step : {"rows committed", "settled", "committed", "written", "published",
                                   "filled"})
        for (const std::uint64_t at : {1U, 10U}) {
            INFO("killed at " << step << " " << at);
            ServedBus served;
            served.serve();
            Bus bus = served.open();
            shmbus::EndpointOptions options;
            options.lane_bytes = 4096;
            Worker worker(bus, options);
            send_numbers(bus, 1, count);
            REQUIRE(wait_until([&] { return served.rests(); }));
            REQUIRE(depth_of_worker(served) == count);
            served.kill_daemon();
            // Makes room, that the next one fills.
            while (worker.endpoint.poll() != 0) {}
            const std::uint64_t left = count - worker.order.size();
            REQUIRE(left < count);
            REQUIRE(depth_of_worker(served) == left);
            served.serve(at, step.c_str());
            REQUIRE(wait_until([&] { return served.daemon_has_died() || served.rests(); }));
            CHECK(depth_of_worker(served) >= left);
            if (served.daemon_has_died()) {
                ++deaths;
                served.serve();
            }
            REQUIRE(wait_until([&] { return served.rests(); }));
            CHECK(depth_of_worker(served) == left);
        }
    MESSAGE("killed at " << deaths << " steps");
    CHECK(deaths >= 8);
}

TEST_CASE("the longest message goes through where no lane may be longer than the sender's") {
    ServedBus served;
    served.config.most_lane_bytes = 64 << 10;
    served.config.journal_lane_bytes = 64 << 10;
    served.serve();
    Bus bus = served.open();
    Reader reader(bus);
    const auto refused = bus.send(Text{std::string(1 << 20, 'x')});
    REQUIRE(refused.error() == shmbus::ErrorCode::too_large);
    const std::size_t limit = refused.error().details()->limit_bytes;
    CHECK(limit > 7'000);
    REQUIRE(bus.send(Text{std::string(limit, 'x')}));
    REQUIRE(bus.send(Text{"short"}));
    REQUIRE(handle_until(reader.endpoint, [&] { return reader.came.size() == 2; }));
    CHECK(reader.came == std::vector<std::size_t>{limit, 5});
}

TEST_CASE("what the last daemon saw handled does not come again though its lane went meanwhile") {
    ServedBus served;
    served.config.default_lane_bytes = 4096;
    Weather& weather = give_weather(served);
    served.serve();
    Bus bus = served.open();
    Reader reader(bus);
    read_one(served, bus, reader);
    REQUIRE(bus.send(Text{std::string(500, 'x')}));
    REQUIRE(bus.send(Text{std::string(2'000, 'x')}));
    // The longer one goes into another lane, and is not there yet.
    served.serve(2, "written");
    REQUIRE(wait_until([&] { return served.daemon_has_died(); }));
    REQUIRE(served.lanes_out().size() == 2);
    while (reader.endpoint.poll() != 0) continue;
    CHECK(reader.came == std::vector<std::size_t>{1, 500});
    // A daemon that clears lanes away and has no journal to tell of them.
    weather.sync = EIO;
    served.serve();
    for (int sweeps = 0; sweeps < 3; ++sweeps) {
        const std::size_t before = files_in(served.directory() + "/participants");
        static_cast<void>(served.open());
        REQUIRE(wait_until(
            [&] { return files_in(served.directory() + "/participants") == before; }));
    }
    weather.sync = 0;
    REQUIRE(handle_until(reader.endpoint, [&] { return reader.came.back() == 2'000; }));
    CHECK(reader.came == std::vector<std::size_t>{1, 500, 2'000});
}

TEST_CASE("longer and longer messages make lane after lane, killed at each step, in order") {
    std::uint64_t steps = 0;
    // Ends: when the daemon lives through all of it.
    for (std::uint64_t at = 1;; ++at) {
        ServedBus served;
        served.serve();
        Bus bus = served.open();
        Reader reader(bus);
        read_one(served, bus, reader);
        std::vector<std::size_t> sent{1};
        for (const std::size_t length : {900U, 1'900U, 3'900U, 7'900U, 20U}) {
            REQUIRE(bus.send(Text{std::string(length, 'x')}));
            sent.push_back(length);
        }
        served.serve(at);
        bool died = false;
        const auto all = [&] {
            if (served.daemon_has_died()) {
                died = true;
                // What is in the lanes is handled without a daemon.
                while (reader.endpoint.poll() != 0) {}
                served.serve();
            }
            return reader.came.size() >= sent.size();
        };
        INFO("killed at step " << at);
        REQUIRE(handle_until(reader.endpoint, all));
        // And by another one, after what retires lanes has had its turns.
        REQUIRE(wait_until([&] { return served.rests(); }));
        served.kill_daemon();
        served.serve();
        REQUIRE(bus.send(Text{"end"}));
        sent.push_back(3);
        REQUIRE(handle_until(reader.endpoint, [&] { return reader.came.size() >= sent.size(); }));
        REQUIRE(reader.came == sent);
        if (!died) break;
        ++steps;
    }
    MESSAGE("killed at " << steps << " steps");
    CHECK(steps >= 30);
}

}  // namespace durable_tests
