// A file system for buses that is small, as in a container.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <filesystem>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "base/file.h"
#include "system/stage.h"

using namespace system_tests;

namespace {

constexpr int not_permitted = 77;

// What `body` answers, in a process of its own, of a bus in a file system of so many MiB.
int with_memory(int mebibytes, int (*body)(const std::string& bus_directory)) {
    const test::Folder folder;
    Child child([&] {
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
            return not_permitted;
        const std::string size = "size=" + std::to_string(mebibytes) + "m";
        if (::mount("none", folder.path().c_str(), "tmpfs", 0, size.c_str()) != 0)
            return not_permitted;
        return body(folder.bus());
    });
    const int status = child.reap();
    const int answer = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (answer == not_permitted) MESSAGE("not tested: mounting is not permitted here");
    return answer;
}

// Lanes into an endpoint whose lane was well used: 1, or 2 when one was made ahead of need.
int lanes_after_a_stream(const std::string& bus_directory) {
    test::Daemon daemon(bus_directory);
    Bus bus = [&] {
        shmbus::BusOptions options;
        options.start_daemon = false;
        return Bus::open(bus_directory, options);
    }();
    Endpoint endpoint = bus.endpoint("jobs");  // lanes of 1 MiB
    endpoint.on<Job>([](const Job&) {});
    // Much more than the part of a lane from which on it is busy, and more than a second look.
    for (std::uint64_t number = 1; number <= 20'000; ++number) {
        send(bus, 1, number);
        endpoint.poll();
    }
    int lanes = 0;
    for (const std::string& name : test::files_of_bus(bus_directory))
        lanes += name.starts_with("lanes/") ? 1 : 0;
    return lanes;
}

// How many of two processes get their message that join one after the other when not a page of
// memory is left.
int got_from_a_full_bus(const std::string& bus_directory) {
    test::Daemon daemon(bus_directory);
    shmbus::BusOptions options;
    options.start_daemon = false;
    Bus bus = Bus::open(bus_directory, options);
    bus.declare_endpoint<Job>("jobs", small_lanes());
    const auto filler =
        shmbus::base::File::create_at(AT_FDCWD, bus_directory + ".filler", 0600);
    off_t filled = 0;
    int got = 0;
    for (std::uint64_t number = 1; number <= 2; ++number) {
        send(bus, 1, number);
        // Ends: the file system is small.
        while (::posix_fallocate(filler.fd(), filled, 4096) == 0) filled += 4096;
        Child joins([&] {
            Bus own = Bus::open(bus_directory, options);
            Endpoint jobs = own.endpoint("jobs", small_lanes());
            int arrived = 0;
            jobs.on<Job>([&](const Job&) { ++arrived; });
            handle_jobs(jobs, [&] { return arrived == 1; });
            return 0;
        });
        got += ends_well(joins) ? 1 : 0;
        // The page of who has left becomes the next one's.
        const bool is_ready = eventually(
            [&] { return std::filesystem::exists(bus_directory + "/participant.ahead"); });
        if (!is_ready) return -1;
    }
    return got;
}

TEST_SUITE("system") {

TEST_CASE("a lane is made ahead of need only where half of the memory stays free") {
    const int with_much = with_memory(64, lanes_after_a_stream);
    if (with_much == not_permitted) return;
    CHECK(with_much == 2);
    // The directory takes 5 MiB and the lane one: another one would fit, and leave less than half.
    CHECK(with_memory(12, lanes_after_a_stream) == 1);
}

TEST_CASE("who joins to empty a bus that has filled its memory finds room for itself") {
    const int got = with_memory(12, got_from_a_full_bus);
    if (got == not_permitted) return;
    CHECK(got == 2);
}
}

}  // namespace
