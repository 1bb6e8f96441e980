// Bar charts: horizontal, in groups, from a common beginning.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/svg_parts.h"

#include <fmt/format.h>

namespace shmbus::bench {
namespace {

constexpr double bar_height = 15;
constexpr double bar_step = 20;

}  // namespace

std::string bar_chart(const std::string& title, const Axis& x,
                      const std::vector<BarGroup>& groups) {
    Range range;
    std::size_t lines = 0;
    std::size_t longest = 0;
    for (const BarGroup& group : groups) {
        lines += group.bars.size() + 1;
        for (const Bar& bar : group.bars) {
            if (bar.value > 0) range.take(bar.value);
            longest = std::max(longest, bar.name.size());
        }
    }
    range = widened(range);
    range.low /= 2;  // the shortest bar is seen, too
    const double left = static_cast<double>(longest) * letter_width + 16;
    const Scale scale{range.low, range.high, left, chart_width - 90};
    const double bottom = static_cast<double>(lines) * bar_step + 10;

    std::string svg = opened(title, bottom + 44);
    for (const double tick : ticks_of(x, range)) {
        svg += line_at(scale.at(tick), 8, scale.at(tick), bottom, "g");
        svg += text_at(scale.at(tick), bottom + 17, "middle", x.text(tick));
    }
    svg += text_at((left + chart_width - 90) / 2, bottom + 36, "middle", x.label, "t n");
    double down = 8;
    for (const BarGroup& group : groups) {
        svg += text_at(0, down + 12, "start", group.name, "t h");
        down += bar_step;
        for (const Bar& bar : group.bars) {
            const double end = bar.value > 0 ? scale.at(bar.value) : left;
            svg += text_at(left - 8, down + 12, "end", bar.name);
            svg += fmt::format("<rect class=\"b {}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
                               "height=\"{}\"/>\n",
                               bar.css, left, down, end - left, bar_height);
            svg += text_at(end + 6, down + 12, "start", bar.text);
            down += bar_step;
        }
    }
    return svg + "</svg>\n";
}

}  // namespace shmbus::bench
