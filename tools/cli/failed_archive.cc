// shmbus failed archive, export: messages of the error endpoint in a file.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>

#include "cli/archive.h"
#include "cli/failed.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

// What is written to standard output is itself the output.
void tell(const Common& common, const FailedLine& line, const char* command, std::uint64_t count,
          const std::string& sentence) {
    if (line.file == "-") return;
    done(command).add("messages", count).add("file", line.file).tell(common, sentence);
}

}  // namespace

void archive_failed(const Common& common, const FailedLine& line) {
    const Meant meant = require_some(common, line, "archive");
    if (line.dry_run) return tell_of_meant(common, "failed archive", meant, "would archive");
    Archive archive(line.file);
    if (has_none_yet(OpenBus(common), line))
        return tell(common, line, "failed archive", 0, "archived 0 messages");
    Member member(common, lane_bytes_for(common, line));
    const auto write_down = [&](const SeenMessage& message, bool is_again) {
        Json told = json_of(message, member.bus());
        // Whoever had it before may have sent it on.
        if (is_again) told["repeated"] = true;
        archive.add(told);
    };
    const Picked picked =
        pick(member, line.endpoint, meant.most(),
             {WantedFailed(member.bus(), line), write_down, [&] { archive.write(); }});
    tell(common, line, "failed archive", picked.count,
         fmt::format("archived {} messages", picked.count));
    require_all(picked, line.endpoint);
}

void export_failed(const Common& common, const FailedLine& line) {
    const Meant meant = require_some(common, line, "export");
    if (line.dry_run) return tell_of_meant(common, "failed export", meant, "would export");
    const OpenBus bus(common);
    Archive archive(line.file);
    std::uint64_t count = 0;
    for_each_failed(bus, line, [&](const SeenMessage& message) {
        archive.add(json_of(message, bus));
        return ++count != 0;
    });
    archive.write();
    tell(common, line, "failed export", count, fmt::format("exported {} messages", count));
    say_what_is_on_disk(meant.on_disk);
}

}  // namespace shmbus::cli
