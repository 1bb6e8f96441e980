// What all commands of shmbus share: which bus, in which form answers are printed.
//
// One per program, filled by the program's own options before a command runs.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cli/command.h"

namespace shmbus::cli {

enum class Format : std::uint8_t { table, json, csv };
enum class Paint : std::uint8_t { plain, bold, good, warning, bad, dim };

struct Common {
    std::string bus;
    Format format = Format::table;
    bool has_colour = false;

    [[nodiscard]] bool is_json() const noexcept { return format == Format::json; }
    // The text in colour, where colours are wanted.
    [[nodiscard]] std::string painted(std::string_view text, Paint paint) const;
};

// --bus, --format, --json, --color.
void add_common_options(const Command& app, Common& common);

// Prints to standard output. What cannot be written there is noticed by flush_output.
void print(std::string_view text);
void print_line(std::string_view text);
// Throws Trouble when standard output took not all of it. A reader that went away ends the program
// by SIGPIPE, as it does the programs beside it in a pipe.
void flush_output();
// The same for who has nothing to write for now: a reader that went away is noticed at once.
void heed_reader() noexcept;

// For a command whose output has a form of its own. Throws Trouble when another one is asked for.
void require_table(const Common& common, const std::string& command, const std::string& why);

// Asks a question at the terminal. Without one it throws Trouble that names --yes.
[[nodiscard]] bool is_agreed(bool said_yes, const std::string& question);

// What the --data, --file and standard input of a command give: see add_body_options in body.h.
[[nodiscard]] std::string all_of_file(const std::string& path);  // "-": standard input

}  // namespace shmbus::cli
