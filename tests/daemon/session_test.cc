// What a process gets from the daemon, before and after the daemon's death.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <shmbus/bus.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/fixture.h"
#include "lane/lane_file.h"
#include "lane/writer.h"
#include "wire/record.h"

using namespace std::chrono_literals;
using shmbus::ErrorCode;
using shmbus::detail::EndpointHandle;
using test::Daemon;
using test::Folder;

namespace {

struct Told {
    static constexpr auto message = shmbus::command("test.told", shmbus::transient);
    std::uint64_t number;
    static constexpr auto fields = shmbus::fields(shmbus::field<&Told::number>("number"));
};

std::string reason(const shmbus::Error& error) {
    return error.details() ? error.details()->reason : std::string();
}

cpu_set_t cores_of(pid_t process) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    REQUIRE(::sched_getaffinity(process, sizeof(cores), &cores) == 0);
    return cores;
}

// Which queue of the disk it is served from, and its place there.
long place_at_disk(pid_t process) {
    constexpr int of_process = 1;
    return ::syscall(SYS_ioprio_get, of_process, process);
}

// As users start what has a core for itself, or what shall disturb nobody; then joins, for which
// the daemon has to be started. What that one is scheduled by is told by its pid.
int start_daemon_from_a_corner(const std::string& bus) {
    cpu_set_t one;
    CPU_ZERO(&one);
    const cpu_set_t all = cores_of(0);
    for (int core = 0; core < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++core)
        if (CPU_ISSET(core, &all)) CPU_SET(core, &one);
    constexpr int of_process = 1;
    constexpr int idle_class = 3 << 13;
    const sched_param usual{};
    if (::sched_setaffinity(0, sizeof(one), &one) != 0 ||
        ::sched_setscheduler(0, SCHED_BATCH, &usual) != 0 ||
        ::syscall(SYS_ioprio_set, of_process, 0, idle_class) != 0)
        return 1;
    auto session = test::join(bus, 5s, true);
    const auto daemon = static_cast<pid_t>(session->status().value().daemon_pid);
    const cpu_set_t theirs = cores_of(daemon);
    const cpu_set_t first = cores_of(1);
    // What we get of them: our control group may have fewer.
    if (::sched_setaffinity(0, sizeof(first), &first) != 0) return 1;
    const cpu_set_t ours = cores_of(0);
    const bool is_free = CPU_EQUAL(&theirs, &ours) != 0;
    const bool is_usual = ::sched_getscheduler(daemon) == SCHED_OTHER;
    const bool is_served = place_at_disk(daemon) != idle_class;
    ::kill(daemon, SIGTERM);
    return is_free ? is_usual ? is_served ? 0 : 4 : 3 : 2;
}

// As a program whose directory is removed or unmounted behind it: started in one, with a journal
// that is named from there. 0: the daemon is in none, and the journal is where it was meant.
int start_daemon_from_a_folder(const std::string& folder) {
    const std::string here = folder + "/here";
    if (::mkdir(here.c_str(), 0700) != 0 || ::chdir(here.c_str()) != 0 ||
        ::setenv("SHMBUS_JOURNAL", "kept", 1) != 0)
        return 1;
    auto session = test::join(folder + "/bus", 5s, true);
    const auto daemon = static_cast<pid_t>(session->status().value().daemon_pid);
    const bool has_journal = session->journal().has_value();
    const bool is_there = ::access((here + "/kept").c_str(), F_OK) == 0;
    const auto where = std::filesystem::read_symlink("/proc/" + std::to_string(daemon) + "/cwd");
    ::kill(daemon, SIGTERM);
    return !has_journal ? 2 : !is_there ? 3 : where != "/" ? 4 : 0;
}

// As services that have closed what they were started with. 0: one start was enough, since what
// the daemon reported has come.
int start_daemon_without_descriptors(const std::string& folder) {
    const std::string program = folder + "/daemon";
    std::ofstream(program) << "#!/bin/sh\necho >>" << folder << "/starts\nexec "
                           << test::daemon_program() << " \"$@\"\n";
    if (::chmod(program.c_str(), 0700) != 0 ||
        ::setenv("SHMBUS_DAEMON", program.c_str(), 1) != 0)
        return 1;
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    try {
        auto session = test::join(folder + "/bus", 5s, true);
        ::kill(static_cast<pid_t>(session->status().value().daemon_pid), SIGTERM);
    } catch (const shmbus::SetupError&) {
        return 2;
    }
    return std::filesystem::file_size(folder + "/starts") == 1 ? 0 : 3;
}

// A lane is asked for with one descriptor left, then with the two that it takes.
int open_lane_without_descriptors(const std::string& bus) {
    const auto session = test::join(bus);
    const auto endpoint = session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    const rlimit few{64, 64};
    if (::setrlimit(RLIMIT_NOFILE, &few) != 0) return 1;
    int last = -1;
    for (int fd = 0; fd >= 0;) {
        fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        last = std::max(last, fd);
    }
    ::close(last);
    const auto refused = session->open_lane(endpoint.index);
    if (refused || reason(refused.error()).find("ulimit -n") == std::string::npos) return 2;
    ::close(last - 1);
    const auto opened = session->open_lane(endpoint.index);
    if (!opened) return 3;
    // The one that was made for the first request.
    return session->status().value().lanes == 1 ? 0 : 4;
}

// A process that starts the daemon finds it as it should be, and takes it away again.
void check_starter(const Folder& folder, const std::function<int()>& start) {
    const pid_t starter = ::fork();
    REQUIRE(starter >= 0);
    if (starter == 0) ::_exit(start());
    int status = 0;
    REQUIRE(::waitpid(starter, &status, 0) == starter);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(test::eventually([&] {
        return ::access((folder.bus() + "/control.sock").c_str(), F_OK) != 0;
    }));
}

std::vector<std::uint32_t> endpoints_of(const shmbus::detail::Session& session,
                                        std::uint32_t event) {
    std::vector<shmbus::directory::Subscriber> subscribers;
    std::uint64_t version = 0;
    REQUIRE(session.directory().subscribers(event, subscribers, version));
    std::vector<std::uint32_t> found;
    for (const auto& one : subscribers) found.push_back(one.endpoint);
    return found;
}

}  // namespace

TEST_SUITE("daemon") {

TEST_CASE("a process registers, makes an endpoint, and finds both in the directory") {
    const Folder folder;
    Daemon daemon(folder.bus());
    REQUIRE(daemon.trouble() == "");
    const auto session = test::join(folder.bus());
    const auto me = session->directory().participant(session->reference());
    REQUIRE(me.has_value());
    CHECK(me->name() == "test");
    CHECK(me->row.host_pid == static_cast<std::uint64_t>(::getpid()));
    const auto endpoint = session->create_endpoint("orders", {.lane_bytes = 65536});
    REQUIRE(endpoint.has_value());
    const auto found = session->directory().find_endpoint("orders");
    REQUIRE(found.has_value());
    CHECK(found->index == endpoint->index);
    CHECK(found->row.lane_bytes == 65536);
    CHECK_FALSE(session->directory().find_endpoint("order").has_value());
}

TEST_CASE("how a type's fields read is kept for tools, by a later daemon too") {
    const Folder folder;
    const auto described = [&](const shmbus::detail::Session& session, std::uint32_t index) {
        return shmbus::detail::read_description(session.folder(),
                                                session.directory().type(index)->reference());
    };
    Daemon daemon(folder.bus());
    REQUIRE(daemon.trouble() == "");
    const auto session = test::join(folder.bus());
    const auto& type = shmbus::descriptor_of<Told>;
    const auto index = session->declare_type(type);
    REQUIRE(index);
    CHECK(described(*session, *index).empty());
    REQUIRE(session->describe_type(type, *index));
    CHECK(described(*session, *index) == "number u8 0 1\n");
    REQUIRE(session->describe_type(type, *index));
    const auto unknown = session->describe_type(type, *index + 100);
    REQUIRE_FALSE(unknown);
    // Fields of another type do not lie inside a smaller one.
    shmbus::TypeDescriptor smaller{"test.smaller", shmbus::Kind::command, shmbus::transient, 4, 4,
                                   nullptr, 0, nullptr, type.fields, type.field_count};
    const auto small = session->declare_type(smaller);
    REQUIRE(small);
    const auto refused = session->describe_type(smaller, *small);
    REQUIRE_FALSE(refused);
    CHECK(reason(refused.error()).find("4 bytes") != std::string::npos);
    daemon.kill_and_restart();
    REQUIRE(daemon.trouble() == "");
    CHECK(described(*session, *index) == "number u8 0 1\n");
}

TEST_CASE("making an endpoint twice answers the first one and leaves its options") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const auto first = session->create_endpoint("orders", {.lane_bytes = 65536});
    const auto second = session->create_endpoint("orders", {.lane_bytes = 4096});
    REQUIRE((first.has_value() && second.has_value()));
    CHECK(first->index == second->index);
    CHECK(session->directory().endpoint(first->index)->row.lane_bytes == 65536);
}

TEST_CASE("a lane is opened with its size, its endpoint and a number of its own") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const EndpointHandle endpoint =
        session->create_endpoint("orders", {.lane_bytes = 65536}).value();
    auto first = session->open_lane(endpoint.index);
    auto second = session->open_lane(endpoint.index, endpoint.generation, 8192);
    REQUIRE((first.has_value() && second.has_value()));
    CHECK(first->id < second->id);
    CHECK(second->id < (std::uint64_t{1} << 52));
    const auto identity = shmbus::lane::read_lane_identity(second->lane);
    CHECK(identity.lane_id == second->id);
    CHECK(identity.capacity == 8192);
    CHECK(identity.writer == session->reference());
    CHECK(identity.endpoint == endpoint.index);
    std::vector<shmbus::directory::LaneRow> lanes;
    REQUIRE(session->directory().lanes_of(session->reference(), endpoint.index, lanes));
    CHECK(lanes.size() == 2);
}

TEST_CASE("lanes to a subscriber stand before its subscription is seen, whoever came first") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto publisher = test::join(folder.bus());
    const auto event = test::event_type("priced");
    const std::uint32_t type = publisher->declare_type(event).value();
    const EndpointHandle early =
        publisher->create_endpoint("early", {.lane_bytes = 4096}).value();
    REQUIRE(publisher->subscribe(early, type).has_value());
    CHECK(publisher->publisher(type).value() == 1);
    const EndpointHandle late = publisher->create_endpoint("late", {.lane_bytes = 4096}).value();
    REQUIRE(publisher->subscribe(late, type).has_value());
    CHECK(endpoints_of(*publisher, type) == std::vector<std::uint32_t>{early.index, late.index});
    for (const EndpointHandle endpoint : {early, late}) {
        std::vector<shmbus::directory::LaneRow> lanes;
        REQUIRE(publisher->directory().lanes_of(publisher->reference(), endpoint.index, lanes));
        REQUIRE(lanes.size() == 1);
        // The lane that was made ahead is the one that is opened.
        CHECK(publisher->open_lane(endpoint.index).value().id == lanes[0].id);
    }
    REQUIRE(publisher->unsubscribe(early, type).has_value());
    CHECK(endpoints_of(*publisher, type) == std::vector<std::uint32_t>{late.index});
}

TEST_CASE("a subscriber of a base event gets derived events once, however many ways lead there") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const auto root = test::event_type("root", 8);
    auto left = test::event_type("left", 16);
    auto right = test::event_type("right", 16);
    auto leaf = test::event_type("leaf", 40);
    const shmbus::TypeDescriptor* roots[] = {&root};
    const shmbus::TypeDescriptor* both[] = {&left, &right};
    left.bases = right.bases = roots;
    left.base_count = right.base_count = 1;
    leaf.bases = both;
    leaf.base_count = 2;
    const std::uint32_t leaf_index = session->declare_type(leaf).value();
    const std::uint32_t root_index = session->directory().find_type("root")->index;
    const std::uint32_t right_index = session->directory().find_type("right")->index;
    const EndpointHandle endpoint =
        session->create_endpoint("watcher", {.lane_bytes = 4096}).value();
    REQUIRE(session->publisher(leaf_index).has_value());
    REQUIRE(session->subscribe(endpoint, root_index, shmbus::WhenFull::drop_newest).has_value());
    REQUIRE(session->subscribe(endpoint, right_index, shmbus::WhenFull::refuse).has_value());
    std::vector<shmbus::directory::Subscriber> subscribers;
    std::uint64_t version = 0;
    REQUIRE(session->directory().subscribers(leaf_index, subscribers, version));
    REQUIRE(subscribers.size() == 1);
    CHECK(subscribers[0].policy == static_cast<std::uint8_t>(shmbus::WhenFull::refuse));
    CHECK(endpoints_of(*session, session->directory().find_type("left")->index).size() == 1);
    std::vector<shmbus::directory::LaneRow> lanes;
    REQUIRE(session->directory().lanes_of(session->reference(), endpoint.index, lanes));
    CHECK(lanes.size() == 1);
}

TEST_CASE("a second layout of a message and a second handler of a command are refused by name") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const std::uint32_t type = session->declare_type(test::command_type("pay", 32)).value();
    CHECK(session->declare_type(test::command_type("pay", 32)).value() == type);
    const auto other = session->declare_type(test::command_type("pay", 40));
    REQUIRE_FALSE(other.has_value());
    CHECK(other.error() == ErrorCode::refused);
    CHECK(reason(other.error()).find("32 bytes") != std::string::npos);
    CHECK(reason(other.error()).find("40 bytes") != std::string::npos);
    const EndpointHandle first = session->create_endpoint("tills").value();
    const EndpointHandle second = session->create_endpoint("banks").value();
    REQUIRE(session->announce(first, type).has_value());
    REQUIRE(session->announce(first, type).has_value());
    CHECK(session->directory().route(type) == first.index);
    const auto refused = session->announce(second, type);
    REQUIRE_FALSE(refused.has_value());
    CHECK(reason(refused.error()).find("'tills'") != std::string::npos);
}

TEST_CASE("places among consumers are given one by one and end with a clear refusal") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const EndpointHandle endpoint = session->create_endpoint("orders").value();
    std::set<std::uint16_t> slots;
    for (int place = 0; place < 32; ++place) slots.insert(session->attach(endpoint).value().slot);
    CHECK(slots.size() == 32);
    const auto refused = session->attach(endpoint);
    REQUIRE_FALSE(refused.has_value());
    CHECK(reason(refused.error()).find("32 times") != std::string::npos);
    REQUIRE(session->detach(endpoint, 7).has_value());
    CHECK(session->attach(endpoint).value().slot == 7);
}

TEST_CASE("a killed daemon's successor knows everything, and sessions go on by themselves") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const auto event = test::event_type("priced");
    const std::uint32_t type = session->declare_type(event).value();
    const EndpointHandle endpoint =
        session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    REQUIRE(session->subscribe(endpoint, type).has_value());
    REQUIRE(session->publisher(type).has_value());
    const auto inbox = session->attach(endpoint);
    const auto lane = session->open_lane(endpoint.index);
    const auto replies = session->reply_inbox(4096);
    REQUIRE((inbox.has_value() && lane.has_value() && replies.has_value()));
    const auto before = test::files_of_bus(folder.bus());
    const shmbus::wire::Reference me = session->reference();
    for (int round = 0; round < 3; ++round) {
        const std::uint64_t version = session->directory().version();
        daemon.kill_and_restart();
        REQUIRE(daemon.trouble() == "");
        // Nothing moved, and everything is answered as before.
        CHECK(session->directory().version() == version);
        CHECK(session->declare_type(event).value() == type);
        CHECK(session->create_endpoint("orders").value().index == endpoint.index);
        CHECK(session->reply_inbox(4096).value().slot == replies->slot);
        CHECK(session->reply_inbox(4096).value().endpoint == replies->endpoint);
        CHECK(endpoints_of(*session, type) == std::vector<std::uint32_t>{endpoint.index});
        CHECK(session->reference() == me);
        CHECK(session->directory().participant(me).has_value());
        CHECK(test::files_of_bus(folder.bus()) == before);
    }
    CHECK(session->open_lane(endpoint.index).value().id > lane->id);
}

TEST_CASE("a stopped daemon holds nobody longer than the time limit, and goes on afterwards") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus(), 300ms);
    const EndpointHandle endpoint =
        session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    daemon.process().signal(SIGSTOP);
    const auto begin = std::chrono::steady_clock::now();
    const auto late = session->open_lane(endpoint.index);
    const auto took = std::chrono::steady_clock::now() - begin;
    REQUIRE_FALSE(late.has_value());
    CHECK(late.error() == ErrorCode::timeout);
    CHECK(took >= 300ms);
    CHECK(took < 2s);
    // What needs no daemon needs no daemon.
    CHECK(session->directory().find_endpoint("orders").has_value());
    CHECK_THROWS_AS(static_cast<void>(test::join(folder.bus(), 100ms)), shmbus::SetupError);
    daemon.process().signal(SIGCONT);
    // The request that was given up was done all the same: its lane is the one that is given out.
    REQUIRE(test::eventually([&] { return session->open_lane(endpoint.index).has_value(); }));
    std::vector<shmbus::directory::LaneRow> lanes;
    REQUIRE(session->directory().lanes_of(session->reference(), endpoint.index, lanes));
    CHECK(lanes.size() == 1);
}

TEST_CASE("a daemon that was waited for in vain is not waited for again until it shows itself") {
    bool is_killed = false;
    SUBCASE("killed") { is_killed = true; }
    SUBCASE("stopped") {}
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus(), 500ms);
    const auto asks = [&] { return session->create_endpoint("orders").has_value(); };
    REQUIRE(asks());
    if (is_killed) daemon.process().kill();
    else daemon.process().signal(SIGSTOP);
    const auto begin = std::chrono::steady_clock::now();
    CHECK_FALSE(asks());
    const auto first = std::chrono::steady_clock::now();
    CHECK(first - begin >= 490ms);
    // More than a stopped daemon's socket has room for.
    for (int i = 0; i < 1000; ++i) CHECK_FALSE(asks());
    const auto all = std::chrono::steady_clock::now() - first;
    MESSAGE("1,000 more calls took " << all / 1ms << " ms");
    CHECK(all < 5s);
    if (is_killed) daemon.kill_and_restart();
    else daemon.process().signal(SIGCONT);
    CHECK(test::eventually(asks));
    // And is waited for as long as ever.
    if (is_killed) daemon.process().kill();
    else daemon.process().signal(SIGSTOP);
    const auto again = std::chrono::steady_clock::now();
    CHECK_FALSE(asks());
    CHECK(std::chrono::steady_clock::now() - again >= 490ms);
    daemon.process().signal(SIGCONT);
}

TEST_CASE("an endpoint goes only when nothing leads to it") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const std::uint32_t type = session->declare_type(test::event_type("priced")).value();
    const EndpointHandle endpoint =
        session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    REQUIRE(session->subscribe(endpoint, type).has_value());
    CHECK(reason(session->remove_endpoint(endpoint).error()).find("subscriptions") !=
          std::string::npos);
    REQUIRE(session->unsubscribe(endpoint, type).has_value());
    const std::uint16_t slot = session->attach(endpoint).value().slot;
    CHECK(reason(session->remove_endpoint(endpoint).error()).find("open") != std::string::npos);
    REQUIRE(session->detach(endpoint, slot).has_value());
    REQUIRE(session->remove_endpoint(endpoint).has_value());
    CHECK_FALSE(session->directory().find_endpoint("orders").has_value());
    CHECK(session->open_lane(endpoint.index).error() == ErrorCode::refused);
    // The row is used again, by another generation.
    const EndpointHandle next = session->create_endpoint("orders").value();
    CHECK(next.index == endpoint.index);
    CHECK(next.generation == endpoint.generation + 1);
}

TEST_CASE("an endpoint stays whose lane was taken by name, no daemon there, while it is used") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto publisher = test::join(folder.bus());
    const auto session = test::join(folder.bus());
    const std::uint32_t type = session->declare_type(test::event_type("priced")).value();
    const EndpointHandle used = session->create_endpoint("used", {.lane_bytes = 4096}).value();
    const EndpointHandle other = session->create_endpoint("other", {.lane_bytes = 4096}).value();
    REQUIRE(publisher->publisher(type).has_value());
    for (const EndpointHandle endpoint : {used, other})
        REQUIRE(session->subscribe(endpoint, type).has_value());
    std::vector<shmbus::directory::LaneRow> rows;
    REQUIRE(publisher->directory().lanes_of(publisher->reference(), used.index, rows));
    REQUIRE(rows.size() == 1);
    // As BusCore::lane_made_ahead does it.
    shmbus::lane::Writer writer(shmbus::base::File::open_at(
        publisher->folder().lanes().fd(), shmbus::wire::lane_file(rows[0].id),
        shmbus::base::Access::read_write));
    const shmbus::lane::Claim claim = writer.claim(1);
    REQUIRE(claim);
    writer.commit(claim, shmbus::wire::Meta{8, 1, 0, 0}.word());
    daemon.kill_and_restart();
    for (const EndpointHandle endpoint : {used, other})
        REQUIRE(session->unsubscribe(endpoint, type).has_value());
    const auto removed = session->remove_endpoint(used);
    REQUIRE_FALSE(removed.has_value());
    CHECK(reason(removed.error()).find("not drained") != std::string::npos);
    // The lane into this one was never touched.
    CHECK(session->remove_endpoint(other).has_value());
}

TEST_CASE("a session of a bus that was removed is not taken for one of the bus in its place") {
    const Folder folder;
    Daemon before(folder.bus());
    const auto old_one = test::join(folder.bus());
    before.process().kill();
    std::filesystem::remove_all(folder.bus());
    Daemon after(folder.bus());
    const auto new_one = test::join(folder.bus());
    // By its number alone it would be that one.
    REQUIRE(new_one->reference() == old_one->reference());
    const auto made = old_one->create_endpoint("orders");
    REQUIRE_FALSE(made.has_value());
    CHECK(reason(made.error()).find("another bus") != std::string::npos);
    CHECK_FALSE(new_one->directory().find_endpoint("orders").has_value());
    CHECK(new_one->create_endpoint("orders").has_value());
}

TEST_CASE("what was made with longer lanes than a new limit allows goes on with those") {
    const Folder folder;
    Daemon before(folder.bus());
    const auto session = test::join(folder.bus());
    const EndpointHandle there =
        session->create_endpoint("orders", {.lane_bytes = 1 << 20}).value();
    before.process().kill();
    const std::string file = folder.path() + "/config.toml";
    std::ofstream(file) << "most_lane_bytes = 65536\n";
    Daemon after(folder.bus(), {"--config", file});
    REQUIRE(after.trouble() == "");
    const auto again = session->create_endpoint("orders", {.lane_bytes = 1 << 20});
    REQUIRE(again.has_value());
    CHECK(again->index == there.index);
    const auto lane = session->open_lane(there.index);
    REQUIRE(lane.has_value());
    CHECK(lane->capacity == 1 << 20);
    CHECK(session->open_lane(there.index, 0, 2 << 20).error() == ErrorCode::refused);
    // What says nothing is made within it.
    const auto other = session->create_endpoint("other");
    REQUIRE(other.has_value());
    CHECK(session->open_lane(other->index).value().capacity == 65536);
    CHECK(session->reply_inbox().has_value());
    CHECK(session->create_endpoint("third", {.lane_bytes = 1 << 17}).error() ==
          ErrorCode::refused);
}

TEST_CASE("a program that says nothing of its lanes gets those that are configured") {
    const Folder folder;
    const std::string file = folder.path() + "/config.toml";
    std::ofstream(file) << "default_lane_bytes = 16384\nmost_lane_bytes = 65536\n";
    Daemon daemon(folder.bus(), {"--config", file});
    REQUIRE(daemon.trouble() == "");
    shmbus::Bus bus = shmbus::Bus::open(folder.bus());
    const shmbus::Endpoint endpoint = bus.endpoint("orders");
    const auto session = test::join(folder.bus());
    const auto there = session->create_endpoint("orders");
    REQUIRE(there.has_value());
    CHECK(session->open_lane(there->index).value().capacity == 16384);
}

TEST_CASE("an endpoint can subscribe though a publisher may have no more lanes") {
    const Folder folder;
    const std::string file = folder.path() + "/config.toml";
    std::ofstream(file) << "[quotas.owner]\nlanes = 1\n";
    Daemon daemon(folder.bus(), {"--config", file});
    const auto publisher = test::join(folder.bus());
    const auto session = test::join(folder.bus());
    const std::uint32_t type = session->declare_type(test::event_type("priced")).value();
    REQUIRE(publisher->publisher(type).has_value());
    for (const char* name : {"one", "two"}) {
        const EndpointHandle made = session->create_endpoint(name, {.lane_bytes = 4096}).value();
        CHECK(session->subscribe(made, type).has_value());
    }
    std::vector<shmbus::directory::SubscriptionRow> subscriptions;
    REQUIRE(session->directory().subscriptions(subscriptions));
    CHECK(subscriptions.size() == 2);
    CHECK(session->status().value().lanes == 1);
}

TEST_CASE("a session without a daemon says so, and starts one when it may") {
    const Folder folder;
    CHECK_THROWS_AS(static_cast<void>(test::join(folder.bus(), 500ms)), shmbus::SetupError);
    auto session = test::join(folder.bus(), 5s, true);
    const auto status = session->status();
    REQUIRE(status.has_value());
    CHECK(status->participants == 1);
    const std::string socket = folder.bus() + "/control.sock";
    const auto daemon = static_cast<pid_t>(status->daemon_pid);
    ::kill(daemon, SIGKILL);
    // Not our child: its end shows when another one has taken its place.
    REQUIRE(test::eventually([&] {
        const auto again = session->status();
        return again.has_value() && static_cast<pid_t>(again->daemon_pid) != daemon;
    }));
    CHECK(session->directory().participant(session->reference()).has_value());
    ::kill(static_cast<pid_t>(session->status().value().daemon_pid), SIGTERM);
    CHECK(test::eventually([&] { return ::access(socket.c_str(), F_OK) != 0; }));
}

TEST_CASE("a daemon that the library starts runs beside its starter, not on its core alone") {
    const Folder folder;
    INFO("1: no corner, 2: cores, 3: class, 4: disk");
    check_starter(folder, [&] { return start_daemon_from_a_corner(folder.bus()); });
}

TEST_CASE("a daemon that the library starts stays in no folder, and finds what was named there") {
    const Folder folder;
    INFO("1: no folder, 2: no journal, 3: it is elsewhere, 4: in a folder");
    check_starter(folder, [&] { return start_daemon_from_a_folder(folder.path()); });
}

TEST_CASE("a process that has closed its standard descriptors can start a daemon") {
    const Folder folder;
    INFO("1: no program, 2: not joined, 3: started again and again");
    check_starter(folder, [&] { return start_daemon_without_descriptors(folder.path()); });
}

TEST_CASE("a process without a descriptor for what the daemon hands out is told so") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) ::_exit(open_lane_without_descriptors(folder.bus()));
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    INFO("1: no limit, 2: another reason, 3: not afterwards either, 4: another lane");
    CHECK(WEXITSTATUS(status) == 0);
}

}  // TEST_SUITE
