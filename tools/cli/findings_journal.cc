// What of a bus's journal and of its disk may be wrong. See findings.h.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/clock.h"
#include "cli/ask_daemon.h"
#include "cli/findings.h"
#include "cli/still_journal.h"
#include "cli/trouble.h"
#include "journal/recovery.h"
#include "look/traces.h"

namespace shmbus::cli {

namespace {

using Grade = Finding::Grade;
using namespace std::chrono_literals;

// The median of some syncs of one block in the journal's directory.
[[nodiscard]] std::uint64_t sync_time_of(const std::string& path) {
    constexpr int samples = 21;
    const base::File file(::open(path.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
    if (!file) return 0;
    std::vector<std::uint64_t> times;
    const std::vector<std::byte> block(4096);
    for (int i = 0; i < samples; ++i) {
        const std::uint64_t begin = base::now_ns();
        if (::pwrite(file.fd(), block.data(), block.size(), 4096L * i) < 0 ||
            ::fdatasync(file.fd()) != 0)
            return 0;
        times.push_back(base::now_ns() - begin);
    }
    std::ranges::sort(times);
    return times[samples / 2];
}

void look_at_journal_files(const std::string& path, Findings& into) {
    try {
        StillJournal storage(path);
        const auto found = recover(storage, {}, journal::Depth::since_checkpoint, {});
        if (found.report.stops_service())
            into.push_back({Grade::failure, "journal",
                            "acknowledged records are damaged or missing in " + path,
                            "shmbus journal verify", {}});
        else
            into.push_back({Grade::good, "journal",
                            fmt::format("sound up to record {}, in {}", found.report.end.lsn, path),
                            "", {}});
    } catch (const Trouble& trouble) {
        into.push_back({Grade::warning, "journal", trouble.what(), "try again", {}});
        return;
    } catch (const SetupError& error) {
        into.push_back({Grade::failure, "journal", error.tried() + ": " + error.on_what(),
                        error.helps(), {}});
        return;
    }
    constexpr std::uint64_t slow_ns = 20'000'000;
    const std::uint64_t sync_ns = sync_time_of(path);
    if (sync_ns > slow_ns)
        into.push_back({Grade::warning, "disk",
                        fmt::format("a sync of the journal's disk takes {} ms",
                                    sync_ns / 1'000'000),
                        "send durable messages many at a time, or use another disk", {}});
    else if (sync_ns != 0)
        into.push_back({Grade::good, "disk", fmt::format("a sync of the journal's disk takes {} us",
                                                         sync_ns / 1'000), "", {}});
}

}  // namespace

void look_at_journal(const OpenBus& bus, Findings& into) {
    const std::string path = look::journal_of_bus(bus.location());
    const auto row = bus.reader().journal_endpoint();
    look::Journal files;
    look::find_journal(path, files);
    // A daemon takes up what is there when it starts, and then the bus has an endpoint for it.
    if (!row && files.is_left())
        into.push_back({Grade::failure, "journal",
                        "the journal in " + path + " is not taken up: durable sends are refused",
                        "the daemon's log; shmbus journal verify", {}});
    else if (!row && ask_daemon(bus.folder().directory(), 2s).journal != 0)
        // It alone may know where it lies.
        into.push_back({Grade::failure, "journal",
                        "it is not taken up: durable sends are refused", "the daemon's log", {}});
    if (row) {
        if (row->row.condition == 1)
            into.push_back({Grade::failure, "journal", "its disk is full: durable sends wait, then "
                                                       "are refused",
                            "make room; it goes on by itself", {}});
        if (row->row.condition == 2)
            into.push_back({Grade::failure, "journal", "the daemon has stopped using it",
                            "the daemon's log; shmbus journal verify", {}});
    }
    std::error_code ignored;
    if (std::filesystem::exists(path + "/superblock", ignored)) look_at_journal_files(path, into);
}

}  // namespace shmbus::cli
