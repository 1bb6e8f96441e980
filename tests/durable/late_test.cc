// Durable commands whose sender had looked up their endpoint before it was removed: they come
// afterwards, and none is told to be kept that nobody gets.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "directory/reader.h"
#include "lane/reader_lane.h"
#include "lane/writer.h"
#include "served_bus.h"
#include "wire/record_end.h"
#include "worker.h"

namespace durable_tests {

using shmbus::Bus;
using shmbus::Context;
using shmbus::Endpoint;

namespace {

namespace directory = shmbus::directory;
namespace lane = shmbus::lane;
namespace wire = shmbus::wire;

[[nodiscard]] int tool(const ServedBus& served, const std::string& words) {
    const char* const build = std::getenv("SHMBUS_BUILD_ROOT");
    REQUIRE(build != nullptr);
    return std::system((std::string(build) + "/tools/shmbus --bus " + served.directory() + " " +
                        words + " > /dev/null").c_str());
}
[[nodiscard]] int remove(const ServedBus& served, const std::string& endpoint) {
    return tool(served, "endpoint rm " + endpoint);
}

// Sends each Plain on as Work of its number.
void send_on(Endpoint& endpoint) {
    endpoint.on<Plain>([](const Plain& plain, Context& context) {
        context.send(Work{plain.number, 2 * plain.number}).value();
    });
}

// The lane into the journal of a sender that has sent one record, and sends no more itself.
class StaleSender {
public:
    explicit StaleSender(const ServedBus& served) {
        const std::string lanes = served.directory() + "/lanes";
        for (const auto& entry : std::filesystem::directory_iterator(lanes)) {
            auto file = shmbus::base::File::open_at(AT_FDCWD, entry.path(),
                                                    shmbus::base::Access::read_write);
            lane::ReaderLane found(file);
            if (!found.published(0) || found.identity().writer == wire::daemon_reference) continue;
            const wire::Meta meta = wire::Meta::of(found.meta(0));
            if ((meta.flags & wire::has_durable) == 0) continue;
            file_ = std::move(file);
            meta_ = found.meta(0);
            tail_ = wire::units_of(meta_);
            record_.assign(found.record(0), found.record(0) + meta.payload_offset() + sizeof(Work));
        }
        REQUIRE(!record_.empty());
    }
    // The same command to the same endpoint, with another number.
    void send(std::uint64_t number) {
        lane::Writer writer(file_, tail_);
        const lane::Claim claim = writer.claim(wire::units_of(meta_));
        REQUIRE(static_cast<bool>(claim));
        const Work work{number, 2 * number};
        std::memcpy(record_.data() + record_.size() - sizeof(work), &work, sizeof(work));
        std::memcpy(claim.record + wire::head_bytes, record_.data() + wire::head_bytes,
                    record_.size() - wire::head_bytes);
        wire::close_end(claim.record, record_.size());
        writer.commit(claim, meta_);
        tail_ = writer.tail();
    }
    // From here on to this endpoint, as what came of that.
    void turn_to(const directory::Endpoint& endpoint, std::uint64_t came_of) {
        const wire::Durable durable{endpoint.index, endpoint.row.generation, came_of};
        const std::uint16_t flags = wire::Meta::of(meta_).flags;
        std::memcpy(record_.data() + wire::head_bytes +
                        wire::extension_bytes(flags & (wire::is_packed - 1)),
                    &durable, sizeof(durable));
    }
    [[nodiscard]] bool has_receipt() const {
        return lane::ReaderLane(file_).parts().reader_page().receipt.load(
                   std::memory_order_acquire) >= tail_;
    }

private:
    shmbus::base::File file_;
    std::uint64_t meta_ = 0;
    std::uint64_t tail_ = 0;
    std::vector<std::byte> record_;
};

// The numbers of what the daemon has put into this lane.
[[nodiscard]] std::vector<std::uint64_t> numbers_in(const std::string& path) {
    lane::ReaderLane lane(
        shmbus::base::File::open_at(AT_FDCWD, path, shmbus::base::Access::read_write));
    std::vector<std::uint64_t> found;
    for (std::uint64_t at = 0; lane.published(at); at += wire::units_of(lane.meta(at))) {
        wire::Extensions extensions;
        REQUIRE(wire::read_extensions(wire::Meta::of(lane.meta(at)),
                                      lane.record(at) + wire::head_bytes, extensions));
        found.push_back(extensions.durable.lsn);
    }
    return found;
}

// A bus whose endpoint "worker" has handled one command and is removed.
struct Removed {
    Removed() {
        served.serve();
        bus.emplace(served.open());
        {
            Bus own = served.open();
            Worker worker(own);
            REQUIRE(bus->send(Work{1, 2}));
            REQUIRE(bus->sync(20s));
            REQUIRE(handle_until(worker.endpoint, [&] { return worker.has_all(1); }));
        }
        REQUIRE(wait_until([&] { return served.rests(); }));
        REQUIRE(remove(served, "worker") == 0);
    }
    ServedBus served;
    std::optional<Bus> bus;
};

}  // namespace

TEST_SUITE("durable") {

TEST_CASE("what is sent for a copy belongs to the conversation of the original") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    bus.declare_endpoint<Plain>("begin");
    REQUIRE(bus.send(Plain{1, 0}));
    Endpoint other = bus.endpoint("other");
    shmbus::MessageId original, copy;
    other.on_any([&](std::span<const std::byte>, Context& context) {
        copy = context.id();
        original = context.envelope().related_to;
        context.send(Work{1, 2}).value();
    });
    Endpoint worker = bus.endpoint("worker");
    std::optional<shmbus::Envelope> came;
    worker.on<Work>([&](const Work&, Context& context) { came = context.envelope(); });
    REQUIRE(tool(served, "copy begin other") == 0);
    REQUIRE(handle_until(other, [&] { return copy != shmbus::MessageId{}; }));
    REQUIRE(handle_until(worker, [&] { return came.has_value(); }));
    CHECK(came->related_to == copy);
    CHECK(came->conversation == original);
}

// Its output stands in the lane into the journal, and nobody has noted that it was handled.
TEST_CASE("what was given up behind a death and is sent back sends nothing twice") {
    ServedBus served;
    served.serve();
    Bus bus = served.open();
    shmbus::EndpointOptions once;
    once.attempts_when_dying = 1;
    bus.declare_endpoint<Plain>("begin", once);
    Worker worker(bus);
    shmbus::SendOptions traced;
    traced.trace =
        shmbus::TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    REQUIRE(bus.send(Plain{1, 0}, traced));
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::alarm(20);
        shmbus::BusOptions dies;
        dies.start_daemon = false;
        dies.spans = [](std::string_view) { ::raise(SIGKILL); };
        Bus own = Bus::open(served.directory(), dies);
        Endpoint endpoint = own.endpoint("begin", once);
        send_on(endpoint);
        for (;;) endpoint.poll();
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WTERMSIG(status) == SIGKILL);
    REQUIRE(handle_until(worker.endpoint, [&] { return worker.has_all(1); }));
    Endpoint begin = bus.endpoint("begin", once);
    send_on(begin);
    begin.poll();
    bool is_back = false;
    SUBCASE("to where it was") { is_back = true; }
    // As another message, whoever handles it there: it may have sent something else.
    SUBCASE("to another endpoint") {}
    Endpoint other = bus.endpoint("other");
    bool is_marked = false;
    other.on_any([&](std::span<const std::byte>, Context& context) {
        is_marked = context.repeated();
        context.send(Work{2, 4}).value();
    });
    REQUIRE(tool(served, is_back ? "failed retry --all" : "failed retry --all --to other") == 0);
    Endpoint& again = is_back ? begin : other;
    REQUIRE(wait_until([&] { return again.poll() == 1; }));
    REQUIRE(bus.sync(20s));
    REQUIRE(handle_until(worker.endpoint, [&] { return served.rests(); }));
    CHECK(worker.order.size() == (is_back ? 1 : 2));
    CHECK(is_marked != is_back);
}

TEST_CASE("a durable command that comes after its endpoint was removed is in the error endpoint") {
    Removed removed;
    StaleSender stale(removed.served);
    stale.send(2);
    Endpoint errors = removed.bus->endpoint("error");
    std::uint64_t failed = 0;
    std::string why;
    errors.on_any([&](std::span<const std::byte> payload, Context& context) {
        std::memcpy(&failed, payload.data(), sizeof(failed));
        why = context.envelope().failure.what;
    });
    CHECK(handle_until(errors, [&] { return failed == 2; }));
    CHECK(why.find("removed") != std::string::npos);
    CHECK(wait_until([&] { return stale.has_receipt(); }));
    // And after another start nothing comes twice.
    REQUIRE(wait_until([&] { return removed.served.rests(); }));
    failed = 0;
    removed.served.serve();
    stale.send(3);
    CHECK(handle_until(errors, [&] { return failed == 3; }));
}

TEST_CASE("without an error endpoint it stays in its lane, has no receipt, and is not lost") {
    Removed removed;
    REQUIRE(remove(removed.served, "error") == 0);
    StaleSender stale(removed.served);
    stale.send(2);
    REQUIRE(wait_until([&] { return removed.served.rests(); }));
    CHECK_FALSE(stale.has_receipt());
    SUBCASE("nor after a start") {
        removed.served.serve();
        REQUIRE(wait_until([&] { return removed.served.rests(); }));
        CHECK_FALSE(stale.has_receipt());
    }
    // Who opens an endpoint makes one for errors first.
    Worker worker(*removed.bus);
    Endpoint errors = removed.bus->endpoint("error");
    std::uint64_t failed = 0;
    errors.on_any([&](std::span<const std::byte> payload, Context&) {
        std::memcpy(&failed, payload.data(), sizeof(failed));
    });
    CHECK(wait_until([&] {
        errors.poll();
        worker.endpoint.poll();
        return failed == 2 || worker.has_all(1);
    }));
    CHECK(wait_until([&] { return stale.has_receipt(); }));
}

TEST_CASE("what waits behind it keeps only what it came of from being settled") {
    Removed removed;
    ServedBus& served = removed.served;
    {
        Bus own = served.open();
        Endpoint keeper = own.endpoint("keeper");
        std::uint64_t texts = 0;
        keeper.on<Text>([&](const Text&) { ++texts; });
        REQUIRE(remove(served, "error") == 0);
        StaleSender stale(served);
        stale.send(2);
        for (const char* const text : {"first", "second", "third"}) REQUIRE(own.send(Text{text}));
        REQUIRE(own.sync(20s));
        REQUIRE(wait_until([&] { return served.rests(); }));
        const std::vector<std::uint64_t> numbers = numbers_in(served.lanes_out().back());
        REQUIRE(numbers.size() == 3);
        const auto place = served.rows().find_endpoint("keeper");
        REQUIRE(place);
        stale.turn_to(*place, wire::output_of(numbers[1], place->index));
        stale.send(3);
        REQUIRE(handle_until(keeper, [&] { return texts == 3; }));
        CHECK(wait_until([&] {
            keeper.poll();
            return served.rests();
        }));
        CHECK_FALSE(stale.has_receipt());
    }
    removed.bus.reset();
    served.wipe_memory();
    served.serve();
    Bus bus = served.open();
    Endpoint keeper = bus.endpoint("keeper");
    std::vector<std::string> came;
    keeper.on<Text>([&](const Text& text) { came.push_back(text.text); });
    CHECK(wait_until([&] {
        keeper.poll();
        return served.rests();
    }));
    CHECK(came == std::vector<std::string>{"second"});
}

}

}  // namespace durable_tests
