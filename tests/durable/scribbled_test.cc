// Lanes that somebody wrote into, out of the journal and into it: whatever was acknowledged is
// handled, what is handed out twice is marked, and nothing grows.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "lane/reader_lane.h"
#include "lane/writer.h"
#include "served_bus.h"
#include "wire/names.h"
#include "wire/record_end.h"
#include "worker.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Endpoint;
namespace base = shmbus::base;
namespace lane = shmbus::lane;
namespace wire = shmbus::wire;

namespace {

// The file of the daemon's only lane.
[[nodiscard]] std::string only_lane_out(const ServedBus& served) {
    const std::vector<std::string> found = served.lanes_out();
    REQUIRE(found.size() == 1);
    return found.front();
}

enum class Part : std::uint8_t { control, length, flags, lsn };

// Writes over a part of the lane's record of that index.
void scribble_on(const std::string& path, std::uint32_t index, Part part) {
    const auto file = base::File::open_at(AT_FDCWD, path, base::Access::read_write);
    const lane::ReaderLane there(file);
    std::uint64_t position = 0;
    for (std::uint32_t i = 0; i < index; ++i) position += wire::units_of(there.meta(position));
    REQUIRE(there.published(position));
    wire::Meta meta = wire::Meta::of(there.meta(position));
    std::uint64_t offset = lane::data_at + position * wire::unit_bytes;
    std::uint64_t word = 0;
    if (part == Part::lsn) {
        // Behind the extensions that stand before it, and its endpoint.
        constexpr std::uint16_t before = wire::has_durable - 1;
        offset += wire::head_bytes + wire::extension_bytes(meta.flags & before) + 8;
        word = std::uint64_t{1} << 40;
    } else if (part != Part::control) {
        if (part == Part::length) meta.payload_bytes = 1U << 30;
        else meta.flags &= static_cast<std::uint16_t>(~wire::has_durable);
        offset += sizeof(word);
        word = meta.word();
    }
    file.write_all(std::as_bytes(std::span(&word, 1)), offset);
}

}  // namespace

TEST_CASE("a record out of the journal that was scribbled on comes again, the others as well") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 100);
    REQUIRE(wait_until([&] { return served.rests(); }));
    Part part{};
    bool dies = false;
    SUBCASE("its control word, and the daemon is killed") { part = Part::control, dies = true; }
    SUBCASE("its length, and the daemon is killed") { part = Part::length, dies = true; }
    SUBCASE("its flags, and the daemon is killed") { part = Part::flags, dies = true; }
    SUBCASE("its number, and the daemon is killed") { part = Part::lsn, dies = true; }
    SUBCASE("its control word") { part = Part::control; }
    SUBCASE("its length") { part = Part::length; }
    SUBCASE("its flags") { part = Part::flags; }
    if (dies) served.kill_daemon();
    scribble_on(only_lane_out(served), 10, part);
    if (dies) served.serve();
    Worker worker(bus);
    CHECK(handle_until(worker.endpoint, [&] { return worker.has_all(100); }));
    CHECK_FALSE(worker.doubled_unmarked());
    send_numbers(bus, 101, 200);
    CHECK(handle_until(worker.endpoint, [&] { return worker.has_all(200); }));
}

TEST_CASE("what followed a damaged lane does not come twice unmarked when the daemon is killed") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 10);
    REQUIRE(wait_until([&] { return served.rests(); }));
    const std::string damaged = only_lane_out(served);
    REQUIRE(::truncate(damaged.c_str(), 4096) == 0);
    // Into the lane that follows, and behind them once more what the damaged one carried.
    send_numbers(bus, 11, 20);
    REQUIRE(wait_until([&] { return !std::filesystem::exists(damaged); }));
    Worker worker(bus);
    served.kill_daemon();
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.has_all(20); }));
    CHECK(worker.endpoint.poll() == 0);
    served.serve();
    send_numbers(bus, 21, 21);
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.has_all(21); }));
    CHECK_FALSE(worker.doubled_unmarked());
}

TEST_CASE("more than a batch can tell of was handled while no daemon ran; all of it is settled") {
    constexpr std::uint64_t count = 3'000;
    ServedBus served;
    served.config.journal_segment_bytes = 32 << 10;
    shmbus::EndpointOptions options;
    options.lane_bytes = 1 << 20;
    {
        served.serve();
        Bus bus = served.open();
        Worker worker(bus, options);
        send_numbers(bus, 1, count);
        REQUIRE(wait_until([&] { return served.rests(); }));
        served.kill_daemon();
        REQUIRE(handle_until(worker.endpoint, [&] { return worker.has_all(count); }));
        served.serve();
        REQUIRE(wait_until([&] { return served.rests(); }));
    }
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    Worker worker(bus, options);
    send_numbers(bus, count + 1, count + 1);
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.numbers().contains(count + 1); }));
    CHECK(worker.numbers().size() == 1);
}

TEST_CASE("a sender's lane cut short behind the sync hands no zeros out") {
    ServedBus served;
    const std::string signal = served.directory() + ".cut";
    // Between a receipt and the handing out, by the daemon itself: nobody else can hit that.
    served.at_step = [&](const char* name) {
        if (std::string_view(name) != "receipts given" || !std::filesystem::remove(signal)) return;
        const std::string lanes = served.directory() + "/lanes";
        for (const auto& entry : std::filesystem::directory_iterator(lanes)) {
            const auto file =
                base::File::open_at(AT_FDCWD, entry.path(), base::Access::read_only);
            if (lane::read_lane_identity(file).writer == wire::daemon_reference) continue;
            static_cast<void>(::truncate(entry.path().c_str(), lane::data_at));
        }
    };
    served.serve();
    Bus bus = served.open();
    Endpoint worker = bus.endpoint("worker");
    std::string came;
    worker.on<Text>([&](const Text& text) { came = text.text; });
    REQUIRE(bus.send(Text{"the first one makes the lane"}));
    REQUIRE(handle_until(worker, [&] { return !came.empty(); }));
    REQUIRE(wait_until([&] { return served.rests(); }));
    came.clear();
    std::ofstream(signal).close();
    const std::string sent(2'000, 'x');
    REQUIRE(bus.send(Text{sent}));
    REQUIRE(handle_until(worker, [&] { return !came.empty(); }));
    CHECK(came == sent);
}

TEST_CASE("the daemon remembers no endpoint that a sender made up, however many it names") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 1);
    REQUIRE(wait_until([&] { return served.rests(); }));
    const std::vector<std::string> out = served.lanes_out();
    std::string in;
    for (const auto& entry : std::filesystem::directory_iterator(served.directory() + "/lanes"))
        if (std::ranges::find(out, entry.path().string()) == out.end()) in = entry.path();
    // In the place of the thread that has sent, which sends no more.
    const auto file = base::File::open_at(AT_FDCWD, in, base::Access::read_write);
    std::uint64_t end = 0;
    for (const lane::ReaderLane there(file); there.published(end);)
        end += wire::units_of(there.meta(end));
    lane::Writer writer(file, end);
    const auto name_endpoints = [&](std::uint32_t from, std::uint32_t to) {
        wire::Extensions extensions;
        extensions.flags = wire::has_durable;
        const auto block = wire::extension_bytes(extensions.flags);
        constexpr std::uint16_t no_type = 60'000;
        const wire::Meta meta{0, no_type, static_cast<std::uint8_t>(block / 16), extensions.flags};
        for (std::uint32_t number = from; number < to; ++number) {
            extensions.durable = {number, 1, 0};
            lane::Claim claim;
            REQUIRE(wait_until([&] { return static_cast<bool>(claim = writer.claim(1)); }));
            wire::write_extensions(extensions, claim.record + wire::head_bytes);
            wire::close_end(claim.record, wire::head_bytes + block);
            writer.commit(claim, meta.word());
        }
        REQUIRE(wait_until([&] { return served.rests() && lane::is_drained(writer.parts()); }));
    };
    name_endpoints(100'000, 200'000);
    const std::uint64_t before = served.most_resident();
    name_endpoints(200'000, 400'000);
    CHECK(served.most_resident() < before + (1U << 20));
}

TEST_CASE("no other endpoint's lane takes the place of one into the journal that was lost") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    Bus theirs = served.open();
    bus.declare_endpoint<Work>("worker");
    send_numbers(bus, 1, 1);
    const std::vector<std::string> out = served.lanes_out();
    std::string lost;
    for (const auto& entry : std::filesystem::directory_iterator(served.directory() + "/lanes"))
        if (std::ranges::find(out, entry.path().string()) == out.end()) lost = entry.path();
    // Known for a publisher of it, it has a lane to whoever subscribes before it uses one.
    static_cast<void>(bus.publish(Glimpse{1}).value());
    Endpoint watcher = theirs.endpoint("watcher");
    std::uint64_t seen = 0;
    watcher.on<Glimpse>([&](const Glimpse&) { ++seen; });
    send_numbers(bus, 2, 2);
    served.kill_daemon();
    REQUIRE(::truncate(lost.c_str(), 0) == 0);
    REQUIRE(wait_until([&] {
        return bus.send(Work{3, 6}).error().code() == shmbus::ErrorCode::lane_lost;
    }));
    REQUIRE(bus.publish(Glimpse{2}).value().subscribers == 1);
    CHECK(!bus.send(Work{4, 8}));
    REQUIRE(wait_until([&] { return watcher.poll() == 1; }));
    CHECK(seen == 1);
    served.serve();
    REQUIRE(wait_until([&] { return static_cast<bool>(bus.send(Work{5, 10})); }));
    Worker worker(bus);
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.numbers().contains(5); }));
    CHECK(worker.numbers().contains(2));
    CHECK(watcher.poll() == 0);
    CHECK(watcher.counts().failed == 0);
}

}  // namespace durable_tests
