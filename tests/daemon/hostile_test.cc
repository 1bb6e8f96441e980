// Clients that are wrong or greedy: each is refused, and nobody else notices.
//
// SPDX-License-Identifier: BSL-1.0
#include <array>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/fixture.h"
#include "wire/channel.h"

using namespace std::chrono_literals;
using namespace shmbus;
using test::Daemon;
using test::Folder;

namespace {

base::File knock(const std::string& bus) {
    int error = 0;
    return wire::connect_at(base::File::open_directory(bus), wire::socket_file, error);
}

enum class Outcome { answered, refused_and_hung_up, hung_up, silent };

// Sends one frame and looks what comes back.
Outcome send_raw(const base::File& socket, std::span<const std::byte> frame) {
    int error = 0;
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    const wire::FrameEnd sent = wire::send_frame(socket, frame, {}, error);
    if (sent == wire::FrameEnd::closed) return Outcome::hung_up;
    Outcome outcome = Outcome::silent;
    // Ends: at the connection's end, after a good answer, or at the deadline.
    while (wire::wait_readable(socket, deadline)) {
        wire::Reply reply{};
        const auto got = wire::receive_frame(
            socket, std::as_writable_bytes(std::span(&reply, 1)), wire::Descriptors::accepted);
        if (got.end == wire::FrameEnd::closed || got.end == wire::FrameEnd::failed)
            return outcome == Outcome::answered ? Outcome::refused_and_hung_up : Outcome::hung_up;
        if (got.end != wire::FrameEnd::whole) continue;
        outcome = Outcome::answered;
        if (reply.code != wire::ReplyCode::malformed) return outcome;
    }
    return outcome;
}

template <class Request>
std::span<const std::byte> bytes_of(const Request& request) {
    return std::as_bytes(std::span(&request, 1));
}

// Whether a request on this connection is answered.
bool is_served(const base::File& socket) {
    const auto request = wire::make_request<wire::StatusRequest>(wire::RequestType::status, 5);
    int error = 0;
    if (wire::send_frame(socket, bytes_of(request), {}, error) != wire::FrameEnd::whole)
        return false;
    if (!wire::wait_readable(socket, std::chrono::steady_clock::now() + 10s)) return false;
    wire::Reply reply{};
    const auto got = wire::receive_frame(socket, std::as_writable_bytes(std::span(&reply, 1)),
                                         wire::Descriptors::accepted);
    return got.end == wire::FrameEnd::whole && reply.sequence == 5;
}

}  // namespace

TEST_SUITE("daemon") {

TEST_CASE("frames of every length from 0 to 4096 end the connection and nothing else") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const auto version = session->directory().version();
    std::vector<std::byte> frame(4096, std::byte{0});
    for (std::size_t length = 0; length <= frame.size(); ++length) {
        // A head that is right in itself, of a request that has another length.
        const auto head =
            wire::make_request<wire::StatusRequest>(wire::RequestType::declare_type, 1);
        std::memcpy(frame.data(), &head, sizeof(head));
        if (length == sizeof(wire::DeclareTypeRequest)) continue;
        const base::File socket = knock(folder.bus());
        REQUIRE(socket);
        const Outcome outcome = send_raw(socket, std::span(frame.data(), length));
        CAPTURE(length);
        CHECK((outcome == Outcome::refused_and_hung_up || outcome == Outcome::hung_up));
    }
    CHECK(session->directory().version() == version);
    CHECK(session->status().has_value());
}

TEST_CASE("unknown types, other versions and names of 100,000 bytes are refused") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    for (const std::uint32_t type : {0U, 16U, 17U, 255U, 65536U, 0xFFFFFFFFU}) {
        CAPTURE(type);
        wire::StatusRequest request =
            wire::make_request<wire::StatusRequest>(wire::RequestType::status, 1);
        request.head.type = type;
        CHECK(send_raw(knock(folder.bus()), bytes_of(request)) == Outcome::refused_and_hung_up);
    }
    auto other = wire::make_request<wire::StatusRequest>(wire::RequestType::status, 1);
    other.head.version += 1;
    CHECK(send_raw(knock(folder.bus()), bytes_of(other)) == Outcome::refused_and_hung_up);
    std::vector<std::byte> huge(100'000, std::byte{'a'});
    const auto head = wire::make_request<wire::StatusRequest>(wire::RequestType::hello, 1);
    std::memcpy(huge.data(), &head, sizeof(head));
    const Outcome outcome = send_raw(knock(folder.bus()), huge);
    CHECK((outcome == Outcome::refused_and_hung_up || outcome == Outcome::hung_up));
    auto hello = wire::make_request<wire::HelloRequest>(wire::RequestType::hello, 1);
    for (const std::uint32_t bytes : {0U, 201U, 204U, 0xFFFFFFFFU}) {
        CAPTURE(bytes);
        hello.name.bytes = bytes;
        CHECK(send_raw(knock(folder.bus()), bytes_of(hello)) == Outcome::refused_and_hung_up);
    }
    for (const char* name : {"..", "a/b", "a b", "\n", "a\0b"}) {
        hello.name.set(std::string_view(name, std::max<std::size_t>(std::strlen(name), 1)));
        if (std::string_view(name) == "a") continue;
        CHECK(send_raw(knock(folder.bus()), bytes_of(hello)) == Outcome::refused_and_hung_up);
    }
    CHECK(session->status().value().participants == 1);
}

TEST_CASE("half a million random bytes in frames of the right lengths break nothing") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const std::uint64_t seed = 20240611;
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    base::File socket;
    for (int round = 0; round < 3000; ++round) {
        if (!socket || round % 7 == 0) {
            socket = knock(folder.bus());
            REQUIRE(socket);
            auto hello = wire::make_request<wire::HelloRequest>(wire::RequestType::hello, 1);
            hello.name.set("stranger");
            REQUIRE(send_raw(socket, bytes_of(hello)) == Outcome::answered);
        }
        const auto type = static_cast<std::uint32_t>(random() % wire::last_request_type + 1);
        std::vector<std::byte> frame(wire::request_bytes(type));
        // Mostly small numbers: large ones are refused too early to try anything.
        for (std::byte& byte : frame)
            byte = static_cast<std::byte>(random() % 4 ? 0 : random() % 5);
        const wire::RequestHead head{wire::control_version,
                                     static_cast<std::uint32_t>(frame.size()), type, 7};
        std::memcpy(frame.data(), &head, sizeof(head));
        const Outcome outcome = send_raw(socket, frame);
        REQUIRE(outcome != Outcome::silent);
        if (outcome != Outcome::answered) socket.close();
    }
    CHECK(session->create_endpoint("orders").has_value());
    daemon.kill_and_restart();
    CHECK(daemon.trouble() == "");
    CHECK(session->create_endpoint("orders").has_value());
}

TEST_CASE("descriptors that nobody asked for end the connection and do not stay open") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const base::File socket = knock(folder.bus());
    std::array<int, 2> pipe{};
    REQUIRE(::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    const base::File reading(pipe[0]);
    base::File writing(pipe[1]);
    const auto request = wire::make_request<wire::StatusRequest>(wire::RequestType::status, 1);
    int error = 0;
    const int passed[] = {writing.fd()};
    REQUIRE(wire::send_frame(socket, bytes_of(request), passed, error) == wire::FrameEnd::whole);
    writing.close();
    // The pipe ends when the last descriptor for writing is closed, the daemon's included.
    CHECK(test::eventually([&] {
        char byte = 0;
        return ::read(reading.fd(), &byte, 1) == 0;
    }));
    // The answer to the first frame, which says why, may still be on its way.
    const Outcome outcome = send_raw(socket, bytes_of(request));
    CHECK((outcome == Outcome::refused_and_hung_up || outcome == Outcome::hung_up));
}

TEST_CASE("everything but hello and status needs a registration") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const base::File socket = knock(folder.bus());
    for (std::uint32_t type = 2; type <= wire::last_request_type; ++type) {
        if (type == static_cast<std::uint32_t>(wire::RequestType::status)) continue;
        std::vector<std::byte> frame(wire::request_bytes(type));
        const wire::RequestHead head{wire::control_version,
                                     static_cast<std::uint32_t>(frame.size()), type, 9};
        std::memcpy(frame.data(), &head, sizeof(head));
        int error = 0;
        REQUIRE(wire::send_frame(socket, frame, {}, error) == wire::FrameEnd::whole);
        REQUIRE(wire::wait_readable(socket, std::chrono::steady_clock::now() + 10s));
        wire::Reply reply{};
        const auto got = wire::receive_frame(
            socket, std::as_writable_bytes(std::span(&reply, 1)), wire::Descriptors::accepted);
        REQUIRE(got.end == wire::FrameEnd::whole);
        CHECK(reply.code == wire::ReplyCode::not_registered);
        CHECK(reply.sequence == 9);
    }
}

TEST_CASE("a client that does not read its answers is hung up on, and others are served") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const base::File deaf = knock(folder.bus());
    const auto request = wire::make_request<wire::StatusRequest>(wire::RequestType::status, 1);
    int error = 0;
    // Ends when the daemon hangs up: its answers fill the socket long before the limit.
    const bool hung_up = test::eventually([&] {
        wire::FrameEnd sent = wire::FrameEnd::whole;
        while (sent == wire::FrameEnd::whole)
            sent = wire::send_frame(deaf, bytes_of(request), {}, error);
        return sent == wire::FrameEnd::closed;
    });
    CHECK(hung_up);
    CHECK(session->status().has_value());
}

TEST_CASE("each quota is refused by its name, and only the greedy one meets it") {
    const Folder folder;
    const std::string file = folder.path() + "/config.toml";
    std::ofstream(file) << "[quotas.owner]\nparticipants = 2\nendpoints = 2\ntypes = 2\n"
                           "subscriptions = 1\nlanes = 2\nlane_bytes = 12288\nconnections = 4\n";
    Daemon daemon(folder.bus(), {"--config", file});
    REQUIRE(daemon.trouble() == "");
    const auto session = test::join(folder.bus());
    const auto says = [](const auto& result, const char* quota) {
        REQUIRE_FALSE(result.has_value());
        CHECK(result.error() == ErrorCode::refused);
        INFO(result.error().details()->reason);
        CHECK(result.error().details()->reason.find(std::string("'") + quota + "'") !=
              std::string::npos);
    };
    const auto first = session->create_endpoint("a", {.lane_bytes = 4096}).value();
    const auto second = session->create_endpoint("b", {.lane_bytes = 4096}).value();
    says(session->create_endpoint("c"), "endpoints");
    const std::uint32_t one = session->declare_type(test::event_type("one")).value();
    const std::uint32_t two = session->declare_type(test::event_type("two")).value();
    says(session->declare_type(test::event_type("three")), "types");
    REQUIRE(session->subscribe(first, one).has_value());
    says(session->subscribe(second, two), "subscriptions");
    says(session->open_lane(first.index, 0, 16384), "lane_bytes");
    REQUIRE(session->open_lane(first.index).has_value());
    REQUIRE(session->open_lane(first.index).has_value());
    says(session->open_lane(first.index), "lanes");
    const auto another = test::join(folder.bus());
    try {
        const auto third = test::join(folder.bus());
        FAIL("a third participant was registered");
    } catch (const SetupError& error) {
        CHECK(std::string(error.what()).find("'participants'") != std::string::npos);
    }
    // Those who were turned away count until the daemon has seen that they are gone.
    std::array<base::File, 2> idle;
    for (base::File& socket : idle)
        REQUIRE(test::eventually([&] {
            socket = knock(folder.bus());
            return is_served(socket);
        }));
    try {
        const auto refused = test::join(folder.bus());
        FAIL("a fifth connection was accepted");
    } catch (const SetupError& error) {
        CHECK(std::string(error.what()).find("'connections'") != std::string::npos);
    }
    CHECK(session->status().has_value());
}

TEST_CASE("lanes that wait for one another end with the quota of successors") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const auto endpoint = session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    std::uint64_t last = session->open_lane(endpoint.index).value().id;
    int made = 0;
    for (bool refused = false; !refused && made < 100;) {
        // A daemon that needs longer than this call waits is asked again.
        REQUIRE(test::eventually([&] {
            const auto next =
                session->open_successor(endpoint.index, endpoint.generation, last, 4096);
            if (!next) {
                refused = next.error() == ErrorCode::refused;
                if (refused)
                    CHECK(next.error().details()->reason.find("'successors'") !=
                          std::string::npos);
                return refused;
            }
            last = next->id;
            ++made;
            return true;
        }));
    }
    CHECK(made == 4);
}

TEST_CASE("without a descriptor for a connection the daemon says so, and goes on") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const pid_t process = daemon.process().pid();
    rlimit usual{};
    REQUIRE(::prlimit(process, RLIMIT_NOFILE, nullptr, &usual) == 0);
    rlimit few = usual;
    std::vector<base::File> strangers;
    SUBCASE("the one that is kept for that is there") {
        few.rlim_cur = 64;
        REQUIRE(::prlimit(process, RLIMIT_NOFILE, &few, nullptr) == 0);
        for (int count = 0; count < 64; ++count) strangers.push_back(knock(folder.bus()));
        try {
            static_cast<void>(test::join(folder.bus()));
            CHECK(false);
        } catch (const SetupError& error) {
            CHECK(std::string(error.what()).find("cannot take another connection") !=
                  std::string::npos);
        }
    }
    SUBCASE("it is not") {
        few.rlim_cur = 0;
        REQUIRE(::prlimit(process, RLIMIT_NOFILE, &few, nullptr) == 0);
        strangers.push_back(knock(folder.bus()));
        // Each answer is a turn in which somebody knocks.
        for (int turn = 0; turn < 100; ++turn) REQUIRE(session->status().has_value());
    }
    REQUIRE(::prlimit(process, RLIMIT_NOFILE, &usual, nullptr) == 0);
    strangers.clear();
    CHECK(test::join(folder.bus())->status().has_value());
    std::ifstream log(folder.path() + "/daemon.out");
    int told = 0;
    for (std::string line; std::getline(log, line);)
        told += line.find("connections are refused") != std::string::npos ? 1 : 0;
    CHECK(told == 1);
}

// Needs root, to become somebody else; says so and stops otherwise.
TEST_CASE("another user joins through the group of the bus, under the quotas for others") {
    if (::geteuid() != 0) {
        MESSAGE("not run: only root can become another user");
        return;
    }
    constexpr uid_t other = 65534;
    const Folder folder;
    REQUIRE(::chmod(folder.path().c_str(), 0711) == 0);
    const std::string file = folder.path() + "/config.toml";
    std::ofstream(file) << "group = 65534\n[quotas.others]\nendpoints = 1\n";
    const std::string closed_bus = folder.path() + "/closed";
    Daemon open_to_group(folder.bus(), {"--config", file});
    Daemon closed(closed_bus);
    REQUIRE(open_to_group.trouble() == "");
    REQUIRE(closed.trouble() == "");
    const auto owner = test::join(folder.bus());
    const auto theirs = owner->create_endpoint("owners", {.lane_bytes = 4096}).value();
    // Each step that goes wrong ends the child with a status of its own.
    test::Process child = test::fork_child([&] {
        if (::setgroups(0, nullptr) != 0 || ::setgid(other) != 0 || ::setuid(other) != 0)
            ::_exit(10);
        auto* session = test::join(folder.bus()).release();
        if (!session->create_endpoint("mine", {.lane_bytes = 4096})) ::_exit(11);
        const auto refused = session->create_endpoint("second");
        if (refused || refused.error().details()->reason.find("quota 'endpoints'") ==
                           std::string::npos)
            ::_exit(12);
        if (!session->open_lane(theirs.index)) ::_exit(13);
        if (session->remove_endpoint({theirs.index, theirs.generation})) ::_exit(14);
        const std::string directory = folder.bus() + "/directory";
        if (::open(directory.c_str(), O_RDWR | O_CLOEXEC) >= 0) ::_exit(15);
        try {
            static_cast<void>(test::join(closed_bus, 500ms));
            ::_exit(16);
        } catch (const SetupError&) {
        }
    });
    CHECK(child.end(0ms) == -1);
    CHECK(owner->status().value().participants == 2);
    child.kill();
    CHECK(test::eventually([&] { return owner->status().value().participants == 1; }));
    CHECK(owner->status().value().endpoints == 2);
}

}  // TEST_SUITE
