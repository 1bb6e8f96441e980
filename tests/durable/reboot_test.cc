// Reboots: everything in memory is gone, and the journal brings it back.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "bus/locate.h"
#include "bus/session.h"
#include "flaky_storage.h"
#include "journal/journal.h"
#include "lane/layout.h"
#include "served_bus.h"
#include "wire/names.h"
#include "worker.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Endpoint;

namespace {

struct Passing {
    static constexpr auto message = shmbus::command("test.passing", shmbus::transient);
    std::uint64_t number = 0;
};
struct Passed {
    static constexpr auto message = shmbus::event("test.passed", shmbus::transient);
    std::uint64_t number = 0;
};

struct Told {
    static constexpr auto message = shmbus::command("test.told", shmbus::durable);
    std::uint64_t number = 0;
    static constexpr auto fields = shmbus::fields(shmbus::field<&Told::number>("number"));
};

// The same type in another version of the program.
struct ToldOtherwise {
    static constexpr auto message = Told::message;
    std::uint64_t serial = 0;
    static constexpr auto fields = shmbus::fields(shmbus::field<&ToldOtherwise::serial>("serial"));
};

// What is to come back: every byte of it, under its number.
[[nodiscard]] std::vector<std::string> rows_of(const ServedBus& served) {
    namespace directory = shmbus::directory;
    const directory::DirectoryReader reader = served.rows();
    std::vector<std::string> found;
    const auto add = [&](const char* table, std::uint32_t index, const auto& row) {
        found.push_back(std::string(table) + " " + std::to_string(index) + " " +
                        std::string(reinterpret_cast<const char*>(&row), sizeof(row)));
    };
    std::vector<directory::Endpoint> endpoints;
    REQUIRE(reader.endpoints(endpoints));
    for (const directory::Endpoint& one : endpoints)
        if (!directory::is_private(one.row.kind)) add("endpoint", one.index, one.row);
    std::vector<directory::Type> types;
    REQUIRE(reader.types(types));
    for (const directory::Type& one : types) add("type", one.index, one.row);
    std::vector<directory::SubscriptionRow> subscriptions;
    REQUIRE(reader.subscriptions(subscriptions));
    for (const directory::SubscriptionRow& one : subscriptions) add("subscription", 0, one);
    return found;
}

// Endpoints, routes and subscriptions of every kind; some of them are taken back.
void make_rows(Bus& bus) {
    shmbus::EndpointOptions options;
    options.lane_bytes = 8192;
    options.waiting = shmbus::Waiting::sleep;
    options.events_when_full = shmbus::WhenFull::drop_oldest;
    Endpoint small = bus.endpoint("small", options);
    small.on<Passing>([](const Passing&) {});
    small.on<Passed>([](const Passed&) {});
    small.on<Done>([](const Done&) {});
    Endpoint audit = bus.endpoint("audit");
    audit.on<Passed>([](const Passed&) {});
    audit.on<Done>([](const Done&) {});
    audit.unsubscribe<Passed>();
    bus.declare_endpoint("unused");
}

// A file system of the bus's own, of so many bytes; what is in the way of being full is a file.
class LittleMemory {
public:
    explicit LittleMemory(std::string folder) : folder_(std::move(folder)) {}
    LittleMemory(const LittleMemory&) = delete;
    LittleMemory& operator=(const LittleMemory&) = delete;
    ~LittleMemory() { ::umount2(folder_.c_str(), MNT_DETACH); }
    [[nodiscard]] bool mount() const {
        return ::unshare(CLONE_NEWNS) == 0 &&
               ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::mkdir(folder_.c_str(), 0700) == 0 &&
               ::mount("none", folder_.c_str(), "tmpfs", 0, "size=64m,mode=0700") == 0;
    }
    [[nodiscard]] std::uint64_t free_bytes() const {
        return std::filesystem::space(folder_).available;
    }
    void empty() const {
        for (const auto& entry : std::filesystem::directory_iterator(folder_))
            std::filesystem::remove_all(entry.path());
    }
    void leave_free(std::uint64_t bytes) const {
        const auto file = shmbus::base::File::create_at(AT_FDCWD, filler(), 0600);
        file.allocate(free_bytes() - bytes);
    }
    void make_room() const { std::filesystem::remove(filler()); }

private:
    [[nodiscard]] std::string filler() const { return folder_ + "/filler"; }
    std::string folder_;
};

// 0: well; 77: mounting is not permitted; else which step it was.
int take_back_into_little_memory() {
    ServedBus served;
    const LittleMemory memory(served.directory());
    if (!memory.mount()) return 77;
    std::uint64_t free_at_first = 0;
    std::vector<std::string> before;
    {
        free_at_first = memory.free_bytes();
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        bus.declare_endpoint<Told>("teller");
        for (int number = 0; number < 40; ++number)
            bus.declare_endpoint("endpoint" + std::to_string(number));
        if (!bus.send(Work{1, 2}) || !bus.sync(20s)) return 2;
        before = rows_of(served);
    }
    served.kill_daemon();
    memory.empty();
    // Enough for the tables and some of the inboxes.
    served.serve();
    const std::uint64_t with_all = free_at_first - memory.free_bytes();
    if (rows_of(served) != before) return 3;
    served.kill_daemon();
    memory.empty();
    memory.leave_free(with_all - 20 * shmbus::lane::inbox_bytes);
    served.serve();
    if (!rows_of(served).empty()) return 4;
    if (!std::filesystem::is_empty(served.directory() + "/inboxes")) return 5;
    // Nor what would be taken for the fields of other types, declared meanwhile.
    if (!std::filesystem::is_empty(served.directory() + "/types")) return 8;
    memory.make_room();
    if (!wait_until([&] { return rows_of(served) == before; })) return 6;
    Bus bus = served.open();
    Endpoint worker = bus.endpoint("worker");
    std::uint64_t worked = 0;
    worker.on<Work>([&](const Work& work) { worked = work.number; });
    return handle_until(worker, [&] { return worked == 1; }) ? 0 : 7;
}

}  // namespace

TEST_CASE("a sender and a receiver that are never there at the same time") {
    ServedBus served;
    constexpr std::uint64_t count = 20'000;  // of some 200 bytes each, through lanes of 64 KiB
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        for (std::uint64_t number = 1; number <= count; ++number)
            REQUIRE(bus.send(Work{number, 2 * number}, {.wait = 20s}));
        REQUIRE(bus.sync(20s));
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    Endpoint endpoint = bus.endpoint("worker");
    std::uint64_t last = 0;
    std::uint64_t out_of_order = 0;
    std::uint64_t unmarked = 0;
    endpoint.on<Work>([&](const Work& work, shmbus::Context& context) {
        out_of_order += work.number == last + 1 ? 0 : 1;
        last = work.number;
        unmarked += context.redelivered() ? 0 : 1;
    });
    REQUIRE(handle_until(endpoint, [&] { return last == count; }));
    CHECK(out_of_order == 0);
    // Any of them may have been delivered before the reboot, as far as anybody can know.
    CHECK(unmarked == 0);
    // What is sent now was not.
    REQUIRE(bus.send(Work{count + 1, 0}));
    REQUIRE(handle_until(endpoint, [&] { return last == count + 1; }));
    CHECK(unmarked == 1);
}

TEST_CASE("subscriptions, endpoints and routes come back after a reboot as acknowledged") {
    ServedBus served;
    {
        served.serve();
        Bus bus = served.open();
        Endpoint audit = bus.endpoint("audit");
        audit.on<Done>([](const Done&) {});
        bus.declare_endpoint<Work>("worker");
        REQUIRE(bus.publish(Done{0}));
        REQUIRE(bus.sync(20s));
        Endpoint late = bus.endpoint("late");
        late.on<Done>([](const Done&) {});
        late.unsubscribe<Done>();
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    // Nobody has opened audit yet: it gets this by the subscription that it had.
    REQUIRE(bus.publish(Done{1}));
    REQUIRE(bus.send(Work{1, 2}));
    REQUIRE(bus.sync(20s));
    Endpoint audit = bus.endpoint("audit");
    std::vector<std::uint64_t> seen;
    audit.on<Done>([&](const Done& done) { seen.push_back(done.number); });
    REQUIRE(handle_until(audit, [&] { return seen.size() == 2; }));
    CHECK(seen == std::vector<std::uint64_t>{0, 1});
    Endpoint worker = bus.endpoint("worker");
    std::uint64_t worked = 0;
    worker.on<Work>([&](const Work&) { ++worked; });
    REQUIRE(handle_until(worker, [&] { return worked == 1; }));
    // The one that was unsubscribed gets nothing.
    shmbus::EndpointOptions options;
    options.subscribe_automatically = false;
    Endpoint late = bus.endpoint("late", options);
    std::uint64_t came = 0;
    late.on<Done>([&](const Done&) { ++came; });
    REQUIRE(bus.publish(Done{2}));
    REQUIRE(handle_until(audit, [&] { return seen.size() == 3; }));
    late.poll();
    CHECK(came == 0);
}

TEST_CASE("how a type's fields read comes back before a process that knows the type") {
    ServedBus served;
    const auto told = [&] {
        for (const auto& entry : std::filesystem::directory_iterator(served.directory() + "/types"))
            if (std::ifstream file(entry.path()); file)
                return std::string(std::istreambuf_iterator<char>(file), {});
        return std::string();
    };
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Told>("teller");
        REQUIRE(bus.send(Told{1}));
        REQUIRE(bus.sync(20s));
        REQUIRE(told() == "number u8 0 1\n");
    }
    served.wipe_memory();
    served.serve();
    CHECK(told() == "number u8 0 1\n");
}

TEST_CASE("the journal keeps one description of a type, the last, however often it is told anew") {
    ServedBus served;
    served.serve();
    for (int time = 0; time < 10; ++time) {
        Bus bus = served.open();
        bus.declare_endpoint<Told>("teller");
        Bus other = served.open();
        other.declare_endpoint<ToldOtherwise>("teller");
        REQUIRE(other.send(ToldOtherwise{1}));
        REQUIRE(other.sync(20s));
    }
    served.kill_daemon();
    shmbus::journal::RealStorage storage(served.journal());
    const shmbus::journal::Journal journal(storage);
    std::vector<std::string> told;
    for (const auto& [key, bytes] : journal.ledger().items)
        if (key.type == 256)  // fields, see kept_rows.cc
            told.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    CHECK(told == std::vector<std::string>{"serial u8 0 1\n"});
}

TEST_CASE("a description that cannot be read now holds up no row, and ends no daemon") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    REQUIRE(bus.send(Work{1, 2}));
    REQUIRE(bus.sync(20s));
    // Not opened, as when there is no descriptor left.
    for (int type = 2; type < 10; ++type)
        std::filesystem::create_symlink(
            "nowhere", served.directory() + "/types/" + std::to_string(type) + ".1");
    bus.declare_endpoint<Told>("teller");
    CHECK(bus.send(Told{1}));
    CHECK(bus.sync(20s));
    CHECK_FALSE(served.daemon_has_died());
}

TEST_CASE("every row comes back as it was, also those of before the first durable message") {
    ServedBus served;
    std::vector<std::string> before;
    bool first_comes_last = true;
    SUBCASE("which comes last of all") {}
    SUBCASE("which comes first of all") { first_comes_last = false; }
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        const auto first = [&] {
            REQUIRE(bus.send(Work{1, 2}));
            REQUIRE(bus.sync(20s));
        };
        if (!first_comes_last) first();
        make_rows(bus);
        before = rows_of(served);
        if (first_comes_last) first();
    }
    CHECK(before.size() >= 10);
    CHECK(rows_of(served) == before);
    served.wipe_memory();
    served.serve();
    CHECK(rows_of(served) == before);
}

TEST_CASE("where memory is short no row comes back, and all of them when there is room again") {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        try {
            ::_exit(take_back_into_little_memory());
        } catch (const std::exception& error) {
            std::fprintf(stderr, "%s\n", error.what());
            ::_exit(1);
        }
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) MESSAGE("not tested: mounting is not permitted here");
    else CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a subscription to a durable event comes back though nobody had published one yet") {
    // Ends: when the daemon lives through it.
    for (std::uint64_t at = 1;; ++at) {
        ServedBus served;
        INFO("killed at step " << at);
        served.serve(at);
        bool died = false;
        REQUIRE(wait_until([&] {
            if (served.daemon_has_died()) {
                died = true;
                served.serve();
            }
            try {
                shmbus::BusOptions options;
                options.start_daemon = false;
                options.daemon_timeout = 200ms;  // it may have died
                Bus bus = Bus::open(served.directory(), options);
                bus.endpoint("audit").on<Done>([](const Done&) {});
                bus.declare_endpoint<Work>("worker");
                return true;
            } catch (const shmbus::SetupError&) {
                return false;
            }
        }));
        served.wipe_memory();
        served.serve();
        Bus bus = served.open();
        REQUIRE(bus.publish(Done{1}));
        REQUIRE(bus.send(Work{1, 2}));
        REQUIRE(bus.sync(20s));
        std::uint64_t seen = 0;
        Endpoint audit = bus.endpoint("audit");
        audit.on<Done>([&](const Done& done) { seen = done.number; });
        REQUIRE(handle_until(audit, [&] { return seen == 1; }));
        if (died) continue;
        CHECK(at > 5);
        break;
    }
}

TEST_CASE("a bus without a durable type touches no disk and begins anew after a reboot") {
    ServedBus served;
    {
        served.serve();
        Bus bus = served.open();
        Endpoint small = bus.endpoint("small");
        small.on<Passing>([](const Passing&) {});
        small.on<Passed>([](const Passed&) {});
        REQUIRE(bus.send(Passing{1}));
        REQUIRE(bus.publish(Passed{1}));
    }
    CHECK_FALSE(std::filesystem::exists(served.journal()));
    served.wipe_memory();
    served.serve();
    CHECK(rows_of(served).empty());
}

TEST_CASE("a row that found no room in the journal is there before a message that names it") {
    ServedBus served;
    Weather& weather = give_weather(served);
    served.config.journal_segment_bytes = 32 << 10;
    const auto name_of = [](int number) { return "late" + std::to_string(number); };
    constexpr int count = 60;  // of 4 KiB each on disk: more than all segments that there are
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        REQUIRE(bus.send(Work{1, 2}));
        REQUIRE(bus.sync(20s));
        REQUIRE(wait_until([&] { return served.rests(); }));
        weather.allocate = ENOSPC;
        shmbus::EndpointOptions small;
        small.lane_bytes = 4096;
        for (int number = 0; number < count; ++number)
            bus.declare_endpoint(name_of(number), small);
        weather.allocate = 0;
        for (int number = 0; number < count; ++number)
            REQUIRE(bus.send(Work{2, 4}, {.wait = 20s, .destination = name_of(number)}));
        REQUIRE(bus.sync(20s));
        // Before anybody asks it for anything more, at which it looks at its rows again.
        served.kill_daemon();
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    for (int number = 0; number < count; ++number) {
        Endpoint late = bus.endpoint(name_of(number));
        std::uint64_t came = 0;
        late.on_any([&](std::span<const std::byte>, shmbus::Context&) { ++came; });
        REQUIRE(handle_until(late, [&] { return came == 1; }));
    }
}

TEST_CASE("what was acknowledged of the directory is on disk at that moment") {
    ServedBus served;
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        REQUIRE(bus.send(Work{1, 2}));  // from now on there is a journal
        REQUIRE(bus.sync(20s));
        REQUIRE(wait_until([&] { return served.rests(); }));
        Endpoint audit = bus.endpoint("audit");
        audit.on<Done>([](const Done&) {});
        served.kill_daemon();
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    REQUIRE(bus.publish(Done{7}));
    Endpoint audit = bus.endpoint("audit");
    std::uint64_t seen = 0;
    audit.on<Done>([&](const Done& done) { seen = done.number; });
    REQUIRE(handle_until(audit, [&] { return seen == 7; }));
}

// Of one message to one endpoint; memory is as after a reboot.
static void leave_a_journal(ServedBus& served) {
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        send_numbers(bus, 1, 1);
    }
    served.wipe_memory();
}

TEST_CASE("no lane has an id that the journal knows, though the clock was set back") {
    ServedBus served;
    leave_a_journal(served);
    // As read by a daemon whose clock was an hour ahead.
    const std::uint64_t known = (shmbus::base::realtime_ns() + 3'600'000'000'000U) / 1'000U;
    {
        shmbus::journal::RealStorage storage(served.journal());
        shmbus::journal::Journal journal(storage);
        REQUIRE(journal.up_to(known, 1'000) == shmbus::journal::Outcome::ok);
        REQUIRE(journal.commit().outcome == shmbus::journal::Outcome::ok);
    }
    served.serve();
    Bus bus = served.open();
    send_numbers(bus, 2, 2);
    for (const auto& entry : std::filesystem::directory_iterator(served.directory() + "/lanes"))
        CHECK(shmbus::wire::lane_id_of_file(entry.path().filename().string()).value() > known);
}

// The ids of handlers' outputs are made from those of lanes that the journal knows nothing of.
TEST_CASE("where the clock is behind, no lane has the id of another boot's, nor what is sent") {
    ServedBus served;
    bool is_told = false;
    // In the year 2041, of which the next boot knows nothing.
    served.at_step = [&](const char*) {
        if (!std::exchange(is_told, true))
            served.state->tables().lane_ids_above(std::uint64_t{1} << 51);
    };
    constexpr std::uint64_t count = 8;
    const auto sent_on = [&](bool is_last_lane) {
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        Endpoint begin = bus.endpoint("begin");
        begin.on<Plain>([](const Plain& plain, shmbus::Context& context) {
            context.send(Work{plain.number, 2 * plain.number}).value();
        });
        // The lane into the journal behind the others, or before them.
        if (!is_last_lane) send_numbers(bus, count, count);
        for (std::uint64_t number = 0; number < count; ++number)
            if (!served.open().send(Plain{number, 0})) return std::size_t{0};
        std::size_t handled = 0;
        CHECK(handle_until(begin, [&] { return (handled += begin.poll()) == count; }));
        CHECK(bus.sync(20s));
        Worker worker(bus);
        CHECK(handle_until(worker.endpoint, [&] { return served.rests(); }));
        return worker.numbers().size();
    };
    served.serve();
    CHECK(sent_on(false) == count + 1);
    served.at_step = {};
    served.wipe_memory();
    served.serve();
    CHECK(sent_on(true) == count);
}

TEST_CASE("no endpoint gets a number that the journal knows, whoever had it before the reboot") {
    ServedBus served;
    leave_a_journal(served);
    // As left by a private endpoint, which comes back nowhere, and by one that was removed.
    constexpr std::uint32_t generation = 7;
    const shmbus::journal::Endpoint removed = shmbus::wire::make_reference(6, generation);
    {
        shmbus::journal::RealStorage storage(served.journal());
        shmbus::journal::Journal journal(storage);
        for (const std::uint32_t index : {5U, 6U}) {
            const shmbus::journal::Endpoint to = shmbus::wire::make_reference(index, generation);
            shmbus::journal::Message message;
            message.to = {&to, 1};
            REQUIRE(journal.publish(message).outcome == shmbus::journal::Outcome::ok);
        }
        REQUIRE(journal.commit().outcome == shmbus::journal::Outcome::ok);
        REQUIRE(journal.forget(removed) == shmbus::journal::Outcome::ok);
        REQUIRE(journal.commit().outcome == shmbus::journal::Outcome::ok);
    }
    served.serve();
    Bus bus = served.open();
    for (const char* const name : {"one", "two", "three", "four"}) bus.declare_endpoint(name);
    const shmbus::directory::DirectoryReader rows = served.rows();
    for (const std::uint32_t index : {5U, 6U}) {
        const auto there = rows.endpoint(index);
        REQUIRE(there);
        CHECK(there->row.generation > generation);
    }
}

TEST_CASE("the number of an endpoint that was removed is nobody's after a reboot") {
    ServedBus served;
    leave_a_journal(served);
    served.serve();
    shmbus::detail::SessionOptions options;
    options.process_name = "maker";
    options.start_daemon = false;
    shmbus::detail::Session session(shmbus::detail::locate_bus(served.directory() + "/"), options);
    const auto gone = session.create_endpoint("gone", {}).value();
    REQUIRE(session.remove_endpoint(gone));
    session.leave();
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint("next");
    const auto there = served.rows().endpoint(gone.index);
    REQUIRE(there);
    CHECK(there->row.generation > gone.generation);
}

TEST_CASE("what is sent again under the same id is dropped, also after a reboot") {
    ServedBus served;
    std::map<std::uint64_t, int> times;
    const auto send_all = [&](Bus& bus) {
        for (std::uint64_t number = 1; number <= 100; ++number) {
            shmbus::SendOptions options;
            options.id = {0xABC, number};
            REQUIRE(bus.send(Work{number, 2 * number}, options));
        }
        REQUIRE(bus.sync(20s));
    };
    const auto handle = [&](Bus& bus, std::uint64_t last) {
        Endpoint endpoint = bus.endpoint("worker");
        bool ended = false;
        endpoint.on<Work>([&](const Work& work) {
            ++times[work.number];
            ended = ended || work.number == last;
        });
        REQUIRE(bus.send(Work{last, 0}));
        REQUIRE(handle_until(endpoint, [&] { return ended; }));
    };
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        send_all(bus);
        send_all(bus);
        handle(bus, 1001);
        send_all(bus);
        REQUIRE(wait_until([&] {
            served.kill_daemon();
            served.serve();
            return true;
        }));
        send_all(bus);
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    send_all(bus);
    handle(bus, 1002);
    for (std::uint64_t number = 1; number <= 100; ++number) CHECK(times[number] == 1);
}

}  // namespace durable_tests
