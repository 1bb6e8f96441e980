// Line charts: one polyline a series, both axes logarithmic.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/svg_parts.h"

#include <fmt/format.h>

namespace shmbus::bench {
namespace {

constexpr double plot_top = 30;
constexpr double plot_bottom = 350;

std::string path_of(const Series& series, const Scale& x, const Scale& y) {
    std::string points;
    std::string dots;
    for (const auto& [right, up] : series.points) {
        if (right <= 0 || up <= 0) continue;
        points += fmt::format("{:.1f},{:.1f} ", x.at(right), y.at(up));
        if (series.dots)
            dots += fmt::format("<circle class=\"d {}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>\n",
                                series.css, x.at(right), y.at(up));
    }
    return fmt::format("<polyline class=\"l {}\" points=\"{}\"/>\n", series.css, points) + dots;
}

std::string legend_of(const std::vector<Series>& series, double left) {
    std::string text;
    double down = plot_top + 10;
    for (const Series& one : series) {
        text += line_at(left, down - 4, left + 22, down - 4, "l " + one.css);
        text += text_at(left + 28, down, "start", one.name);
        down += 19;
    }
    return text;
}

double longest_name(const std::vector<Series>& series) {
    std::size_t longest = 0;
    for (const Series& one : series) longest = std::max(longest, one.name.size());
    return static_cast<double>(longest) * letter_width + 28;
}

}  // namespace

std::string line_chart(const std::string& title, const Axis& x, const Axis& y,
                       const std::vector<Series>& series) {
    Range across;
    Range along;
    for (const double tick : x.ticks) across.take(tick);
    for (const Series& one : series)
        for (const auto& [right, up] : one.points)
            if (right > 0 && up > 0) {
                across.take(right);
                along.take(up);
            }
    along = widened(along);
    if (across.high <= across.low) across = {1, 10};
    const double right_border = chart_width - longest_name(series) - 24;
    const Scale to_right{across.low, across.high, 64, right_border};
    const Scale upwards{along.low, along.high, plot_bottom, plot_top};

    std::string svg = opened(title, plot_bottom + 44);
    svg += text_at(4, 14, "start", y.label, "t n");
    for (const double tick : ticks_of(y, along)) {
        svg += line_at(64, upwards.at(tick), right_border, upwards.at(tick), "g");
        svg += text_at(58, upwards.at(tick) + 4, "end", y.text(tick));
    }
    for (const double tick : ticks_of(x, across)) {
        svg += line_at(to_right.at(tick), plot_top, to_right.at(tick), plot_bottom, "g");
        svg += text_at(to_right.at(tick), plot_bottom + 17, "middle", x.text(tick));
    }
    svg += line_at(64, plot_bottom, right_border, plot_bottom, "a");
    svg += text_at((64 + right_border) / 2, plot_bottom + 36, "middle", x.label, "t n");
    // Ours last, above the others.
    for (auto one = series.rbegin(); one != series.rend(); ++one)
        svg += path_of(*one, to_right, upwards);
    return svg + legend_of(series, right_border + 20) + "</svg>\n";
}

}  // namespace shmbus::bench
