// shmbus journal: whether all of it is sound, accepting a loss; its commands. Those that list its
// records are in journal_dump.cc, those that copy or rewrite it in journal_keep.cc.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <string_view>

#include <fmt/core.h>

#include <shmbus/result.h>

#include "bus/locate.h"
#include "cli/journal_dump.h"
#include "cli/journal_keep.h"
#include "cli/journal_lock.h"
#include "cli/listing.h"
#include "cli/nouns.h"
#include "cli/still_journal.h"
#include "cli/trouble.h"
#include "journal/journal.h"
#include "look/traces.h"

namespace shmbus::cli {
namespace {

using journal::Damage;
using journal::Report;

struct JournalLine {
    std::string directory;
    std::vector<std::string> ranges;  // "FIRST-LAST", LSNs
    bool all = false;
    std::string other;  // of a copy
    bool yes = false;
};

[[nodiscard]] std::string place_of(const JournalLine& line, const Common& common) {
    if (!line.directory.empty()) return line.directory;
    return look::journal_of_bus(detail::locate_bus(common.bus));
}

[[nodiscard]] Facts facts_of(const Report& report) {
    Json damages = Json::array();
    for (const Damage& damage : report.damages)
        damages.push_back({{"file", damage.file},
                           {"offset", damage.offset},
                           {"what", damage.what},
                           {"loses", damage.loses},
                           {"accepted", damage.accepted},
                           {"first_lsn", damage.lsns.first},
                           {"last_lsn", damage.lsns.last}});
    Facts facts("shmbus.journal_report/1");
    facts.add("records", report.records)
        .add("batches", report.batches)
        .add("last_lsn", report.end.lsn)
        .add("torn_bytes", report.torn_bytes)
        .add("closed_in_peace", report.was_clean)
        .add("damages", damages)
        .add("is_sound", !report.stops_service());
    return facts;
}

[[nodiscard]] const char* in_all(const Report& report) {
    if (report.stops_service())
        return "acknowledged records are lost: durable messages stop until "
               "'shmbus journal accept-loss' accepts that";
    const bool some_are_lost = std::ranges::any_of(
        report.damages, [](const Damage& damage) { return damage.loses; });
    return some_are_lost ? "nothing is missing but what was accepted as lost"
                         : "nothing that was acknowledged is missing";
}

void verify(const Common& common, const std::string& path) {
    StillJournal storage(path);
    const Report report = journal::inspect(storage);
    if (common.format != Format::table) {
        facts_of(report).print(common);
    } else {
        fmt::print("{}: {} records in {} batches, the last one is LSN {}\n", path, report.records,
                   report.batches, report.end.lsn);
        if (report.torn_bytes != 0)
            fmt::print("{} bytes of a batch that was never acknowledged stand behind the end\n",
                       report.torn_bytes);
        fmt::print("{}", report.text());
        fmt::print("{}\n", in_all(report));
    }
    if (report.stops_service()) throw Ended{static_cast<int>(Exit::damaged)};
}

[[nodiscard]] journal::Range range_of(const std::string& text) {
    const std::size_t dash = std::min(text.find('-'), text.size());
    const auto number = [](std::string_view digits) {
        std::uint64_t value = 0;  // no record has this number
        const char* const end = digits.data() + digits.size();
        const auto [stopped, error] = std::from_chars(digits.data(), end, value);
        return error == std::errc{} && stopped == end ? value : 0;
    };
    const std::string_view all(text);
    const std::uint64_t first = number(all.substr(0, dash));
    const std::uint64_t last = dash == all.size() ? first : number(all.substr(dash + 1));
    if (first == 0 || last < first)
        throw Trouble(Exit::usage, '"' + text + "\" is no range of records", "",
                      "write FIRST-LAST, as 'shmbus journal verify' shows them");
    return {first, last};
}

void tell_of_accepted(const Common& common, const Report& report) {
    Listing listing("shmbus.journal_accept_loss/1",
                    {"file", "offset", "what", "first_lsn", "last_lsn"});
    for (const Damage& damage : report.damages) {
        if (!damage.loses) continue;
        if (common.format == Format::table) print_line(damage.text());
        listing.add({damage.file, damage.offset, damage.what, damage.lsns.first,
                     damage.lsns.last});
    }
    if (common.format != Format::table) listing.print(common);
}

void accept_loss(const Common& common, const std::string& path, const JournalLine& line) {
    static_cast<void>(StillJournal(path));  // says what is wrong where there is none
    journal::Options options;
    for (const std::string& text : line.ranges) options.accepted_losses.add(range_of(text));
    journal::RealStorage storage(path, journal::RealStorage::Mode::must_exist);
    const Report before = journal::inspect(storage);
    bool some_left = false;
    for (const Damage& damage : before.damages) {
        if (!damage.loses || damage.accepted) continue;
        if (line.all) options.accepted_losses.add(damage.lsns);
        if (!options.accepted_losses.covers(damage.lsns)) {
            fmt::print(stderr, "not accepted: {}\n", damage.text());
            some_left = true;
        }
    }
    if (some_left)
        throw Trouble(Exit::damaged, "nothing was changed: some of what is lost was not accepted",
                      "it is accepted as a whole, or not at all",
                      "accept all of it, by ranges or with --all");
    if (!before.stops_service()) {
        if (common.format != Format::table) return tell_of_accepted(common, before);
        fmt::print(stderr, "nothing is lost, so there is nothing to accept\n");
        return;
    }
    const auto accepted = open_to_write(common, path, storage, options,
                                        "a loss is accepted before a daemon takes the journal up");
    if (!accepted->why_stopped().empty())
        throw SetupError{"accepting a loss", path, 0, accepted->why_stopped()};
    tell_of_accepted(common, accepted->report());
    accepted->close();
}

}  // namespace

void add_journal_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<JournalLine>();
    const Command command = app.add("journal", "The journal").needs_command();
    command.option("--dir", line->directory,
                        "Its directory; default: $SHMBUS_JOURNAL, or where the daemon has it");
    const auto place = [&common, line] { return place_of(*line, common); };
    command.add("stat", "Its size, and how much waits for whom. Needs no daemon")
        .runs([&common, place] { journal_stat(common, place()); });
    command.add("verify", "Read all of it; says what is damaged. Needs no daemon")
        .runs([&common, place] { verify(common, place()); });
    command.add("dump", "List its records. Needs no daemon")
        .runs([&common, place] { journal_dump(common, place()); });
    const Command accept = command.add(
        "accept-loss", "Accept that damaged records are lost, so that the rest goes on");
    accept.option("ranges", line->ranges, "LSNs, FIRST-LAST");
    accept.flag("--all", line->all, "All that 'verify' names");
    accept.runs([&common, place, line] { accept_loss(common, place(), *line); });
    command.add("compact", "Let go of what nobody waits for; the daemon must be away")
        .runs([&common, place] { journal_compact(common, place()); });
    const Command backup = command.add(
        "backup", "A verified copy as of one moment, also while the daemon runs");
    backup.option("to", line->other, "A directory that is not there yet, or empty")
        .required();
    backup.runs([&common, place, line] { journal_backup(common, place(), line->other); });
    const Command restore = command.add(
        "restore", "Put a backup where the journal was; neither daemon nor journal may be there");
    restore.option("from", line->other, "The directory of the backup").required();
    restore.runs([&common, place, line] { journal_restore(common, line->other, place()); });
}

}  // namespace shmbus::cli
