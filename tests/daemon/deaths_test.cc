// What is cleared away after a death, in which order, and what waits.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/liveness.h"
#include "daemon/fixture.h"
#include "lane/consumer.h"
#include "lane/inbox_file.h"
#include "lane/writer.h"
#include "wire/channel.h"
#include "wire/names.h"
#include "wire/record.h"

using namespace std::chrono_literals;
using namespace shmbus;
using detail::EndpointHandle;
using test::Daemon;
using test::Folder;

namespace {

// Writes one empty record of a made-up type.
void write_record(lane::Writer& writer) {
    const lane::Claim claim = writer.claim(1);
    if (!claim) throw std::runtime_error("no room in a new lane");
    writer.commit(claim, wire::Meta{8, 1, 0, 0}.word());
}

// A process that has sent so many records there, and waits to be killed.
test::Process fork_sender(const Folder& folder, EndpointHandle endpoint, int records) {
    return test::fork_child([&] {
        auto* writing = test::join(folder.bus()).release();
        const auto lane = writing->open_lane(endpoint.index);
        lane::Writer writer(lane.value().lane);
        for (int count = 0; count < records; ++count) write_record(writer);
    });
}

std::unique_ptr<lane::Consumer> consume(detail::Session& session, EndpointHandle endpoint) {
    auto inbox = session.attach(endpoint).value();
    return std::make_unique<lane::Consumer>(
        inbox.inbox, inbox.slot, session.reference(), session.folder().lanes().fd(),
        lane::Peers(session.folder().participants().fd()), [](bool, std::string_view) {});
}

std::uint64_t count_of(detail::Session& session, std::uint64_t detail::BusStatus::* what) {
    const auto status = session.status();
    return status ? (*status).*what : ~std::uint64_t{0};
}

}  // namespace

TEST_SUITE("daemon") {

TEST_CASE("of a process that leaves nothing remains but what it made for others") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto observer = test::join(folder.bus());
    const EndpointHandle endpoint =
        observer->create_endpoint("orders", {.lane_bytes = 4096}).value();
    const auto baseline = test::files_of_bus(folder.bus());
    {
        const auto session = test::join(folder.bus());
        REQUIRE(session->attach(endpoint).has_value());
        REQUIRE(session->open_lane(endpoint.index).has_value());
        REQUIRE(session->reply_inbox(4096).has_value());
        CHECK(test::files_of_bus(folder.bus()).size() == baseline.size() + 3);
    }
    CHECK(test::eventually([&] { return test::files_of_bus(folder.bus()) == baseline; }));
    CHECK(count_of(*observer, &detail::BusStatus::participants) == 1);
    CHECK(count_of(*observer, &detail::BusStatus::lanes) == 0);
}

TEST_CASE("processes killed in any order leave a directory as it was, also across restarts") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto observer = test::join(folder.bus());
    const std::uint32_t type = observer->declare_type(test::event_type("priced")).value();
    const EndpointHandle endpoint =
        observer->create_endpoint("orders", {.lane_bytes = 4096}).value();
    const auto baseline = test::files_of_bus(folder.bus());
    const std::uint64_t seed = 7;
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    for (int round = 0; round < 4; ++round) {
        std::vector<test::Process> children;
        for (int i = 0; i < 8; ++i) {
            children.push_back(test::fork_child([&] {
                // Never destroyed: this process ends by SIGKILL.
                auto* session = test::join(folder.bus()).release();
                static_cast<void>(session->publisher(type).value());
                static_cast<void>(session->open_lane(endpoint.index).value());
                static_cast<void>(session->open_lane(endpoint.index).value());
                new auto(session->attach(endpoint).value());
                new auto(session->reply_inbox(4096).value());
            }));
        }
        CHECK(count_of(*observer, &detail::BusStatus::participants) == 9);
        CHECK(count_of(*observer, &detail::BusStatus::lanes) == 16);
        std::shuffle(children.begin(), children.end(), random);
        // The daemon is away while some of them die.
        for (std::size_t at = 0; at < children.size(); ++at) {
            if (at == 3) daemon.process().kill();
            children[at].kill();
            if (at == 5) daemon.kill_and_restart();
        }
        CHECK(test::eventually([&] { return test::files_of_bus(folder.bus()) == baseline; }));
        CHECK(count_of(*observer, &detail::BusStatus::participants) == 1);
        CHECK(count_of(*observer, &detail::BusStatus::lanes) == 0);
        CHECK(count_of(*observer, &detail::BusStatus::endpoints) == 1);
    }
}

TEST_CASE("a process that is killed while it registers leaves nothing") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto observer = test::join(folder.bus());
    const auto baseline = test::files_of_bus(folder.bus());
    {
        int error = 0;
        const base::File socket = wire::connect_at(base::File::open_directory(folder.bus()),
                                                   wire::socket_file, error);
        auto hello = wire::make_request<wire::HelloRequest>(wire::RequestType::hello, 1);
        hello.name.set("half.way");
        REQUIRE(wire::send_frame(socket, std::as_bytes(std::span(&hello, 1)), {}, error) ==
                wire::FrameEnd::whole);
        CHECK(test::eventually(
            [&] { return test::files_of_bus(folder.bus()).size() == baseline.size() + 1; }));
    }
    CHECK(test::eventually([&] { return test::files_of_bus(folder.bus()) == baseline; }));
}

TEST_CASE("a stopped process keeps everything, however long it is stopped") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto observer = test::join(folder.bus());
    const EndpointHandle endpoint =
        observer->create_endpoint("orders", {.lane_bytes = 4096}).value();
    test::Process child = test::fork_child([&] {
        auto* session = test::join(folder.bus()).release();
        static_cast<void>(session->open_lane(endpoint.index).value());
    });
    const auto files = test::files_of_bus(folder.bus());
    child.signal(SIGSTOP);
    daemon.kill_and_restart();
    // Some sweeps later: a second daemon's whole life, asked for by a participant that comes.
    for (int round = 0; round < 3; ++round) {
        const auto passer_by = test::join(folder.bus());
        REQUIRE(passer_by->status().has_value());
    }
    CHECK(test::eventually([&] { return test::files_of_bus(folder.bus()) == files; }));
    CHECK(count_of(*observer, &detail::BusStatus::participants) == 2);
}

TEST_CASE("a dead writer's lane goes when its last message was taken and handled, not before") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const EndpointHandle endpoint =
        session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    test::Process child = fork_sender(folder, endpoint, 2);
    child.kill();
    const auto lanes = [&] { return count_of(*session, &detail::BusStatus::lanes); };
    const auto participants = [&] { return count_of(*session, &detail::BusStatus::participants); };
    const auto consumer = consume(*session, endpoint);
    std::vector<directory::Participant> rows;
    REQUIRE(test::eventually([&] {
        return session->directory().participants(rows) && rows.size() == 2 &&
               rows[1].row.state == directory::RowState::leaving;
    }));
    CHECK(lanes() == 1);
    // Batches begin small, so the two messages may come in two.
    std::vector<lane::Batch*> batches;
    std::uint32_t taken = 0;
    REQUIRE(test::eventually([&] {
        if (lane::Batch* batch = consumer->take(8)) {
            batches.push_back(batch);
            taken += batch->count;
        }
        return taken == 2;
    }));
    // Everything is taken, but it is in a hand.
    daemon.kill_and_restart();
    CHECK(lanes() == 1);
    CHECK(participants() == 2);
    for (lane::Batch* batch : batches) consumer->finish(batch);
    CHECK(test::eventually([&] { return lanes() == 0 && participants() == 1; }));
}

TEST_CASE("an endpoint whose inbox was cut off can be removed, with what nobody can come to") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const EndpointHandle endpoint =
        session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    test::Process sender = fork_sender(folder, endpoint, 1);
    const std::string inbox = folder.bus() + "/inboxes/" +
                              wire::numbered_file(endpoint.index, endpoint.generation);
    std::filesystem::resize_file(inbox, 100);
    daemon.kill_and_restart();
    CHECK(session->remove_endpoint(endpoint).error() == ErrorCode::refused);
    sender.kill();
    CHECK(test::eventually([&] { return session->remove_endpoint(endpoint).has_value(); }));
    CHECK_FALSE(std::filesystem::exists(inbox));
    CHECK(count_of(*session, &detail::BusStatus::lanes) == 0);
    CHECK(session->create_endpoint("orders").has_value());
}

TEST_CASE("what each sweep cannot look at for want of descriptors is said once") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const EndpointHandle endpoint =
        session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    std::vector<std::unique_ptr<detail::Session>> leaving;
    for (int count = 0; count < 6; ++count) leaving.push_back(test::join(folder.bus()));
    const auto participants = [&] { return count_of(*session, &detail::BusStatus::participants); };
    test::Process sender = fork_sender(folder, endpoint, 1);
    // A sweep that finds somebody gone has looked at all the others' pages.
    test::join(folder.bus()).reset();
    REQUIRE(test::eventually([&] { return participants() == 8; }));
    rlimit usual{};
    REQUIRE(::prlimit(daemon.process().pid(), RLIMIT_NOFILE, nullptr, &usual) == 0);
    rlimit none = usual;
    none.rlim_cur = 0;
    REQUIRE(::prlimit(daemon.process().pid(), RLIMIT_NOFILE, &none, nullptr) == 0);
    sender.kill();
    std::uint64_t left = 8;
    for (auto& one : leaving) {
        one.reset();
        --left;
        REQUIRE(test::eventually([&] { return participants() == left; }));
    }
    std::ifstream log(folder.path() + "/daemon.out");
    int told = 0;
    for (std::string line; std::getline(log, line);)
        told += line.find("/lanes/") != std::string::npos ? 1 : 0;
    CHECK(told == 1);
    REQUIRE(::prlimit(daemon.process().pid(), RLIMIT_NOFILE, &usual, nullptr) == 0);
}

TEST_CASE("senders that come and go, and leave messages, keep nobody out") {
    const Folder folder;
    const std::string file = folder.path() + "/config.toml";
    std::ofstream(file) << "[tables]\nparticipants = 5\n";
    Daemon daemon(folder.bus(), {"--config", file});
    EndpointHandle endpoint;
    {
        const auto session = test::join(folder.bus());
        endpoint = session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    }
    // More than the table has rows for. The last may not be seen to be gone yet.
    std::unique_ptr<detail::Session> session;
    const auto join = [&] {
        return test::eventually([&] {
            try {
                session = test::join(folder.bus());
                return true;
            } catch (const SetupError&) {
                return false;
            }
        });
    };
    for (int sender = 0; sender < 13; ++sender) {
        REQUIRE(join());
        const auto lane = session->open_lane(endpoint.index);
        REQUIRE(lane.has_value());
        lane::Writer writer(lane.value().lane);
        write_record(writer);
        session.reset();
    }
    daemon.kill_and_restart();
    CHECK(daemon.trouble() == "");
    REQUIRE(join());
    CHECK(count_of(*session, &detail::BusStatus::lanes) == 13);
    const auto consumer = consume(*session, endpoint);
    int taken = 0;
    REQUIRE(test::eventually([&] {
        if (lane::Batch* batch = consumer->take(8)) {
            taken += static_cast<int>(batch->count);
            consumer->finish(batch);
        }
        return taken == 13;
    }));
    CHECK(test::eventually([&] {
        return count_of(*session, &detail::BusStatus::lanes) == 0 &&
               count_of(*session, &detail::BusStatus::participants) == 1;
    }));
    CHECK(std::filesystem::exists(folder.bus() + "/participants/" +
                                  wire::numbered_file(session->reference())));
    CHECK(test::files_of_bus(folder.bus()).size() == 2);  // our page and the inbox
}

TEST_CASE("a dead consumer's place stays until a survivor has taken over what it held") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const EndpointHandle endpoint =
        session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    const auto lane = session->open_lane(endpoint.index);
    lane::Writer writer(lane.value().lane);
    write_record(writer);
    test::Process child = test::fork_child([&] {
        auto* dying = test::join(folder.bus()).release();
        auto* consumer = consume(*dying, endpoint).release();
        if (!consumer->take(8)) throw std::runtime_error("nothing to take");
    });
    child.kill();
    std::vector<directory::Participant> rows;
    REQUIRE(test::eventually([&] {
        return session->directory().participants(rows) && rows.size() == 2 &&
               rows[1].row.state == directory::RowState::leaving;
    }));
    daemon.kill_and_restart();
    CHECK(count_of(*session, &detail::BusStatus::participants) == 2);
    const auto survivor = consume(*session, endpoint);
    lane::Batch* batch = nullptr;
    REQUIRE(test::eventually([&] {
        static_cast<void>(survivor->rescue());
        return (batch = survivor->take(8)) != nullptr;
    }));
    CHECK(batch->adopted);
    CHECK(batch->count == 1);
    survivor->finish(batch);
    CHECK(test::eventually(
        [&] { return count_of(*session, &detail::BusStatus::participants) == 1; }));
}

TEST_CASE("a lane that was closed for its successor goes when drained, while its writer lives on") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const EndpointHandle endpoint =
        session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    const auto lane = session->open_lane(endpoint.index);
    lane::Writer writer(lane->lane);
    write_record(writer);
    std::uint64_t next = 0;
    const auto ask = [&] {
        const auto made =
            session->open_successor(endpoint.index, endpoint.generation, lane->id, 4096);
        if (made) next = made->id;
        return made.has_value();
    };
    REQUIRE(test::eventually(ask));
    const std::uint64_t first = next;
    // The same lane, however often it is asked for, and whichever daemon answers.
    REQUIRE(test::eventually(ask));
    CHECK(next == first);
    daemon.kill_and_restart();
    REQUIRE(test::eventually(ask));
    CHECK(next == first);
    const auto lanes = [&] { return count_of(*session, &detail::BusStatus::lanes); };
    CHECK(lanes() == 2);
    // Closed while no daemon sees it.
    daemon.process().kill();
    writer.close();
    daemon.kill_and_restart();
    const auto consumer = consume(*session, endpoint);
    lane::Batch* batch = nullptr;
    REQUIRE(test::eventually([&] { return (batch = consumer->take(8)) != nullptr; }));
    CHECK(lanes() == 2);
    consumer->finish(batch);
    CHECK(test::eventually([&] { return lanes() == 1; }));
}

TEST_CASE("a sleeper beside a consumer that dies is woken at once") {
    const Folder folder;
    Daemon daemon(folder.bus());
    const auto session = test::join(folder.bus());
    const EndpointHandle endpoint =
        session->create_endpoint("orders", {.lane_bytes = 4096}).value();
    const auto mine = session->attach(endpoint).value();
    const lane::InboxView inbox(mine.inbox);
    test::Process child = test::fork_child([&] {
        auto* dying = test::join(folder.bus()).release();
        new auto(dying->attach(endpoint).value());
    });
    const auto& bell = inbox.doorbell().bells[mine.slot];
    const std::uint32_t before = bell.load(std::memory_order_acquire);
    child.kill();
    CHECK(test::eventually(
        [&] { return bell.load(std::memory_order_acquire) != before; }));
}

}  // TEST_SUITE
