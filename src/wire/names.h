// Who is who and which file is whose: participant references, and the names of files of a bus.
//
// Used by every process. A bus is one directory:
//
//   directory                      the tables, written by the daemon alone
//   control.sock                   the daemon's socket
//   daemon.lock                    held by the one daemon
//   participants/<index>.<generation>   one page per process
//   inboxes/<index>.<generation>        one file per endpoint
//   lanes/<16 hexadecimal digits>       one file per lane
//   types/<index>.<generation>          how the fields of a type read, where somebody said so
//   journal.place                       where its journal lies
//
// Names that people give never become part of a path: files are numbered, names stand in tables.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shmbus::wire {

inline constexpr const char* directory_file = "directory";
inline constexpr const char* socket_file = "control.sock";
inline constexpr const char* daemon_lock_file = "daemon.lock";
inline constexpr const char* daemon_log_file = "daemon.log";
inline constexpr const char* old_daemon_log_file = "daemon.1.log";
inline constexpr const char* journal_place_file = "journal.place";
inline constexpr const char* participants_folder = "participants";
inline constexpr const char* inboxes_folder = "inboxes";
inline constexpr const char* lanes_folder = "lanes";
inline constexpr const char* types_folder = "types";

// The length of a participant's file; base::LifeMark stands at its beginning.
inline constexpr std::uint64_t participant_page_bytes = 4096;
inline constexpr std::uint64_t life_mark_at = 0;
// One that is nobody's yet, in the directory of the bus.
inline constexpr const char* page_ahead_file = "participant.ahead";

// What stands in journal.place: two lines, of which the first tells a copy of a bus, whose journal
// that is not.
[[nodiscard]] inline std::string journal_place_text(std::string_view bus,
                                                    std::string_view journal) {
    return std::string(bus) + "\n" + std::string(journal) + "\n";
}
inline constexpr std::size_t most_journal_place_bytes = 2 * 4096 + 2;

// A row of a table together with how often that row has been given out: {generation:32, index:32}.
// Generations begin at 1, so 0 means "nobody".
using Reference = std::uint64_t;

[[nodiscard]] constexpr Reference make_reference(std::uint32_t index,
                                                 std::uint32_t generation) noexcept {
    return Reference{generation} << 32 | index;
}
[[nodiscard]] constexpr std::uint32_t index_of(Reference reference) noexcept {
    return static_cast<std::uint32_t>(reference);
}
[[nodiscard]] constexpr std::uint32_t generation_of(Reference reference) noexcept {
    return static_cast<std::uint32_t>(reference >> 32);
}

// The daemon, which writes lanes and is no participant: no row has this index.
inline constexpr Reference daemon_reference = make_reference(0, 1);

// "7.3": the file of a participant, or of an endpoint's inbox, inside its folder.
[[nodiscard]] inline std::string numbered_file(std::uint32_t index, std::uint32_t generation) {
    return std::to_string(index) + "." + std::to_string(generation);
}
[[nodiscard]] inline std::string numbered_file(Reference reference) {
    return numbered_file(index_of(reference), generation_of(reference));
}
// The same taken apart; nothing when it is not exactly such a name.
[[nodiscard]] inline std::optional<Reference> reference_of_file(std::string_view name) {
    const std::size_t dot = name.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    const auto number = [](std::string_view digits) -> std::optional<std::uint32_t> {
        std::uint32_t value = 0;
        const char* end = digits.data() + digits.size();
        const auto [stopped, error] = std::from_chars(digits.data(), end, value);
        if (error != std::errc{} || stopped != end) return std::nullopt;
        return value;
    };
    const auto index = number(name.substr(0, dot));
    const auto generation = number(name.substr(dot + 1));
    if (!index || !generation || name != numbered_file(*index, *generation)) return std::nullopt;
    return make_reference(*index, *generation);
}

// "000649f1c2d3e4b5": the file of a lane inside the folder of lanes.
[[nodiscard]] inline std::string lane_file(std::uint64_t lane_id) {
    std::array<char, 16> text;
    for (std::size_t digit = 0; digit < text.size(); ++digit)
        text[digit] = "0123456789abcdef"[lane_id >> (60 - 4 * digit) & 0xFU];
    return {text.begin(), text.end()};
}
[[nodiscard]] inline std::optional<std::uint64_t> lane_id_of_file(std::string_view name) {
    std::uint64_t value = 0;
    const char* end = name.data() + name.size();
    const auto [stopped, error] = std::from_chars(name.data(), end, value, 16);
    if (error != std::errc{} || stopped != end || name != lane_file(value)) return std::nullopt;
    return value;
}

}  // namespace shmbus::wire
