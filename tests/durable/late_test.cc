// Durable commands whose sender had looked up their endpoint before it was removed: they come
// afterwards, and none is told to be kept that nobody gets.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fcntl.h>

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

namespace lane = shmbus::lane;
namespace wire = shmbus::wire;

[[nodiscard]] int remove(const ServedBus& served, const std::string& endpoint) {
    const char* const build = std::getenv("SHMBUS_BUILD_ROOT");
    REQUIRE(build != nullptr);
    return std::system((std::string(build) + "/tools/shmbus --bus " + served.directory() +
                        " endpoint rm " + endpoint + " > /dev/null").c_str());
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

}

}  // namespace durable_tests
