// What happened on a bus, as far as two looks at it tell: the lines of the log screen.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "look/snapshot.h"
#include "top/cells.h"

namespace shmbus::top {

struct LogLine {
    std::uint64_t at_ns = 0;  // realtime of the look that showed it
    std::string text;
    Style style = Style::plain;
    std::uint64_t times = 1;
    std::uint64_t since_ns = 0;  // at_ns of the first of those times
};

// What is different, in words: who came, died or was stopped, which endpoint came into trouble or
// out of it, what was lost. Nothing that comes and goes with each message.
[[nodiscard]] std::vector<LogLine> changes_between(const look::Snapshot& before,
                                                   const look::Snapshot& after);
// What a log begins with: what is wrong from the first.
[[nodiscard]] std::vector<LogLine> first_lines(const look::Snapshot& seen);

// The lines, newest last, at most so many.
class Log {
public:
    static constexpr std::size_t most_lines = 500;
    // What says the same as a line of the last ten seconds takes its place with it, counted: a
    // sender that waits now and then leaves one line, and does not push the others out.
    static constexpr std::uint64_t same_for_ns = 10'000'000'000;

    // How many lines went, of those above number `above`: so far up does each of them move.
    std::size_t add(std::vector<LogLine> lines, std::size_t above = 0);
    [[nodiscard]] const std::vector<LogLine>& lines() const noexcept { return lines_; }

private:
    std::vector<LogLine> lines_;
};

}  // namespace shmbus::top
