// shmbus journal dump: its records, one a line.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/journal_dump.h"

#include <array>
#include <cstring>
#include <span>

#include <fmt/core.h>

#include <shmbus/result.h>

#include "cli/listing.h"
#include "cli/still_journal.h"
#include "cli/trouble.h"
#include "journal/journal.h"
#include "wire/names.h"

namespace shmbus::cli {

namespace {

using journal::RecordHead;

[[nodiscard]] const char* name_of(journal::Kind kind) {
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
        case journal::Kind::publish:
            return fmt::format("type {} to audience {}, id {}", head.type, head.number,
                               MessageId{head.first, head.second}.text());
        case journal::Kind::acknowledge:
            return fmt::format("endpoint {} has settled all up to {}", endpoint_text(head.first),
                               head.second);
        case journal::Kind::item:
        case journal::Kind::erase: return fmt::format("table {} row {}", head.type, head.first);
        case journal::Kind::audience: {
            std::string text = fmt::format("audience {}:", head.number);
            for (std::size_t at = 0; at < payload.size(); at += 8)
                text += " " + endpoint_text(number_at(at));
            return text;
        }
        case journal::Kind::forget: return "endpoint " + endpoint_text(head.first);
        case journal::Kind::lane_gone: return "lane " + wire::lane_file(head.first);
        case journal::Kind::loss: return fmt::format("accepted: {} to {}", head.first, head.second);
        default: return "";
    }
}

}  // namespace

void journal_dump(const Common& common, const std::string& path) {
    StillJournal storage(path);
    Rows rows(common, "shmbus.journal_record/1",
              {"segment", "offset", "lsn", "kind", "payload_bytes", "says"});
    const journal::Report report = journal::inspect(
        storage, [&](std::uint64_t segment, std::uint64_t offset, const RecordHead& head,
                     std::span<const std::byte> payload) {
            if (common.format != Format::table) {
                rows.print({segment, offset, head.lsn, name_of(head.kind), payload.size(),
                            what_it_says(head, payload)});
            } else {
                print_line(fmt::format("{:>6} {:>10} {:>10} {:<11} {:>8} B  {}", segment, offset,
                                       head.lsn, name_of(head.kind), payload.size(),
                                       what_it_says(head, payload)));
            }
        });
    if (report.stops_service()) throw Ended{static_cast<int>(Exit::damaged)};
}

}  // namespace shmbus::cli
