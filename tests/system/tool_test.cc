// The shmbus command on a bus that is in use.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <array>
#include <cstdio>

#include <shmbus/result.h>

#include "system/stage.h"

using namespace system_tests;

namespace {

// What `shmbus` of the build prints, run on this bus; its end must be a good one.
std::string said_by_tool(const Stage& stage, const std::string& words) {
    const std::string daemon = test::daemon_program();
    const std::string line = daemon.substr(0, daemon.rfind('/')) + "/shmbus --bus " +
                             stage.folder.bus() + " " + words + " 2>&1";
    std::FILE* pipe = ::popen(line.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::string said;
    std::array<char, 512> part{};
    while (std::fgets(part.data(), part.size(), pipe) != nullptr) said += part.data();
    CAPTURE(said);
    CHECK(::pclose(pipe) == 0);
    return said;
}

bool has(const std::string& text, std::string_view words) {
    return text.find(words) != std::string::npos;
}

TEST_SUITE("system") {

TEST_CASE("an endpoint that the tool has made takes messages before it first runs") {
    const Stage stage;
    CHECK(has(said_by_tool(stage, "endpoint create early --lane-bytes 8192"), "endpoint early"));
    CHECK(has(said_by_tool(stage, "endpoint ls"), "8192"));
    Bus bus = stage.join();
    shmbus::SendOptions there;
    there.destination = "early";
    REQUIRE(bus.send(Job{1, 7}, there));
    Endpoint endpoint = bus.endpoint("early");
    std::uint64_t seen = 0;
    endpoint.on<Job>([&](const Job& job) { seen = job.number; });
    CHECK(eventually([&] { return endpoint.poll() == 1; }));
    CHECK(seen == 7);
}

TEST_CASE("the tool tells who is on a bus, what they want, and what a wake costs senders") {
    const Stage stage;
    shmbus::BusOptions options;
    options.start_daemon = false;
    options.process_name = "listener";
    Bus bus = Bus::open(stage.folder.bus(), options);
    Endpoint endpoint = bus.endpoint("news");
    endpoint.on<News>([](const News&) {});
    endpoint.on<Job>([](const Job&) {});
    const std::string all = said_by_tool(stage, "ls");
    CHECK(has(all, stage.folder.bus()));
    CHECK(has(all, std::string("wake_method    ") + std::string(bus.wake_method())));
    CHECK(has(said_by_tool(stage, "--json ls"), "\"wake_method\""));
    CHECK(has(said_by_tool(stage, "process ls"), "listener"));
    CHECK(has(said_by_tool(stage, "sub ls"), "system.news"));
    CHECK(has(said_by_tool(stage, "endpoint ls"), "system.job"));
}
}

}  // namespace
