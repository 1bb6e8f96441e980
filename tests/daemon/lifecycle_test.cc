// The daemon itself: one per bus, what it refuses to take up, when it leaves.
//
// SPDX-License-Identifier: BSL-1.0
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "daemon/fixture.h"
#include "directory/layout.h"
#include "lane/layout.h"
#include "wire/names.h"

using namespace std::chrono_literals;
using test::Daemon;
using test::Folder;
using test::Process;

namespace {

void make_bus_with_directory_file(const Folder& folder, const std::string& bytes) {
    REQUIRE(::mkdir(folder.bus().c_str(), 0700) == 0);
    std::ofstream file(folder.bus() + "/directory", std::ios::binary);
    file << bytes;
}

// As a version with another layout made it.
void change_layout(const std::string& path, std::size_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const std::uint32_t other = shmbus::lane::layout_major - 1;
    file.seekp(static_cast<std::streamoff>(at));
    file.write(reinterpret_cast<const char*>(&other), sizeof(other));
}

std::string bytes_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_SUITE("daemon") {

TEST_CASE("a second daemon for a bus ends at once with a clear text and disturbs nothing") {
    const Folder folder;
    Daemon first(folder.bus());
    const auto session = test::join(folder.bus());
    Daemon second(folder.bus());
    CHECK(second.trouble().find("a bus that has one") != std::string::npos);
    CHECK(second.process().end() == EX_TEMPFAIL);
    CHECK(session->status().value().daemon_pid ==
          static_cast<std::uint64_t>(first.process().pid()));
}

TEST_CASE("a daemon under a limit of file sizes refuses what is too long, and lives") {
    const Folder folder;
    struct rlimit before {};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    const auto start_under = [&](rlim_t most) {
        struct rlimit limit = before;
        limit.rlim_cur = most;
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
        auto daemon = std::make_unique<Daemon>(folder.bus());
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
        return daemon;
    };
    {
        // Too short for the tables.
        const auto daemon = start_under(4096);
        CHECK_MESSAGE(daemon->trouble().find("ulimit -f") != std::string::npos, daemon->trouble());
        CHECK(daemon->process().end() < 128);
    }
    // Too short for an inbox.
    const auto daemon = start_under(16 << 20);
    CHECK(daemon->trouble() == "");
    const auto session = test::join(folder.bus());
    const auto refused = session->create_endpoint("sales", {});
    REQUIRE_FALSE(refused);
    CHECK_MESSAGE(refused.error().text().find("ulimit -f") != std::string::npos,
                  refused.error().text());
    CHECK(session->status().has_value());
}

TEST_CASE("of many daemons that start together exactly one serves") {
    const Folder folder;
    std::vector<std::unique_ptr<Daemon>> daemons(6);
    {
        std::vector<std::jthread> starters;
        for (auto& daemon : daemons)
            starters.emplace_back([&] { daemon = std::make_unique<Daemon>(folder.bus()); });
    }
    int serving = 0;
    for (const auto& daemon : daemons) serving += daemon->trouble().empty() ? 1 : 0;
    CHECK(serving == 1);
    CHECK(test::join(folder.bus())->status().has_value());
}

TEST_CASE("the directories and files of a bus are for their owner alone, whatever the umask") {
    const Folder folder;
    const mode_t before = ::umask(0);
    Daemon daemon(folder.bus());
    ::umask(before);
    const auto session = test::join(folder.bus());
    const auto endpoint = session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    const auto lane = session->open_lane(endpoint.index);
    REQUIRE(lane.has_value());
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.bus())) {
        INFO(entry.path().string());
        CHECK((entry.status().permissions() & std::filesystem::perms(0077)) ==
              std::filesystem::perms::none);
    }
}

TEST_CASE("a directory that others may enter, or that is a link, is refused") {
    const Folder folder;
    REQUIRE(::mkdir(folder.bus().c_str(), 0700) == 0);
    REQUIRE(::chmod(folder.bus().c_str(), 0755) == 0);
    Daemon open_to_all(folder.bus());
    CHECK(open_to_all.trouble().find("0700") != std::string::npos);
    CHECK(open_to_all.process().end() == EX_NOPERM);
    REQUIRE(::chmod(folder.bus().c_str(), 0700) == 0);
    const std::string link = folder.path() + "/link";
    REQUIRE(::symlink(folder.bus().c_str(), link.c_str()) == 0);
    Daemon through_link(link);
    CHECK(through_link.trouble() != "");
    CHECK(through_link.process().end() == EX_CANTCREAT);
}

TEST_CASE("a directory file that is empty, zero-filled or half made is replaced") {
    for (const std::size_t bytes : {0U, 1U, 103U, 104U, 4096U, 1000000U}) {
        CAPTURE(bytes);
        const Folder folder;
        make_bus_with_directory_file(folder, std::string(bytes, '\0'));
        Daemon daemon(folder.bus());
        REQUIRE(daemon.trouble() == "");
        CHECK(test::join(folder.bus())->create_endpoint("orders").has_value());
    }
}

TEST_CASE("a directory file of another version, or a stranger's, is refused and left untouched") {
    shmbus::directory::Identity identity{};
    identity.magic = shmbus::directory::directory_magic;
    identity.major = shmbus::directory::layout_major + 1;
    identity.ready = 1;
    const std::string newer(reinterpret_cast<const char*>(&identity), sizeof(identity));
    for (const std::string& bytes : {newer + std::string(8192, 'x'), std::string(9000, 'q')}) {
        const Folder folder;
        make_bus_with_directory_file(folder, bytes);
        Daemon daemon(folder.bus());
        CHECK(daemon.trouble().find("taking up the directory") != std::string::npos);
        CHECK(daemon.process().end() == EX_DATAERR);
        CHECK(bytes_of(folder.bus() + "/directory") == bytes);
    }
}

TEST_CASE("a bus whose lanes another version made is refused, and left untouched") {
    namespace lane = shmbus::lane;
    const Folder folder;
    auto daemon = std::make_unique<Daemon>(folder.bus());
    // Whose lanes would go if nobody could read them.
    Process sender = test::fork_child([&] {
        auto session = test::join(folder.bus());
        const auto orders = session->create_endpoint("orders").value();
        static_cast<void>(session->open_lane(orders.index, orders.generation, 0).value());
        static_cast<void>(session->create_endpoint("bills").value());
        static_cast<void>(session.release());  // does not leave
    });
    daemon->process().kill();
    sender.kill();
    const std::vector<std::string> files = test::files_of_bus(folder.bus());
    for (const auto& file : std::filesystem::directory_iterator(folder.bus() + "/lanes"))
        change_layout(file.path(), offsetof(lane::LaneIdentity, major));
    change_layout(folder.bus() + "/inboxes/1.1", offsetof(lane::InboxIdentity, major));
    SUBCASE("all of them") {
        change_layout(folder.bus() + "/inboxes/2.1", offsetof(lane::InboxIdentity, major));
        daemon = std::make_unique<Daemon>(folder.bus());
        CHECK(daemon->trouble().find("taking up a bus of another version") != std::string::npos);
        CHECK(daemon->process().end() == EX_DATAERR);
        CHECK(test::files_of_bus(folder.bus()) == files);
    }
    SUBCASE("one of ours among them: the others were written over") {
        daemon = std::make_unique<Daemon>(folder.bus());
        CHECK(daemon->trouble() == "");
    }
}

TEST_CASE("a daemon that is not told where the journal lies finds it where the last one had it") {
    const Folder folder;
    const std::string elsewhere = folder.path() + "/elsewhere";
    const std::string note = folder.bus() + "/" + shmbus::wire::journal_place_file;
    auto daemon = std::make_unique<Daemon>(
        folder.bus(), std::vector<std::string>{"--journal", elsewhere});
    REQUIRE(test::join(folder.bus())->journal());
    CHECK(bytes_of(note) == folder.bus() + "\n" + elsewhere + "\n");
    daemon->process().kill();
    daemon = std::make_unique<Daemon>(folder.bus());
    CHECK(test::join(folder.bus())->journal());
    CHECK_FALSE(std::filesystem::exists(folder.bus() + "/journal"));
    daemon->process().kill();
    // Anybody may have written it.
    REQUIRE(::chmod(note.c_str(), 0666) == 0);
    daemon = std::make_unique<Daemon>(folder.bus());
    const auto refused = test::join(folder.bus())->journal();
    CHECK_FALSE(refused);
    CHECK(refused.error().text().find("it is gone") != std::string::npos);
}

TEST_CASE("a directory file that was cut off is refused with its size") {
    const Folder folder;
    {
        Daemon daemon(folder.bus());
        REQUIRE(daemon.trouble() == "");
    }
    const std::string path = folder.bus() + "/directory";
    const auto whole = std::filesystem::file_size(path);
    CHECK(whole <= 8U << 20);
    std::filesystem::resize_file(path, whole / 2);
    Daemon daemon(folder.bus());
    CHECK(daemon.trouble().find(std::to_string(whole / 2)) != std::string::npos);
}

TEST_CASE("files that an interrupted daemon left are swept by the next one") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    REQUIRE(session->create_endpoint("orders", {.lane_bytes = 4096}).has_value());
    const auto before = test::files_of_bus(folder.bus());
    daemon.process().kill();
    for (const char* name : {"lanes/00000000000000ff", "inboxes/9.1", "participants/77.3",
                             "lanes/what is this", "inboxes/1.1.1"})
        std::ofstream(folder.bus() + "/" + name) << "left over";
    daemon.kill_and_restart();
    REQUIRE(daemon.trouble() == "");
    CHECK(test::files_of_bus(folder.bus()) == before);
}

TEST_CASE("a terminated daemon ends cleanly, and its successor serves the same sessions") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const auto endpoint = session->create_endpoint("orders").value();
    daemon.process().signal(SIGTERM);
    CHECK(daemon.process().end() == 0);
    CHECK_FALSE(std::filesystem::exists(folder.bus() + "/control.sock"));
    CHECK(session->directory().find_endpoint("orders").has_value());
    daemon.kill_and_restart();
    CHECK(session->create_endpoint("orders").value().index == endpoint.index);
}

TEST_CASE("an idle daemon leaves and takes the bus with it, if nothing is there to be kept") {
    const Folder folder;
    Daemon daemon(folder.bus(), {"--idle-exit", "0.2"});
    {
        const auto session = test::join(folder.bus());
        REQUIRE(session->create_endpoint("orders").has_value());
        // As long as somebody is there it stays, however long nobody asks for anything.
        CHECK(daemon.process().end(600ms) == -1);
    }
    CHECK(daemon.process().end() == 0);
    CHECK_FALSE(std::filesystem::exists(folder.bus()));
}

TEST_CASE("an idle daemon leaves a bus with subscriptions as it is") {
    const Folder folder;
    Daemon daemon(folder.bus(), {"--idle-exit", "0.2"});
    std::uint32_t type = 0;
    {
        const auto session = test::join(folder.bus());
        type = session->declare_type(test::event_type("priced")).value();
        const auto endpoint = session->create_endpoint("orders").value();
        REQUIRE(session->subscribe(endpoint, type).has_value());
    }
    CHECK(daemon.process().end() == 0);
    Daemon next(folder.bus());
    REQUIRE(next.trouble() == "");
    const auto session = test::join(folder.bus());
    CHECK(session->directory().find_type("priced")->index == type);
    std::vector<shmbus::directory::SubscriptionRow> subscriptions;
    REQUIRE(session->directory().subscriptions(subscriptions));
    CHECK(subscriptions.size() == 1);
}

TEST_CASE("a misspelt key or a bad value in the configuration is refused with its line") {
    const Folder folder;
    const std::string file = folder.path() + "/config.toml";
    const std::pair<const char*, const char*> cases[] = {
        {"lane_bites = 5\n", "lane_bites"},
        {"\ndefault_lane_bytes = 5000\n", "power of two"},
        {"default_lane_bytes = 8192\nmost_lane_bytes = 4096\n", "more than most_lane_bytes"},
        {"[quotas.others]\nlanes = -1\n", "line 2"},
        {"[tables]\ntypes = \"many\"\n", "whole number"},
        {"group = \"no such group here\"\n", "no group"},
        {"log_level = = 3\n", "line 1"}};
    for (const auto& one : cases) {
        const char* text = one.first;
        const char* expected = one.second;
        CAPTURE(text);
        std::ofstream(file) << text;
        Daemon daemon(folder.bus(), {"--config", file});
        CAPTURE(daemon.trouble());
        CHECK(daemon.trouble().find(expected) != std::string::npos);
        CHECK(daemon.process().end() == EX_CONFIG);
    }
}

TEST_CASE("tables have the configured sizes, and a full one is named") {
    const Folder folder;
    const std::string file = folder.path() + "/config.toml";
    std::ofstream(file) << "[tables]\nendpoints = 4\n";
    Daemon daemon(folder.bus(), {"--config", file});
    REQUIRE(daemon.trouble() == "");
    const auto session = test::join(folder.bus());
    for (const char* name : {"a", "b", "c"}) REQUIRE(session->create_endpoint(name).has_value());
    const auto refused = session->create_endpoint("d");
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().details()->reason.find("table of endpoints is full") !=
          std::string::npos);
}

}  // TEST_SUITE
