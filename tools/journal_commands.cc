// shmbus journal. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal_commands.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <shmbus/result.h>

#include "bus/locate.h"
#include "journal/journal.h"
#include "wire/names.h"

namespace shmbus::tools {
namespace {

using journal::Damage;
using journal::Kind;
using journal::RecordHead;
using journal::Report;

[[nodiscard]] std::string place_of(const JournalCommandLine& line, const std::string& bus) {
    if (!line.directory.empty()) return line.directory;
    const std::string wanted = detail::environment("SHMBUS_JOURNAL");
    return wanted.empty() ? detail::usual_journal(detail::locate_bus(bus)) : wanted;
}

[[nodiscard]] const char* name_of(Kind kind) {
    constexpr std::array names{"?",        "begin",  "publish", "acknowledge",
                               "item",     "erase",  "audience", "forget",
                               "up_to",    "lane_gone", "loss",   "batch_end"};
    const auto number = static_cast<std::size_t>(kind);
    return names[number < names.size() ? number : 0];
}

// Endpoints stand in a journal by index and generation, as in the names of their inboxes.
[[nodiscard]] std::string endpoint_text(std::uint64_t number) {
    return wire::numbered_file(number);
}

[[nodiscard]] std::string what_it_says(const RecordHead& head, std::span<const std::byte> payload) {
    const auto number_at = [&](std::size_t at) {
        std::uint64_t value = 0;
        if (at + sizeof(value) <= payload.size())
            std::memcpy(&value, payload.data() + at, sizeof(value));
        return value;
    };
    switch (head.kind) {
        case Kind::publish:
            return fmt::format("type {} to audience {}, id {}", head.type, head.number,
                               MessageId{head.first, head.second}.text());
        case Kind::acknowledge:
            return fmt::format("endpoint {} has settled all up to {}", endpoint_text(head.first),
                               head.second);
        case Kind::item:
        case Kind::erase: return fmt::format("table {} row {}", head.type, head.first);
        case Kind::audience: {
            std::string text = fmt::format("audience {}:", head.number);
            for (std::size_t at = 0; at < payload.size(); at += 8)
                text += " " + endpoint_text(number_at(at));
            return text;
        }
        case Kind::forget: return "endpoint " + endpoint_text(head.first);
        case Kind::lane_gone: return "lane " + wire::lane_file(head.first);
        case Kind::loss: return fmt::format("accepted: {} to {}", head.first, head.second);
        default: return "";
    }
}

void dump(const std::string& path, bool as_json) {
    journal::RealStorage storage(path, journal::RealStorage::Mode::must_exist);
    const Report report = journal::inspect(
        storage, [&](std::uint64_t segment, std::uint64_t offset, const RecordHead& head,
                     std::span<const std::byte> payload) {
            if (as_json) {
                const nlohmann::json record{{"segment", segment},
                                            {"offset", offset},
                                            {"lsn", head.lsn},
                                            {"kind", name_of(head.kind)},
                                            {"payload_bytes", payload.size()},
                                            {"says", what_it_says(head, payload)}};
                fmt::print("{}\n", record.dump());
            } else {
                fmt::print("{:>6} {:>10} {:>10} {:<11} {:>8} B  {}\n", segment, offset, head.lsn,
                           name_of(head.kind), payload.size(), what_it_says(head, payload));
            }
        });
    if (report.stops_service()) throw CLI::RuntimeError(EX_DATAERR);
}

[[nodiscard]] nlohmann::json json_of(const Report& report) {
    nlohmann::json damages = nlohmann::json::array();
    for (const Damage& damage : report.damages)
        damages.push_back({{"file", damage.file},
                           {"offset", damage.offset},
                           {"what", damage.what},
                           {"loses", damage.loses},
                           {"accepted", damage.accepted},
                           {"first_lsn", damage.lsns.first},
                           {"last_lsn", damage.lsns.last}});
    return {{"records", report.records},       {"batches", report.batches},
            {"last_lsn", report.end.lsn},      {"torn_bytes", report.torn_bytes},
            {"closed_in_peace", report.was_clean}, {"damages", damages},
            {"in_service", !report.stops_service()}};
}

void verify(const std::string& path, bool as_json) {
    journal::RealStorage storage(path, journal::RealStorage::Mode::must_exist);
    const Report report = journal::inspect(storage);
    if (report.is_new)
        throw SetupError{"reading a journal", path, ENOENT,
                         "no journal was made there; name its directory with --dir"};
    if (as_json) {
        fmt::print("{}\n", json_of(report).dump(2));
    } else {
        fmt::print("{}: {} records in {} batches, the last one is LSN {}\n", path, report.records,
                   report.batches, report.end.lsn);
        if (report.torn_bytes != 0)
            fmt::print("{} bytes of a batch that was never acknowledged stand behind the end\n",
                       report.torn_bytes);
        fmt::print("{}", report.text());
        fmt::print("{}\n", report.stops_service()
                               ? "acknowledged records are lost: durable messages stop until "
                                 "'shmbus journal accept-loss' accepts that"
                               : "nothing that was acknowledged is missing");
    }
    if (report.stops_service()) throw CLI::RuntimeError(EX_DATAERR);
}

[[nodiscard]] journal::Range range_of(const std::string& text) {
    unsigned long long first = 0;
    unsigned long long last = 0;
    char rest = 0;
    const int got = std::sscanf(text.c_str(), "%llu-%llu%c", &first, &last, &rest);
    if (got == 1) last = first;
    if ((got != 1 && got != 2) || first == 0 || last < first)
        throw SetupError{"reading a range of LSNs", text, EINVAL,
                         "write FIRST-LAST, as 'shmbus journal verify' shows them"};
    return {first, last};
}

void accept_loss(const std::string& path, const JournalCommandLine& line) {
    journal::RealStorage storage(path, journal::RealStorage::Mode::must_exist);
    const Report before = journal::inspect(storage);
    journal::Options options;
    for (const std::string& text : line.ranges) options.accepted_losses.add(range_of(text));
    bool some_left = false;
    for (const Damage& damage : before.damages) {
        if (!damage.loses || damage.accepted) continue;
        if (line.all) options.accepted_losses.add(damage.lsns);
        if (!options.accepted_losses.covers(damage.lsns)) {
            fmt::print(stderr, "not accepted: {}\n", damage.text());
            some_left = true;
        }
    }
    if (some_left || !before.stops_service()) {
        fmt::print(stderr, "{}\n", some_left ? "nothing was changed: accept all of it, by ranges "
                                               "or with --all"
                                             : "nothing is lost, so there is nothing to accept");
        throw CLI::RuntimeError(some_left ? EX_DATAERR : EX_OK);
    }
    journal::Journal accepted(storage, options);
    if (!accepted.why_stopped().empty())
        throw SetupError{"accepting a loss", path, 0, accepted.why_stopped()};
    for (const Damage& damage : accepted.report().damages)
        if (damage.loses) fmt::print("{}\n", damage.text());
    accepted.close();
}

}  // namespace

void add_journal_commands(CLI::App& app, JournalCommandLine& line, const std::string& bus,
                          const bool& json) {
    auto* command = app.add_subcommand("journal", "The journal")->require_subcommand(1);
    command->add_option("--dir", line.directory,
                        "Its directory; default: $SHMBUS_JOURNAL, or where the bus has it");
    command->add_subcommand("verify", "Read all of it; says what is damaged. Needs no daemon")
        ->callback([&] { verify(place_of(line, bus), json); });
    command->add_subcommand("dump", "List its records. Needs no daemon")
        ->callback([&] { dump(place_of(line, bus), json); });
    auto* accept = command->add_subcommand(
        "accept-loss", "Accept that damaged records are lost, so that the rest goes on");
    accept->add_option("ranges", line.ranges, "LSNs, FIRST-LAST");
    accept->add_flag("--all", line.all, "All that 'verify' names");
    accept->callback([&] { accept_loss(place_of(line, bus), line); });
}

}  // namespace shmbus::tools
