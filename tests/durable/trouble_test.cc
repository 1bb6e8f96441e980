// The daemon away, the disk full, the journal not to be had: clear errors, nothing lost, and it
// goes on by itself.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "flaky_storage.h"
#include "served_bus.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Endpoint;
using shmbus::ErrorCode;
using shmbus::Receipt;
using shmbus::Result;

namespace {
// A worker that counts, in order.
struct Counting {
    explicit Counting(Bus& bus) : endpoint(bus.endpoint("worker")) {
        endpoint.on<Work>([this](const Work& work, shmbus::Context& context) {
            in_order = in_order && work.number == work_done + 1;
            ++work_done;
            last = work.number;
            unmarked += context.redelivered() ? 0 : 1;
        });
        endpoint.on<Plain>([this](const Plain&) { ++plain_done; });
    }
    Endpoint endpoint;
    std::uint64_t work_done = 0;
    std::uint64_t last = 0;
    std::uint64_t unmarked = 0;
    std::uint64_t plain_done = 0;
    bool in_order = true;
};

// Sends until it is refused; the last number that went.
std::uint64_t send_until_refused(Bus& bus, std::uint64_t from, Result<Receipt>& refused) {
    shmbus::SendOptions options;
    options.wait = 300ms;
    // Ends: when the lane is full.
    for (std::uint64_t number = from;; ++number) {
        refused = bus.send(Work{number, 2 * number}, options);
        if (!refused) return number - 1;
    }
}

struct Said {
    int status = -1;
    std::string text;
};
Said run(const std::string& command) {
    const char* const build = std::getenv("SHMBUS_BUILD_ROOT");
    REQUIRE(build != nullptr);
    FILE* const pipe = ::popen((std::string(build) + "/tools/shmbus " + command + " 2>&1").c_str(),
                               "r");
    REQUIRE(pipe != nullptr);
    Said said;
    std::array<char, 4096> part;
    // Ends: with what it says.
    while (const std::size_t got = std::fread(part.data(), 1, part.size(), pipe))
        said.text.append(part.data(), got);
    const int status = ::pclose(pipe);
    said.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return said;
}

// Damages a byte of the second segment and returns that file's path.
std::string damage_second_segment(const ServedBus& served) {
    std::vector<std::string> segments;
    for (const auto& entry : std::filesystem::directory_iterator(served.journal()))
        if (entry.path().filename().string().starts_with("seg-"))
            segments.push_back(entry.path());
    REQUIRE(segments.size() > 2);
    std::ranges::sort(segments);
    const std::string& victim = segments[1];
    std::fstream file(victim, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(30'000);
    const int byte = file.get();
    file.seekp(30'000);
    file.put(static_cast<char>(byte ^ 0x40));
    return victim;
}

}  // namespace

TEST_CASE("without a daemon durable sends fill the lane, then are refused, and none is lost") {
    ServedBus served;
    served.config.journal_lane_bytes = 4096;
    served.serve();
    Bus bus = served.open();
    Endpoint endpoint = bus.endpoint("worker");
    std::uint64_t handled = 0;
    endpoint.on<Work>([&](const Work& work) {
        CHECK(work.number == handled + 1);
        ++handled;
    });
    REQUIRE(bus.send(Work{1, 2}));
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(endpoint, [&] { return handled == 1; }));
    served.kill_daemon();
    std::uint64_t sent = 1;
    Result<Receipt> last = Receipt();
    // Ends: when the lane is full.
    while ((last = bus.send(Work{sent + 1, 0}, {.when_full = shmbus::WhenFull::refuse}))) ++sent;
    CHECK(sent > 10);
    CHECK(last.error() == ErrorCode::full);
    CHECK(last.error().text().find("shmbusd does not run") != std::string::npos);
    const Result<void> none = bus.sync(10ms);
    CHECK(none.error() == ErrorCode::timeout);
    CHECK(none.error().text().find("shmbusd does not run") != std::string::npos);
    served.serve();
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(endpoint, [&] { return handled == sent; }));
}

TEST_CASE("messages in the outgoing lane are delivered while the daemon is away") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    for (std::uint64_t number = 1; number <= 100; ++number) REQUIRE(bus.send(Work{number, 0}));
    REQUIRE(bus.sync(20s));
    // Handed out is a moment after on disk.
    const std::uint64_t steps = served.steps();
    REQUIRE(bus.send(Work{101, 0}));
    REQUIRE(bus.sync(20s));
    REQUIRE(wait_until(
        [&] { return served.steps() > steps && served.last_step() == "room given"; }));
    served.kill_daemon();
    std::uint64_t handled = 0;
    std::unique_ptr<Endpoint> endpoint;
    // Joining needs a daemon, handling does not.
    served.serve();
    endpoint = std::make_unique<Endpoint>(bus.endpoint("worker"));
    endpoint->on<Work>([&](const Work&) { ++handled; });
    served.kill_daemon();
    REQUIRE(handle_until(*endpoint, [&] { return handled == 101; }));
}

TEST_CASE("a journal that cannot be made is told to the sender, and transient messages go on") {
    ServedBus served;
    std::ofstream(served.journal()) << "a file where the directory should be";
    served.serve();
    Bus bus = served.open();
    Endpoint endpoint = bus.endpoint("worker");
    std::uint64_t handled = 0;
    endpoint.on<Plain>([&](const Plain&) { ++handled; });
    endpoint.on<Work>([&](const Work&) { ++handled; });
    const Result<Receipt> sent = bus.send(Work{1, 2});
    CHECK(sent.error() == ErrorCode::no_journal);
    CHECK(sent.error().text().find(served.journal()) != std::string::npos);
    REQUIRE(bus.send(Plain{1}));
    REQUIRE(handle_until(endpoint, [&] { return handled == 1; }));
    // Mended, it works.
    std::filesystem::remove(served.journal());
    REQUIRE(wait_until([&] { return bus.send(Work{1, 2}).has_value(); }));
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(endpoint, [&] { return handled == 2; }));
}

TEST_CASE("a journal that was there and cannot be had is told to a sender that had no lane there") {
    ServedBus served;
    served.serve();
    Bus earlier = served.open();
    earlier.declare_endpoint<Work>("worker");
    send_numbers(earlier, 1, 1);
    REQUIRE(served.end_daemon() == 0);
    std::filesystem::rename(served.journal(), served.journal() + ".away");
    served.serve();
    Bus bus = served.open();
    const Result<Receipt> sent = bus.send(Work{2, 4});
    CHECK(sent.error() == ErrorCode::no_journal);
    CHECK_MESSAGE(sent.error().text().find(served.journal()) != std::string::npos,
                  sent.error().text());
    std::filesystem::rename(served.journal() + ".away", served.journal());
    CHECK(wait_until([&] { return bus.send(Work{2, 4}).has_value(); }));
}

// Stopped where its files are whole, and nobody has been answered.
TEST_CASE("a journal that is being made for the first time is no trouble") {
    ServedBus served;
    served.at_step = [](const char* name) {
        if (std::string_view(name) == "journal opened") ::raise(SIGSTOP);
    };
    served.serve();
    Bus bus = served.open();
    // Whatever comes of it: the daemon may be stopped for longer than is waited for.
    const std::jthread first([&] { static_cast<void>(bus.send(Work{1, 2})); });
    int status = 0;
    REQUIRE(::waitpid(served.daemon(), &status, WUNTRACED) == served.daemon());
    REQUIRE(WIFSTOPPED(status));
    const Said checked = run("--bus " + served.directory() + " check journal");
    CHECK_MESSAGE(checked.status == 0, checked.text);
    const Said looked = run("--bus " + served.directory() + " doctor");
    CHECK_MESSAGE(looked.text.find("not taken up") == std::string::npos, looked.text);
    REQUIRE(::kill(served.daemon(), SIGCONT) == 0);
}

TEST_CASE("a full disk refuses durable messages, which go on when there is room") {
    ServedBus served;
    served.config.journal_segment_bytes = 64 << 10;
    Weather& weather = give_weather(served);
    served.serve();
    Bus bus = served.open();
    Counting worker(bus);
    REQUIRE(bus.send(Work{1, 2}));
    REQUIRE(bus.sync(20s));
    weather.allocate = ENOSPC;
    Result<Receipt> refused = Receipt();
    const std::uint64_t sent = send_until_refused(bus, 2, refused);
    CHECK(refused.error() == ErrorCode::full);
    CHECK_MESSAGE(refused.error().text().find("disk") != std::string::npos, refused.error().text());
    REQUIRE(bus.send(Plain{1}));
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.plain_done == 1; }));
    // Room is asked for now and then, which leaves the processor to others.
    const std::uint64_t asked = weather.allocations;
    std::this_thread::sleep_for(500ms);
    CHECK(weather.allocations < asked + 100);
    CHECK(wait_until([&] { return weather.allocations > asked; }));
    weather.allocate = 0;
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.work_done == sent; }));
    CHECK(worker.in_order);
}

TEST_CASE("on a full disk what is handled makes room, with senders waiting for it all the time") {
    ServedBus served;
    served.config.journal_segment_bytes = 32 << 10;
    served.config.journal_lane_bytes = 4096;
    Weather& weather = give_weather(served);
    weather.room = 14 * served.config.journal_segment_bytes;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    std::uint64_t sent = 0;
    Result<Receipt> refused = Receipt();
    Counting worker(bus);
    // How much is settled by which batch is chance: several times.
    for (int round = 0; round < 5; ++round) {
        CAPTURE(round);
        sent = send_until_refused(bus, sent + 1, refused);
        CHECK(refused.error() == ErrorCode::full);
        // The last of them are in the lane still.
        REQUIRE(handle_until(worker.endpoint, [&] { return worker.work_done == sent; }));
    }
    REQUIRE(bus.sync(20s));
    CHECK(worker.in_order);
    CHECK(worker.unmarked == sent);
}

TEST_CASE("a journal that takes no message says so, whether one waits or none") {
    ServedBus served;
    served.config.journal_segment_bytes = 32 << 10;
    Weather& weather = give_weather(served);
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 1);
    const shmbus::directory::DirectoryReader rows = served.rows();
    const auto condition = [&] { return int{rows.journal_endpoint()->row.condition}; };
    const auto rests = [&] { return wait_until([&] { return served.rests(); }); };
    int says = 1;
    bool one_waits = false;
    SUBCASE("the disk is full, and none waits") { weather.allocate = ENOSPC; }
    SUBCASE("the disk is full, and one waits") {
        weather.allocate = ENOSPC;
        one_waits = true;
    }
    SUBCASE("it is read-only") {
        weather.allocate = EROFS;
        says = 2;
    }
    std::uint64_t sent = 1;
    // Ends: what is there takes no hundred batches of a page.
    while (rests() && condition() == 0) {
        REQUIRE(sent < 100);
        ++sent;
        REQUIRE(bus.send(Work{sent, 2 * sent}));
        bool is_taken = false;
        REQUIRE(wait_until([&] {
            is_taken = bus.sync(1ms).has_value();
            return is_taken || condition() != 0;
        }));
        // While it says that it is in service, it is.
        REQUIRE(is_taken);
    }
    CHECK(sent > 3);
    CHECK(condition() == says);
    if (one_waits) {
        ++sent;
        REQUIRE(bus.send(Work{sent, 2 * sent}));
        REQUIRE(rests());
        CHECK_FALSE(bus.sync(1ms));
        CHECK(condition() == says);
    }
    weather.allocate = 0;
    CHECK(wait_until([&] { return condition() == 0; }));
    REQUIRE(bus.sync(20s));
    Counting worker(bus);
    CHECK(handle_until(worker.endpoint, [&] { return worker.work_done == sent; }));
    CHECK(worker.in_order);
}

TEST_CASE("a disk that fails to sync stops durable messages alone, and loses none of them") {
    ServedBus served;
    served.config.journal_lane_bytes = 4096;
    Weather& weather = give_weather(served);
    served.serve();
    Bus bus = served.open();
    Counting worker(bus);
    for (int turn = 0; turn < 5; ++turn) {
        const std::uint64_t before = worker.work_done;
        REQUIRE(bus.send(Work{before + 1, 0}));
        REQUIRE(bus.sync(20s));
        weather.sync = EIO;
        Result<Receipt> refused = Receipt();
        const std::uint64_t sent = send_until_refused(bus, before + 2, refused);
        CHECK(refused.error() == ErrorCode::full);
        CHECK_MESSAGE(refused.error().text().find("journal has stopped") != std::string::npos,
                      refused.error().text());
        CHECK(bus.sync(1ms).error() == ErrorCode::timeout);
        REQUIRE(bus.send(Plain{1}));
        const std::uint64_t plain = static_cast<std::uint64_t>(turn) + 1;
        REQUIRE(handle_until(worker.endpoint, [&] { return worker.plain_done == plain; }));
        weather.sync = 0;
        REQUIRE(bus.sync(20s));
        REQUIRE(handle_until(worker.endpoint, [&] { return worker.work_done == sent; }));
    }
    CHECK(worker.in_order);
}

TEST_CASE("a daemon that finds the journal well says so, whatever the one before it has said") {
    ServedBus served;
    Weather& weather = give_weather(served);
    served.serve();
    Bus bus = served.open();
    Counting worker(bus);
    REQUIRE(bus.send(Work{1, 2}));
    REQUIRE(bus.sync(20s));
    const shmbus::directory::DirectoryReader rows = served.rows();
    const auto condition = [&] { return int{rows.journal_endpoint()->row.condition}; };
    CHECK(condition() == 0);
    weather.sync = EIO;
    REQUIRE(bus.send(Work{2, 4}));
    REQUIRE(wait_until([&] { return condition() == 2; }));
    served.kill_daemon();
    weather.sync = 0;
    served.serve();
    REQUIRE(bus.sync(20s));
    CHECK(condition() == 0);
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.work_done == 2; }));
}

TEST_CASE("a journal that went away, or went to another user, stops durable messages alone") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    Counting worker(bus);
    REQUIRE(bus.send(Work{1, 2}));
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.work_done == 1; }));
    const std::string kept = served.journal() + ".kept";
    const auto stands_still = [&](std::uint64_t number) {
        REQUIRE(bus.send(Work{number, 0}));
        REQUIRE(wait_until([&] {
            const Result<void> none = bus.sync(1ms);
            return !none && none.error().text().find("journal has stopped") != std::string::npos;
        }));
        REQUIRE(bus.send(Plain{number}));
        const std::uint64_t before = worker.plain_done;
        REQUIRE(handle_until(worker.endpoint, [&] { return worker.plain_done > before; }));
    };
    SUBCASE("it went away") {
        served.kill_daemon();
        std::filesystem::rename(served.journal(), kept);
        served.serve();
        stands_still(2);
        // Nothing was put in its place.
        CHECK_FALSE(std::filesystem::exists(served.journal()));
        std::filesystem::rename(kept, served.journal());
    }
    SUBCASE("it is another user's") {
        if (::geteuid() != 0) {
            MESSAGE("not root: nothing can be given to another user");
            return;
        }
        served.kill_daemon();
        REQUIRE(::chown(served.journal().c_str(), 12'345, 12'345) == 0);
        served.serve();
        stands_still(2);
        REQUIRE(::chown(served.journal().c_str(), 0, 0) == 0);
    }
    // Back where it was, nothing is missing.
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.work_done == 2; }));
    CHECK(worker.in_order);
}

namespace {
// Why the journal of this bus cannot be had; empty: it takes messages.
std::string refusal_of(const ServedBus& served) {
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    const Result<Receipt> sent = bus.send(Work{2, 4});
    return sent ? std::string() : sent.error().text();
}
}  // namespace

TEST_CASE("a journal that another bus has is not taken up, and nothing of that bus is lost") {
    ServedBus first;
    ServedBus second;
    second.config.journal = first.journal();
    first.serve();
    {
        Bus bus = first.open();
        bus.declare_endpoint<Work>("worker");
        send_numbers(bus, 1, 1);
    }
    first.kill_daemon();
    const std::string away = first.directory() + ".away";
    SUBCASE("while that bus is there") {
        const auto segments = [&] {
            std::size_t count = 0;
            for (const auto& entry : std::filesystem::directory_iterator(first.journal()))
                count += entry.path().filename().string().starts_with("seg-") ? 1 : 0;
            return count;
        };
        const std::size_t before = segments();
        second.serve();
        // Each asks for it anew, and none takes another segment of it.
        for (int tries = 0; tries < 6; ++tries)
            CHECK(refusal_of(second).find("it is that of the bus in " + first.directory()) !=
                  std::string::npos);
        CHECK(segments() <= before + 1);
        second.kill_daemon();
        first.serve();
        CHECK(refusal_of(first).empty());
    }
    SUBCASE("where that bus has taken it up meanwhile") {
        std::filesystem::rename(first.directory(), away);
        second.serve();
        CHECK(refusal_of(second).empty());
        second.kill_daemon();
        std::filesystem::rename(away, first.directory());
        first.serve();
        CHECK(refusal_of(first).find("it is that of the bus in " + second.directory()) !=
              std::string::npos);
        first.kill_daemon();
        second.serve();
    }
    ServedBus& its = first.daemon() != 0 ? first : second;
    Bus bus = its.open();
    Counting worker(bus);
    CHECK(handle_until(worker.endpoint, [&] { return worker.work_done == 2; }));
    CHECK(worker.in_order);
}

TEST_CASE("what a killed process had sent is not thrown away while the daemon has no descriptor") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Plain>("worker");
    const std::string pages = served.directory() + "/participants";
    const auto count_pages = [&] {
        const std::filesystem::directory_iterator all(pages);
        return std::distance(begin(all), end(all));
    };
    const pid_t sender = start_sender(served, 10);
    const std::array<pid_t, 3> others{start_sender(served, 0), start_sender(served, 0),
                                      start_sender(served, 0)};
    // Each is cleared away by a sweep that has looked at all the others.
    const auto kill_and_wait = [&](pid_t child) {
        const auto there = count_pages();
        kill_process(child);
        REQUIRE(wait_until([&] { return count_pages() < there; }));
    };
    kill_and_wait(others[0]);
    // Nothing is opened from here on; what is open stays.
    rlimit before{};
    REQUIRE(::prlimit(served.daemon(), RLIMIT_NOFILE, nullptr, &before) == 0);
    const rlimit none{0, before.rlim_max};
    REQUIRE(::prlimit(served.daemon(), RLIMIT_NOFILE, &none, nullptr) == 0);
    kill_process(sender);
    kill_and_wait(others[1]);
    kill_and_wait(others[2]);
    REQUIRE(::prlimit(served.daemon(), RLIMIT_NOFILE, &before, nullptr) == 0);
    Counting worker(bus);
    CHECK(handle_until(worker.endpoint, [&] { return worker.plain_done == 10; }));
}

TEST_CASE("an endpoint is removed when all its durable messages were handled, and not before") {
    ServedBus served;
    served.serve();
    const std::string remove = "--bus " + served.directory() + " endpoint rm worker";
    {
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        REQUIRE(bus.send(Work{1, 0}));
        REQUIRE(bus.sync(20s));
        const Said early = run(remove);
        CHECK(early.status != 0);
        CHECK_MESSAGE(early.text.find("not handled yet") != std::string::npos, early.text);
        Counting worker(bus);
        REQUIRE(handle_until(worker.endpoint, [&] { return worker.work_done == 1; }));
    }
    REQUIRE(wait_until([&] { return served.rests(); }));
    const Said removed = run(remove);
    CHECK_MESSAGE(removed.status == 0, removed.text);
}

TEST_CASE("an endpoint is not removed while a lane into the journal has a message for it") {
    ServedBus served;
    served.config.journal_segment_bytes = 64 << 10;
    Weather& weather = give_weather(served);
    served.serve();
    const std::string remove = "--bus " + served.directory() + " endpoint rm worker";
    Bus bus = served.open();
    std::uint64_t sent = 0;
    std::uint64_t done = 0;
    {
        Bus own = served.open();
        Counting worker(own);
        REQUIRE(bus.send(Work{1, 2}));
        REQUIRE(bus.sync(20s));
        weather.allocate = ENOSPC;
        Result<Receipt> refused = Receipt();
        sent = send_until_refused(bus, 2, refused);
        // All that the disk takes.
        REQUIRE(handle_until(worker.endpoint, [&] { return served.rests(); }));
        done = worker.work_done;
        CHECK(done < sent);
    }
    REQUIRE(wait_until([&] { return served.rests(); }));
    const Said early = run(remove);
    CHECK(early.status != 0);
    CHECK_MESSAGE(early.text.find("not on disk yet") != std::string::npos, early.text);
    weather.allocate = 0;
    REQUIRE(bus.sync(20s));
    Bus own = served.open();
    Counting worker(own);
    CHECK(handle_until(worker.endpoint, [&] { return done + worker.work_done == sent; }));
}

TEST_CASE("what was known before an accepted loss comes when it is sent again, marked") {
    ServedBus served;
    served.config.journal_segment_bytes = 64 << 10;
    constexpr std::uint64_t count = 2'000;
    constexpr std::uint64_t others = 60'000;
    const auto send_all = [](Bus& bus) {
        for (std::uint64_t number = 1; number <= count; ++number) {
            shmbus::SendOptions options;
            options.id = {0xABC, number};
            REQUIRE(bus.send(Work{number, 0}, options));
        }
        REQUIRE(bus.sync(20s));
    };
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        send_all(bus);
        // More than a checkpoint waits for: it knows the ids, also of what is damaged then.
        send_numbers(bus, count + 1, count + others);
    }
    served.wipe_memory();
    static_cast<void>(damage_second_segment(served));
    const Said accepted = run("journal --dir " + served.journal() + " accept-loss --all");
    REQUIRE_MESSAGE(accepted.status == 0, accepted.text);
    served.serve();
    Bus bus = served.open();
    std::vector<std::uint32_t> handled(count + 1);
    std::uint64_t all = 0;
    std::uint64_t repeated = 0;
    Endpoint worker = bus.endpoint("worker");
    worker.on<Work>([&](const Work& work, shmbus::Context& context) {
        ++all;
        if (work.number <= count) ++handled[work.number];
        repeated += context.repeated() ? 1 : 0;
    });
    send_all(bus);
    // One is lost, the others are there twice.
    REQUIRE(handle_until(worker, [&] { return all == 2 * count + others - 1; }));
    CHECK(std::count(handled.begin() + 1, handled.end(), 1U) == 1);
    CHECK(std::count(handled.begin() + 1, handled.end(), 2U) == count - 1);
    CHECK(repeated == count);
}

TEST_CASE("damage stops durable messages until somebody accepts the loss") {
    ServedBus served;
    served.config.journal_segment_bytes = 64 << 10;
    std::uint64_t sent = 0;
    {
        served.serve();
        Bus bus = served.open();
        bus.declare_endpoint<Work>("worker");
        // Some segments full, each synced.
        for (; sent < 2'000; ++sent) REQUIRE(bus.send(Work{sent + 1, 0}));
        REQUIRE(bus.sync(20s));
    }
    served.wipe_memory();
    const Said sound = run("journal --dir " + served.journal() + " verify");
    CHECK(sound.status == 0);
    CHECK(sound.text.find("nothing that was acknowledged is missing") != std::string::npos);
    const std::string victim = damage_second_segment(served);
    const Said damaged = run("journal --dir " + served.journal() + " verify");
    CHECK(damaged.status == 65);
    CHECK(damaged.text.find("lost: LSN") != std::string::npos);
    // Whose it was, as 'dump' and the files of inboxes have it.
    CHECK_MESSAGE(damaged.text.find(" 1.1") != std::string::npos, damaged.text);
    CHECK(damaged.text.find(std::filesystem::path(victim).filename()) != std::string::npos);
    const Said dumped = run("journal --dir " + served.journal() + " dump");
    CHECK(dumped.status == 65);
    CHECK(dumped.text.find("publish") != std::string::npos);
    served.serve();
    // Its row says so, also after a reboot.
    const auto row = served.rows().journal_endpoint();
    REQUIRE(row.has_value());
    CHECK(row->row.condition == 2);
    // What is left for it is in a journal that nobody can ask.
    const Said kept = run("--bus " + served.directory() + " endpoint rm worker");
    CHECK(kept.status != 0);
    CHECK_MESSAGE(kept.text.find("cannot be asked") != std::string::npos, kept.text);
    Bus bus = served.open();
    Counting worker(bus);
    CHECK(bus.send(Work{1, 0}).error() == ErrorCode::no_journal);
    REQUIRE(bus.send(Plain{1}));
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.plain_done == 1; }));
    const Said partly = run("journal --dir " + served.journal() + " accept-loss 1-1");
    CHECK(partly.status == 65);
    CHECK(partly.text.find("nothing was changed") != std::string::npos);
    const Said accepted = run("journal --dir " + served.journal() + " accept-loss --all");
    CHECK_MESSAGE(accepted.status == 0, accepted.text);
    const Said without = run("journal --dir " + served.journal() + " verify");
    CHECK(without.status == 0);
    CHECK_MESSAGE(without.text.find("missing but what was accepted") != std::string::npos,
                  without.text);
    // The daemon finds that out by itself, and the rest is delivered.
    REQUIRE(wait_until([&] { return bus.send(Work{sent + 1, 0}).has_value(); }));
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.last == sent + 1; }));
    CHECK(worker.work_done == sent);  // all but one
    CHECK(worker.unmarked == 1);      // the new one
}

}  // namespace durable_tests
