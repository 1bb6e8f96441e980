// The size of a journal, compacting, backup and restore. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/journal_keep.h"

#include <cerrno>
#include <exception>
#include <filesystem>
#include <memory>
#include <system_error>

#include <fmt/core.h>

#include <shmbus/result.h>

#include "bus/locate.h"
#include "cli/copy_journal.h"
#include "cli/journal_lock.h"
#include "cli/listing.h"
#include "cli/open_bus.h"
#include "cli/trouble.h"
#include "journal/journal.h"
#include "journal/recovery.h"
#include "wire/names.h"

namespace shmbus::cli {

namespace {

using journal::RealStorage;
using journal::Report;

[[nodiscard]] bool has_journal(const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(path + "/superblock", ignored);
}

void require_journal(const std::string& path) {
    if (has_journal(path)) return;
    throw Trouble(Exit::unknown_name, "there is no journal in " + path,
                  "none was made yet: the first durable type that a process names makes one",
                  "shmbus env; name its directory with --dir");
}

// Of an endpoint that stands in a journal by its number; "" when there is no bus to ask.
[[nodiscard]] std::string name_of_receiver(const Common& common, std::uint64_t number) {
    try {
        const OpenBus bus(common);
        const auto found = bus.reader().endpoint(wire::index_of(number));
        if (found && found->row.generation == wire::generation_of(number))
            return std::string(found->name());
    } catch (const std::exception&) {
        // A journal is looked at with or without its bus.
    }
    return "endpoint " + wire::numbered_file(number);
}

// Reads a copy; throws when it is not as good as a journal.
[[nodiscard]] Report verified(const std::string& path) {
    StillJournal storage(path);
    const Report report = journal::inspect(storage);
    if (report.stops_service())
        throw Trouble(Exit::damaged, "acknowledged records are missing in " + path + ":\n" +
                                         report.text(),
                      "", "shmbus journal --dir " + path + " verify");
    return report;
}

}  // namespace

void journal_stat(const Common& common, const std::string& path) {
    StillJournal storage(path);
    const journal::Recovered found =
        recover(storage, {}, journal::Depth::since_checkpoint, {});
    std::uint64_t live_bytes = 0;
    std::uint64_t all_bytes = found.spares.size() * found.superblock.segment_bytes;
    for (const auto& [number, segment] : found.ledger.segments) {
        live_bytes += found.ledger.live_bytes(segment);
        all_bytes += segment.file_bytes;
    }
    Json waiting = Json::object();
    std::string waiting_text;
    for (const auto& [number, settled] : found.ledger.endpoints) {
        const std::uint64_t backlog = found.ledger.backlog(number);
        if (backlog == 0) continue;
        const std::string name = name_of_receiver(common, number);
        waiting[name] = backlog;
        waiting_text += (waiting_text.empty() ? "" : ", ") + name + ": " + std::to_string(backlog);
    }
    Facts facts("shmbus.journal/1");
    facts.add("directory", path);
    facts.add("last_lsn", found.report.end.lsn);
    facts.add("bytes", all_bytes);
    facts.add("live_bytes", live_bytes);
    facts.add("segment_bytes", found.superblock.segment_bytes);
    facts.add("segments", found.ledger.segments.size());
    facts.add("spares", found.spares.size());
    facts.add("checkpoints", found.checkpoints.size());
    facts.add("closed_in_peace", found.report.was_clean);
    facts.add("is_sound", !found.report.stops_service());
    if (common.is_json()) facts.add("waiting", waiting);
    else facts.add("waiting", waiting_text.empty() ? Json("nothing") : Json(waiting_text));
    facts.print(common);
}

void journal_compact(const Common& common, const std::string& path) {
    require_journal(path);
    RealStorage storage(path, RealStorage::Mode::must_exist);
    const auto opened =
        open_to_write(common, path, storage, {},
                      "a daemon that runs compacts its journal by itself: nothing is left to do");
    journal::Journal& journal = *opened;
    if (!journal.why_stopped().empty())
        throw Trouble(Exit::damaged, "the journal in " + path + " is out of service: " +
                                         journal.why_stopped(),
                      "", "shmbus journal verify");
    const journal::Status before = journal.status();
    // Ends: the upkeep says when nothing is left to do.
    while (journal.maintain(true)) continue;
    const journal::Status after = journal.status();
    journal.close();
    Facts facts("shmbus.journal_compact/1");
    facts.add("bytes_before", before.journal_bytes);
    facts.add("bytes_after", after.journal_bytes);
    facts.add("live_bytes", after.live_bytes);
    facts.add("segments", after.segments);
    facts.add("trouble", after.trouble.empty() ? Json() : Json(after.trouble));
    facts.print(common);
}

namespace {

void tell_of_copy(const Common& common, const char* schema, const std::string& from,
                  const std::string& to, const Copied& copied, const Report& report) {
    Facts facts(schema);
    facts.add("from", from);
    facts.add("to", to);
    facts.add("files", copied.files);
    facts.add("bytes", copied.bytes);
    facts.add("records", report.records);
    facts.add("last_lsn", report.end.lsn);
    facts.print(common);
}

}  // namespace

void journal_backup(const Common& common, const std::string& path, const std::string& to) {
    StillJournal journal(path);
    const Copied copied = copy_journal(journal, to);
    tell_of_copy(common, "shmbus.journal_backup/1", path, to, copied, verified(to));
}

void journal_restore(const Common& common, const std::string& from, const std::string& path) {
    const auto location = detail::locate_bus(common.bus);
    std::error_code ignored;
    if (std::filesystem::exists(location.directory + "/" + wire::directory_file, ignored)) {
        const bool runs = daemon_listens(detail::BusFolder(location.directory));
        throw Trouble(Exit::try_later,
                      "the bus in " + location.directory +
                          (runs ? " has a daemon that runs" : " still has its files"),
                      "they remember places in the journal as it was, which would be taken for "
                      "places in the one that is restored",
                      "stop its processes and its daemon, then remove that directory: what is not "
                      "in the backup goes with it");
    }
    if (has_journal(path))
        throw Trouble(Exit::cannot_create, "there is a journal in " + path,
                      "it is not overwritten", "move it away: mv " + path + " " + path + ".old");
    static_cast<void>(verified(from));
    StillJournal backup(from);
    RealStorage target(path);
    const int error = target.lock();
    if (error == EWOULDBLOCK)
        journal_is_in_use(common, path, "it makes a journal there, or restores one");
    if (error != 0)
        throw SetupError{"locking the journal", path, error, "see the system's answer"};
    const Copied copied = copy_journal(backup, path);
    tell_of_copy(common, "shmbus.journal_restore/1", from, path, copied, verified(path));
}

}  // namespace shmbus::cli
