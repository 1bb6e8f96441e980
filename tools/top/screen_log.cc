// What shm-top saw happen since it was started, newest last.
//
// SPDX-License-Identifier: BSL-1.0
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "top/screens.h"

namespace shmbus::top {
Page draw_log(const Model& model, Size size) {
    Page page{{{"what was seen to happen, newest last", Style::head}}};
    if (const std::string& own = model.now.daemon.log; !own.empty())
        page.push_back({{"the daemon's own log: " + plain(own), Style::dim}});
    const std::vector<LogLine>& lines = model.log.lines();
    const std::size_t at = chosen_row(model);
    const std::size_t rows = size.rows - std::min(size.rows, page.size());
    // The newest at the bottom, where it is looked for.
    const std::size_t begin = at + 1 == lines.size() && lines.size() > rows
                                  ? lines.size() - rows
                                  : window_around(at, lines.size(), rows).begin;
    for (std::size_t row = begin; row < std::min(lines.size(), begin + rows); ++row) {
        const LogLine& one = lines[row];
        Line line{{clock_text(one.at_ns) + " ", Style::dim}, {one.text, one.style}};
        if (one.times > 1) line.push_back({fmt::format("  ({} times", one.times), Style::plain});
        if (one.times > 1)
            line.push_back({one.since_ns == one.at_ns
                                ? std::string(")")
                                : fmt::format(" since {})", clock_text(one.since_ns)),
                            Style::plain});
        page.push_back(row == at ? chosen(std::move(line), size.columns) : std::move(line));
    }
    return page;
}

}  // namespace shmbus::top
