// The help page: keys, letters, columns.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "top/screens.h"

namespace shmbus::top {
namespace {

// Within 80 columns, the second parts in 64 of them.
constexpr std::array<std::pair<const char*, const char*>, 43> help_texts{{
    {"1 2 3 4 5 6 Tab", "endpoints, processes, types, journal, failed messages, log"},
    {"Up Down j k", "choose; PgUp PgDn Home End g G"},
    {"Enter l, Esc h", "open the endpoint, draw the lane; back"},
    {"Left Right", "in the endpoints: other columns, where not all fit"},
    {"b  m", "who blocks this queue?  which messages stand in it?"},
    {"Space  U", "keep this endpoint on top, marked with +;  take all marks away"},
    {"/ F3, n", "find an endpoint by a part of its name, find the next one"},
    {"f \\ F4", "only those that match: name or regex, depth>1000, fill>70, in>0"},
    {"< >  r", "sort by another column;  the other way round"},
    {"c  d", "choose the columns;  seconds between looks"},
    {"p  u  w", "pause;  look at once;  write what is known to a file, as JSON"},
    {"q F10 Ctrl-C", "quit"},
    {"", ""},
    {"S", "how an endpoint is:"},
    {"", "X damaged      B a writer waits for room"},
    {"", "D messages, nobody alive reads them      P a consumer is stopped"},
    {"", "F failed messages lie here   J the journal is out of service"},
    {"", "R in use       I idle"},
    {"", ""},
    {"DEPTH", "messages waiting, in a hand, on disk (~ as was said last)"},
    {"FILL", "of the fullest lane, by what waits in it or is held"},
    {"IN/s OUT/s", "messages that came, that left"},
    {"P50 P99", "time in the handler"},
    {"CRIT", "99 % took less from being sent to being handled"},
    {"*", "behind a time: of all time, none came in the last interval"},
    {"OLDEST", "age of the oldest message; with a >: that old, or older"},
    {"CONS", "processes that have it open and live (? that may live)"},
    {"RETRY/s", "handed out again, after a death or a failure"},
    {"FAIL", "given up; in an error endpoint: messages that lie there"},
    {"JLAG", "durable messages for it that are not on disk yet"},
    {"TREND", "its depth over the last looks"},
    {"-", "what is not known"},
    {"", ""},
    {"WAIT50 WAIT99", "of a lane: from being sent to being taken"},
    {"CRIT50 CRIT99", "of a lane: from being sent to being handled"},
    {"CPU", "of a lane: the processor its writer ran on last"},
    {"BLOCKED/s", "of a lane: how often its writer waits for room"},
    {"TRIES/FULL", "of a lane: what was refused, of what was tried, for want of room"},
    {"WAITS REFUSED", "of a lane, ever: waits of its writer; sends without room"},
    {"HOLDS DONE", "of a consumer: messages in its hands, of them handled"},
    {"SINCE", "of a consumer: for how long it has held the oldest"},
    {"", ""},
    {"", "more in the manual: man shm-top"},
}};

}  // namespace

std::size_t help_lines() noexcept { return help_texts.size(); }

Page draw_help(const Model& model, Size size) {
    const std::size_t rows = size.rows - std::min<std::size_t>(size.rows, 1);
    const std::size_t begin =
        std::min(chosen_row(model), help_texts.size() - std::min(rows, help_texts.size()));
    const std::size_t end = std::min(help_texts.size(), begin + rows);
    Page page{{{"help", Style::head}}};
    if (end - begin < help_texts.size())
        page.back().push_back(
            {fmt::format("  lines {} to {} of {}", begin + 1, end, help_texts.size()), Style::dim});
    for (std::size_t at = begin; at < end; ++at)
        page.push_back({{left(help_texts[at].first, 16), Style::key}, {help_texts[at].second}});
    return page;
}

}  // namespace shmbus::top
