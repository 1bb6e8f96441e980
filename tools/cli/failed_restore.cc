// shmbus failed restore: messages out of an archive, back into the error endpoint or to another.
//
// Each is noted in the archive as begun before it is sent, and as restored when it stands on the
// bus; of a durable one that means on disk. Killed between, it is in the archive still and is sent
// once more: marked as repeated, a durable one under the same number, by which the journal knows
// it. So it may be there twice, marked, and never none.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <bit>
#include <exception>
#include <random>

#include <fmt/core.h>

#include "cli/archive.h"
#include "cli/archived_message.h"
#include "cli/failed.h"
#include "cli/send_on.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

constexpr std::size_t at_a_time = 64;

[[nodiscard]] bool is_wanted(const FailedLine& line, const Archived& archived) {
    // One that an edited copy replaced comes back only when it is asked for by its id.
    return is_meant(line, archived.message) &&
           (!line.id.empty() || !archived.message.contains("edited_as"));
}

// Those that are meant, made into messages of this bus before the first one is sent.
struct Restorable {
    SeenMessage message;
    std::string failed_at;
    bool is_again = false;
};
[[nodiscard]] std::vector<Restorable> restorable(const OpenBus& bus, const FailedLine& line,
                                                 const std::vector<Archived>& all,
                                                 std::uint64_t attempt) {
    std::vector<Restorable> made;
    for (const Archived& one : all) {
        if (!is_wanted(line, one)) continue;
        made.push_back({message_of(bus, one.message), failed_at(one.message),
                        one.begun.has_value()});
        // In place of a number in the journal: the same for the same restore, see wire/record.h.
        // Of two that have one id, each has its own.
        made.back().message.extensions.durable.lsn = one.begun.value_or(attempt + made.size());
    }
    return made;
}

// All that is restored may wait in one lane.
[[nodiscard]] std::size_t lane_bytes_for(const std::vector<Restorable>& all) {
    std::size_t bytes = 0;
    for (const Restorable& one : all) bytes += one.message.payload.size() + 512;
    return std::bit_ceil(std::max<std::size_t>(2 * bytes, 65'536));
}

[[nodiscard]] Json note(const char* schema, const Restorable& one) {
    return {{"schema", schema},
            {"id", one.message.id.text()},
            {"failed_at", one.failed_at}};
}

[[nodiscard]] detail::EndpointHandle target_of(Member& member, const FailedLine& line) {
    if (!line.to.empty()) return member.receiver(line.to);
    if (member.bus().reader().find_endpoint(line.endpoint)) return member.receiver(line.endpoint);
    // A bus on which nothing has failed yet has none.
    detail::EndpointSpec spec;
    spec.kind = directory::EndpointKind::error;
    return value_of(member.core().session().create_endpoint(line.endpoint, spec),
                    "making endpoint " + line.endpoint);
}

}  // namespace

void restore_failed(const Common& common, const FailedLine& line) {
    require_selection(line, "restore");
    if (line.dry_run) {
        const auto all = read_archive(line.file);
        const auto count = std::ranges::count_if(
            all, [&](const Archived& one) { return is_wanted(line, one); });
        return done("failed restore", true)
            .add("messages", count)
            .tell(common, fmt::format("would restore {} messages", count));
    }
    if (line.file == "-")
        throw Trouble(Exit::usage, "what is restored comes out of a file, not out of a pipe",
                      "the file notes which are restored, so that none comes twice");
    // Looked for first: opening an archive makes one.
    static_cast<void>(read_archive(line.file));
    Archive archive(line.file);
    std::random_device chance;
    const std::uint64_t attempt = std::uint64_t{chance()} << 32 | chance() | 1U;
    require_daemon(common);
    const auto all = restorable(OpenBus(common), line, read_archive(line.file), attempt);
    if (all.empty() && !line.all) no_such_failed(line);
    Member member(common, lane_bytes_for(all));
    const auto to = target_of(member, line);
    // For the journal: no endpoint's number, so no other way of sending it on looks the same.
    const detail::EndpointHandle from{};
    for (std::size_t at = 0; at < all.size(); at += at_a_time) {
        const auto batch = std::span(all).subspan(at, std::min(at_a_time, all.size() - at));
        for (const Restorable& one : batch) {
            Json begun = note("shmbus.restoring/1", one);
            begun["attempt"] = one.message.extensions.durable.lsn;
            archive.add(begun);
        }
        archive.write();
        std::size_t sent = 0;
        std::exception_ptr problem;
        try {
            for (; sent < batch.size(); ++sent)
                send_on(member, batch[sent].message, {.to = to,
                                                      .from = from,
                                                      .keeps_failure = line.to.empty(),
                                                      .may_be_repeated = batch[sent].is_again});
        } catch (...) {
            problem = std::current_exception();
        }
        // Those that were sent before it are restored all the same.
        wait_until_on_disk(member);
        for (const Restorable& one : batch.first(sent)) archive.add(note("shmbus.restored/1", one));
        archive.write();
        if (problem) std::rethrow_exception(problem);
    }
    done("failed restore")
        .add("messages", all.size())
        .tell(common, fmt::format("restored {} messages", all.size()));
}

}  // namespace shmbus::cli
