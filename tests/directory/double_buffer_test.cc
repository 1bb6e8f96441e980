// The directory's two copies: what readers see while the writer works, dies and returns.
//
// SPDX-License-Identifier: BSL-1.0
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shmbus/result.h>

#include "base/file.h"
#include "directory/reader.h"
#include "directory/writer.h"
#include "support/folder.h"
#include "wire/names.h"

using namespace shmbus;
using directory::DirectoryReader;
using directory::DirectoryWriter;
using directory::EndpointKind;
using directory::EndpointRow;
using directory::RowState;
using directory::SubscriptionRow;
using directory::TypeRow;

namespace {

constexpr directory::TableSizes small_sizes{8, 16, 16, 64, 16, 32};

// A folder in memory for a directory's file.
class Place {
public:
    [[nodiscard]] int fd() const { return directory_.fd(); }
    [[nodiscard]] std::string file_path() const {
        return folder_.path() + "/" + wire::directory_file;
    }
    [[nodiscard]] base::File file(base::Access access = base::Access::read_only) const {
        return base::File::open_at(fd(), wire::directory_file, access);
    }

private:
    ::test::Folder folder_;
    base::File directory_ = base::File::open_directory(folder_.path());
};

std::uint32_t add_endpoint(DirectoryWriter& writer, const std::string& name,
                           EndpointKind kind = EndpointKind::ordinary, std::uint64_t owner = 0) {
    const std::uint32_t index = writer.free_row<EndpointRow>();
    EndpointRow row{};
    row.generation = writer.row<EndpointRow>(index).generation + 1;
    row.state = RowState::live;
    row.kind = kind;
    row.owner = owner;
    set_name(row, name);
    writer.change<EndpointRow>(index) = row;
    return index;
}
std::uint32_t add_type(DirectoryWriter& writer, const std::string& name,
                       std::vector<std::uint16_t> bases = {}) {
    const std::uint32_t index = writer.free_row<TypeRow>();
    TypeRow row{};
    row.generation = 1;
    row.state = RowState::live;
    row.kind = 2;
    row.durability = 1;
    row.base_count = static_cast<std::uint32_t>(bases.size());
    for (std::size_t base = 0; base < bases.size(); ++base) row.bases[base] = bases[base];
    set_name(row, name);
    writer.change<TypeRow>(index) = row;
    return index;
}
void add_subscription(DirectoryWriter& writer, std::uint32_t event, std::uint32_t endpoint) {
    SubscriptionRow row{};
    row.state = RowState::live;
    row.event = event;
    row.endpoint = endpoint;
    writer.change<SubscriptionRow>(writer.free_row<SubscriptionRow>()) = row;
}

std::vector<std::string> endpoint_names(const DirectoryReader& reader) {
    std::vector<directory::Endpoint> endpoints;
    REQUIRE(reader.endpoints(endpoints));
    std::vector<std::string> names;
    for (const auto& one : endpoints) names.emplace_back(one.name());
    return names;
}

}  // namespace

TEST_SUITE("directory") {

TEST_CASE("a change is seen after its commit, whole, and not before") {
    const Place folder;
    DirectoryWriter writer = DirectoryWriter::create(folder.fd(), {small_sizes, 0600, {}});
    const DirectoryReader reader(folder.file());
    const std::uint64_t before = reader.version();
    add_endpoint(writer, "orders");
    add_endpoint(writer, "bills");
    CHECK(reader.version() == before);
    CHECK(endpoint_names(reader).empty());
    writer.commit();
    CHECK(reader.version() == before + 1);
    CHECK(endpoint_names(reader) == std::vector<std::string>{"orders", "bills"});
    writer.commit();
    CHECK(reader.version() == before + 1);
}

TEST_CASE("every change stands in both copies after the next one, however often they swap") {
    const Place folder;
    DirectoryWriter writer = DirectoryWriter::create(folder.fd(), {small_sizes, 0600, {}});
    const DirectoryReader reader(folder.file());
    std::vector<std::string> names;
    for (int i = 0; i < 12; ++i) {
        names.push_back("endpoint." + std::to_string(i));
        add_endpoint(writer, names.back());
        writer.commit();
        REQUIRE(endpoint_names(reader) == names);
    }
    // A change elsewhere swaps once more.
    add_type(writer, "priced");
    writer.commit();
    CHECK(endpoint_names(reader) == names);
    writer.clear<EndpointRow>(3);
    writer.commit();
    CHECK_FALSE(reader.endpoint(3).has_value());
    add_type(writer, "paid");
    writer.commit();
    CHECK_FALSE(reader.endpoint(3).has_value());
    CHECK(add_endpoint(writer, "again") == 3);
    writer.commit();
    CHECK(reader.endpoint(3)->row.generation == 2);
}

TEST_CASE("a writer killed at any step of a commit leaves the old state whole or the new one") {
    for (int killed_at = 0; killed_at <= 3; ++killed_at) {
        CAPTURE(killed_at);
        const Place folder;
        {
            DirectoryWriter writer =
                DirectoryWriter::create(folder.fd(), {small_sizes, 0600, {}});
            add_endpoint(writer, "orders");
            writer.commit();
        }
        const DirectoryReader reader(folder.file());
        const std::uint64_t before = reader.version();
        const pid_t child = ::fork();
        if (child == 0) {
            DirectoryWriter writer(folder.file(base::Access::read_write));
            writer.clear<EndpointRow>(1);
            add_endpoint(writer, "bills");
            add_endpoint(writer, "letters");
            add_type(writer, "priced");
            writer.commit(
                [](int step, void* wanted) {
                    if (step == *static_cast<int*>(wanted)) ::kill(::getpid(), SIGKILL);
                },
                &killed_at);
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));
        const bool happened = killed_at == 3;
        const std::vector<std::string> expected =
            happened ? std::vector<std::string>{"bills", "letters"}
                     : std::vector<std::string>{"orders"};
        CHECK(reader.version() == before + (happened ? 1 : 0));
        CHECK(endpoint_names(reader) == expected);
        CHECK(reader.find_type("priced").has_value() == happened);
        // The successor goes on from there; nothing of what was half written shows up later.
        DirectoryWriter successor(folder.file(base::Access::read_write));
        CHECK(endpoint_names(reader) == expected);
        for (int swap = 0; swap < 3; ++swap) {
            successor.change<EndpointRow>(10).generation = static_cast<std::uint32_t>(swap);
            successor.commit();
            CHECK(endpoint_names(reader) == expected);
            CHECK(reader.find_type("priced").has_value() == happened);
        }
    }
}

TEST_CASE("readers never see half of a change while a writer makes them without pause") {
    const Place folder;
    DirectoryWriter writer = DirectoryWriter::create(folder.fd(), {small_sizes, 0600, {}});
    const std::uint32_t type = add_type(writer, "priced");
    // Endpoints come and go in pairs, each with its subscription.
    std::array<std::uint32_t, 6> endpoints{};
    for (std::size_t i = 0; i < endpoints.size(); ++i)
        endpoints[i] = add_endpoint(writer, "e." + std::to_string(i));
    writer.commit();
    std::atomic<bool> stop{false};
    std::atomic<int> odd{0};
    std::atomic<int> looks{0};
    {
        std::vector<std::jthread> readers;
        for (int i = 0; i < 2; ++i)
            readers.emplace_back([&] {
                const DirectoryReader reader(folder.file());
                std::vector<directory::Subscriber> subscribers;
                std::uint64_t version = 0;
                while (!stop.load(std::memory_order_relaxed)) {
                    if (!reader.subscribers(type, subscribers, version)) continue;
                    if (subscribers.size() % 2 != 0) odd.fetch_add(1, std::memory_order_relaxed);
                    looks.fetch_add(1, std::memory_order_relaxed);
                }
            });
        std::size_t place = 0;
        // Until the readers have looked often enough, or much too long.
        for (int round = 0;
             round < 2'000'000 && (round < 20'000 || looks.load(std::memory_order_relaxed) < 2000);
             ++round) {
            const std::uint32_t row = static_cast<std::uint32_t>(place * 2 + 1);
            if (writer.row<SubscriptionRow>(row).state == RowState::free) {
                for (std::uint32_t half = 0; half < 2; ++half) {
                    SubscriptionRow& wanted = writer.change<SubscriptionRow>(row + half);
                    wanted.state = RowState::live;
                    wanted.event = type;
                    wanted.endpoint = endpoints[place * 2 + half];
                }
            } else {
                writer.clear<SubscriptionRow>(row);
                writer.clear<SubscriptionRow>(row + 1);
            }
            writer.commit();
            place = (place + 1) % 3;
        }
        stop.store(true, std::memory_order_relaxed);
    }
    CHECK(looks.load() >= 2000);
    CHECK(odd.load() == 0);
}

TEST_CASE("lane numbers grow, across restarts too, and fit 52 bits") {
    const Place folder;
    std::uint64_t last = 0;
    {
        DirectoryWriter writer = DirectoryWriter::create(folder.fd(), {small_sizes, 0600, {}});
        for (int i = 0; i < 1000; ++i) {
            const std::uint64_t id = writer.new_lane_id();
            CHECK(id > last);
            last = id;
        }
        writer.commit();
    }
    DirectoryWriter next(folder.file(base::Access::read_write));
    CHECK(next.new_lane_id() > last);
    CHECK(last < std::uint64_t{1} << 52);
}

TEST_CASE("lookups find what is there, by name and number, and nothing else") {
    const Place folder;
    DirectoryWriter writer = DirectoryWriter::create(folder.fd(), {small_sizes, 0600, {}});
    const DirectoryReader reader(folder.file());
    const std::string longest(200, 'n');
    const std::uint32_t one = add_endpoint(writer, longest);
    add_endpoint(writer, "reply.1.1", EndpointKind::reply_inbox, wire::make_reference(1, 1));
    const std::uint32_t type = add_type(writer, "priced");
    writer.change<TypeRow>(type).route = one;
    writer.commit();
    CHECK(reader.find_endpoint(longest)->index == one);
    CHECK(reader.find_endpoint(longest)->reference() == wire::make_reference(one, 1));
    CHECK_FALSE(reader.find_endpoint(std::string(199, 'n')).has_value());
    CHECK_FALSE(reader.find_endpoint("reply.1.1").has_value());
    CHECK_FALSE(reader.find_endpoint("").has_value());
    CHECK_FALSE(reader.endpoint(0).has_value());
    CHECK_FALSE(reader.endpoint(15).has_value());
    CHECK_FALSE(reader.endpoint(16).has_value());
    CHECK_FALSE(reader.endpoint(0xFFFFFFFF).has_value());
    CHECK(reader.route(type) == one);
    CHECK(reader.route(9999) == 0);
    CHECK_FALSE(reader.participant(wire::make_reference(1, 1)).has_value());
}

TEST_CASE("bases that lead in circles end the walk") {
    const Place folder;
    DirectoryWriter writer = DirectoryWriter::create(folder.fd(), {small_sizes, 0600, {}});
    const DirectoryReader reader(folder.file());
    const std::uint32_t one = add_type(writer, "one", {2});
    const std::uint32_t two = add_type(writer, "two", {1, 2, 9999});
    const std::uint32_t endpoint = add_endpoint(writer, "orders");
    add_subscription(writer, one, endpoint);
    add_subscription(writer, two, endpoint);
    writer.commit();
    std::vector<directory::Subscriber> subscribers;
    std::uint64_t version = 0;
    REQUIRE(reader.subscribers(one, subscribers, version));
    CHECK(subscribers.size() == 1);
    CHECK(version == reader.version());
}

}  // TEST_SUITE
