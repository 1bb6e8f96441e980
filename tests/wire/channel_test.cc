// Frames over a socket: whole or not at all, whatever their length, and nothing leaks.
//
// SPDX-License-Identifier: BSL-1.0
#include "wire/channel.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "base/support.h"
#include "wire/names.h"

using namespace shmbus;
using namespace std::chrono_literals;
using wire::Descriptors;
using wire::FrameEnd;

namespace {

std::chrono::steady_clock::time_point in(std::chrono::milliseconds span) {
    return std::chrono::steady_clock::now() + span;
}

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& one : std::filesystem::directory_iterator("/proc/self/fd"))
        ++count;
    return count;
}

// Two ends of a connection, as the daemon and its clients have them.
struct Connection {
    Connection() {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
            throw std::runtime_error("socketpair");
        here = base::File(ends[0]);
        there = base::File(ends[1]);
    }
    FrameEnd send(std::span<const std::byte> frame, std::span<const int> descriptors = {}) {
        return wire::send_frame(here, frame, descriptors, error);
    }
    wire::ReceivedFrame receive(Descriptors descriptors = Descriptors::refused) {
        return wire::receive_frame(there, room, descriptors);
    }
    base::File here, there;
    std::array<std::byte, wire::most_frame_bytes> room{};
    int error = 0;
};

std::vector<std::byte> frame_of(std::size_t length) {
    std::vector<std::byte> frame(length);
    for (std::size_t i = 0; i < length; ++i)
        frame[i] = static_cast<std::byte>(i * 7 + length * 13 + 1);
    return frame;
}

// As a client that is none of ours would send them.
void send_raw(const base::File& socket, const std::vector<int>& descriptors) {
    std::byte payload{1};
    iovec part{&payload, 1};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * 32)> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
    std::memcpy(CMSG_DATA(head), descriptors.data(), sizeof(int) * descriptors.size());
    REQUIRE(::sendmsg(socket.fd(), &message, 0) == 1);
}

}  // namespace

TEST_SUITE("wire") {

TEST_CASE("a frame of every length up to the bound arrives whole, and as one") {
    Connection connection;
    for (std::size_t length = 1; length <= wire::most_frame_bytes; ++length) {
        const std::vector<std::byte> frame = frame_of(length);
        REQUIRE(connection.send(frame) == FrameEnd::whole);
        REQUIRE(connection.send(frame_of(1)) == FrameEnd::whole);
        const wire::ReceivedFrame got = connection.receive();
        REQUIRE(got.end == FrameEnd::whole);
        REQUIRE(got.bytes == length);
        CHECK(std::equal(frame.begin(), frame.end(), connection.room.begin()));
        const wire::ReceivedFrame next = connection.receive();
        REQUIRE(next.end == FrameEnd::whole);
        REQUIRE(next.bytes == 1);
    }
    CHECK(connection.receive().end == FrameEnd::nothing);
}

TEST_CASE("a frame longer than the room for it is told apart, and the next one is not touched") {
    Connection connection;
    for (const std::size_t length : {wire::most_frame_bytes + 1, 2 * wire::most_frame_bytes,
                                     std::size_t{100'000}}) {
        REQUIRE(connection.send(frame_of(length)) == FrameEnd::whole);
        REQUIRE(connection.send(frame_of(16)) == FrameEnd::whole);
        CHECK(connection.receive().end == FrameEnd::oversized);
        const wire::ReceivedFrame next = connection.receive();
        CHECK(next.end == FrameEnd::whole);
        CHECK(next.bytes == 16);
    }
}

TEST_CASE("a frame of no bytes counts as the end of the connection") {
    Connection connection;
    REQUIRE(connection.send({}) == FrameEnd::whole);
    CHECK(connection.receive().end == FrameEnd::closed);
}

TEST_CASE("when the other end is gone both directions say closed") {
    Connection connection;
    REQUIRE(connection.send(frame_of(8)) == FrameEnd::whole);
    connection.here.close();
    CHECK(connection.receive().end == FrameEnd::whole);
    CHECK(connection.receive().end == FrameEnd::closed);
    std::swap(connection.here, connection.there);
    CHECK(connection.send(frame_of(8)) == FrameEnd::closed);
}

TEST_CASE("a full socket takes nothing of a frame, and all of it once there is room") {
    Connection connection;
    std::size_t sent = 0;
    FrameEnd end = FrameEnd::whole;
    while (sent < 100'000 && (end = connection.send(frame_of(600))) == FrameEnd::whole) ++sent;
    REQUIRE(end == FrameEnd::nothing);
    CHECK_FALSE(wire::wait_writable(connection.here, in(0ms)));
    std::size_t received = 0;
    while (connection.receive().end == FrameEnd::whole) ++received;
    CHECK(received == sent);
    CHECK(wire::wait_writable(connection.here, in(10s)));
    REQUIRE(connection.send(frame_of(600)) == FrameEnd::whole);
    CHECK(connection.receive().bytes == 600);
}

TEST_CASE("up to four descriptors travel beside a frame, closed on exec") {
    const shmbus::test::TemporaryDirectory directory;
    const base::File file = directory.make("file", 10);
    for (std::size_t count = 0; count <= wire::most_descriptors; ++count) {
        Connection connection;
        const std::vector<int> descriptors(count, file.fd());
        REQUIRE(connection.send(frame_of(16), descriptors) == FrameEnd::whole);
        const wire::ReceivedFrame got = connection.receive(Descriptors::accepted);
        REQUIRE(got.end == FrameEnd::whole);
        REQUIRE(got.descriptor_count == count);
        for (std::size_t i = 0; i < count; ++i) {
            CHECK(got.descriptors[i].facts().inode == file.facts().inode);
            CHECK((::fcntl(got.descriptors[i].fd(), F_GETFD) & FD_CLOEXEC) != 0);
        }
    }
}

TEST_CASE("descriptors that nobody asked for, or too many, are refused and do not stay open") {
    const shmbus::test::TemporaryDirectory directory;
    const base::File file = directory.make("file", 10);
    Connection connection;
    const std::size_t before = open_descriptors();
    for (std::size_t count = 1; count <= 20; ++count) {
        const std::vector<int> descriptors(count, file.fd());
        send_raw(connection.here, descriptors);
        CHECK(connection.receive(Descriptors::refused).end == FrameEnd::foreign);
        CHECK(open_descriptors() == before);
        send_raw(connection.here, descriptors);
        {
            const wire::ReceivedFrame got = connection.receive(Descriptors::accepted);
            const bool fits = count <= wire::most_descriptors;
            CHECK((got.end == FrameEnd::whole) == fits);
            CHECK((got.end == FrameEnd::foreign) == !fits);
        }
        CHECK(open_descriptors() == before);
    }
}

TEST_CASE("waiting ends with a frame, the other end's end or the time, and looks once at least") {
    Connection connection;
    CHECK_FALSE(wire::wait_readable(connection.there, in(-1s)));
    const auto begin = std::chrono::steady_clock::now();
    CHECK_FALSE(wire::wait_readable(connection.there, in(20ms)));
    CHECK(std::chrono::steady_clock::now() - begin >= 20ms);
    REQUIRE(connection.send(frame_of(8)) == FrameEnd::whole);
    CHECK(wire::wait_readable(connection.there, in(-1s)));
    CHECK(wire::wait_readable(connection.there, in(10s)));
    CHECK(connection.receive().end == FrameEnd::whole);
    connection.here.close();
    CHECK(wire::wait_readable(connection.there, in(10s)));
}

TEST_CASE("a socket deep in a directory is found, nobody there is told from nobody any more") {
    const shmbus::test::TemporaryDirectory top;
    std::string path = top.path();
    // Deeper than the 107 bytes that the path of a socket may have.
    for (int depth = 0; depth < 10; ++depth) {
        path += "/a.folder.with.a.long.name";
        std::filesystem::create_directory(path);
    }
    const base::File directory = base::File::open_directory(path);
    int error = 0;
    CHECK_FALSE(wire::connect_at(directory, wire::socket_file, error));
    CHECK(error == ENOENT);
    {
        const base::File listener = wire::listen_at(directory, wire::socket_file, 0600);
        struct stat found {};
        REQUIRE(::fstatat(directory.fd(), wire::socket_file, &found, 0) == 0);
        CHECK((found.st_mode & 07777) == 0600);
        const base::File client = wire::connect_at(directory, wire::socket_file, error);
        REQUIRE(client);
        const base::File accepted(::accept(listener.fd(), nullptr, nullptr));
        wire::Peer peer;
        REQUIRE(wire::peer_of(accepted, peer));
        CHECK(peer.pid == ::getpid());
        CHECK(peer.uid == ::geteuid());
        CHECK(peer.gid == ::getegid());
    }
    CHECK_FALSE(wire::connect_at(directory, wire::socket_file, error));
    CHECK(error == ECONNREFUSED);
    // What a killed daemon left is replaced.
    const base::File listener = wire::listen_at(directory, wire::socket_file, 0660);
    CHECK(wire::connect_at(directory, wire::socket_file, error));
}
}
