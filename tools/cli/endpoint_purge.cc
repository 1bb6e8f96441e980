// shmbus endpoint purge: throws away what waits in an endpoint when it begins, on disk as well.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>

#include "cli/endpoint.h"
#include "cli/listing.h"
#include "cli/stock.h"
#include "cli/trouble.h"

namespace shmbus::cli {

void purge_endpoint(const Common& common, const std::string& name, const PurgeLine& line) {
    const OpenBus bus(common);
    const auto endpoint = bus.endpoint(name);
    const look::Snapshot all = bus.look();
    const look::Endpoint& seen = bus.endpoint(all, name);
    const std::uint64_t waiting = seen.waiting() + seen.on_disk;
    const std::string what = fmt::format("{} waiting messages of endpoint {}", waiting, name);
    Facts facts = done("endpoint purge", line.dry_run).add("endpoint", name);
    if (line.dry_run)
        return facts.add("messages", waiting).tell(common, "would throw away " + what);
    if (!is_agreed(line.yes, "throw away " + what + "?"))
        return facts.add("messages", 0).tell(common, "nothing was done");
    Member member(common);
    Stock stock(member, endpoint);
    std::uint64_t gone = 0;
    // Ends: with what was there.
    for (auto records = stock.next(); !records.empty(); records = stock.next()) {
        for (const auto& record : records) {
            Taker::let_go(record);
            gone += record.messages.size();
        }
        stock.taker().close(records);
    }
    facts.add("messages", gone).tell(common, fmt::format("{} messages were thrown away", gone));
    if (!stock.is_cut()) return;
    throw Trouble(Exit::try_later,
                  fmt::format("{} more wait on disk, and did not come", bus.on_disk(name)),
                  "a process holds what stands before them, the memory of the bus has no room for "
                  "a lane, or the daemon has died",
                  "shmbus endpoint show " + name + " shows who; shmbus doctor");
}

}  // namespace shmbus::cli
