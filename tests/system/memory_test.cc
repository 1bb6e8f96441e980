// A file system for buses that is small, as in a container.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <filesystem>

#include <sched.h>
#include <sys/mount.h>

#include "system/stage.h"

using namespace system_tests;

namespace {

// Runs `body` where `folder` is a file system of its own of so many MiB. Ends with 77 when that is
// not permitted.
int with_memory(const std::string& folder, int mebibytes, const std::function<int()>& body) {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
        return 77;
    const std::string size = "size=" + std::to_string(mebibytes) + "m";
    if (::mount("none", folder.c_str(), "tmpfs", 0, size.c_str()) != 0) return 77;
    return body();
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

TEST_SUITE("system") {

TEST_CASE("a lane is made ahead of need only where half of the memory stays free") {
    const test::Folder folder;
    const auto lanes_with = [&](int mebibytes) {
        Child child([&] {
            return with_memory(folder.path(), mebibytes,
                               [&] { return lanes_after_a_stream(folder.bus()); });
        });
        const int status = child.reap();
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    };
    const int with_much = lanes_with(64);
    if (with_much == 77) {
        MESSAGE("not tested: mounting is not permitted here");
        return;
    }
    CHECK(with_much == 2);
    // The directory takes 5 MiB and the lane one: another one would fit, and leave less than half.
    CHECK(lanes_with(12) == 1);
}
}

}  // namespace
