// Charts as inline SVG.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/svg.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace shmbus::bench {
namespace {

constexpr double width = 880;
constexpr double plot_top = 30;
constexpr double plot_bottom = 350;
constexpr double bar_height = 15;
constexpr double bar_step = 20;
constexpr double letter = 7.3;  // about, at 12 px, of a wide font

// Where a value lies between two others, on a logarithmic scale.
struct Scale {
    double low;
    double high;
    double from;
    double to;

    double at(double value) const {
        const double share = (std::log10(value) - std::log10(low)) /
                             (std::log10(high) - std::log10(low));
        return from + share * (to - from);
    }
};

struct Range {
    double low = HUGE_VAL;
    double high = 0;

    void take(double value) {
        low = std::min(low, value);
        high = std::max(high, value);
    }
};

// Decades; with 2 and 5 between them where there are few.
std::vector<double> log_ticks(double low, double high) {
    const bool few = high / low < 300;
    std::vector<double> ticks;
    for (double decade = std::pow(10, std::floor(std::log10(low))); decade <= high; decade *= 10)
        for (const double step : {1.0, 2.0, 5.0})
            if ((few || step < 2) && decade * step >= low && decade * step <= high)
                ticks.push_back(decade * step);
    return ticks;
}

// A border at a tick, or a little beyond what is drawn.
Range widened(Range range) {
    if (range.high <= 0) return {1, 10};
    return {range.low / 1.25, range.high * 1.25};
}

std::string text_at(double x, double y, const char* anchor, const std::string& text,
                    const std::string& css = "t") {
    return fmt::format(
        "<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", css, x, y,
        anchor, escaped(text));
}

std::string line_at(double x1, double y1, double x2, double y2, const std::string& css) {
    return fmt::format(
        "<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", css, x1,
        y1, x2, y2);
}

std::string opened(const std::string& title, double height) {
    return fmt::format("<svg viewBox=\"0 0 {} {:.0f}\" role=\"img\" aria-label=\"{}\">\n"
                       "<title>{}</title>\n",
                       width, height, escaped(title), escaped(title));
}

std::vector<double> ticks_of(const Axis& axis, const Range& range) {
    return axis.ticks.empty() ? log_ticks(range.low, range.high) : axis.ticks;
}

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
    return static_cast<double>(longest) * letter + 28;
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
    const double right_border = width - longest_name(series) - 24;
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
    const double left = static_cast<double>(longest) * letter + 16;
    const Scale scale{range.low, range.high, left, width - 90};
    const double bottom = static_cast<double>(lines) * bar_step + 10;

    std::string svg = opened(title, bottom + 44);
    for (const double tick : ticks_of(x, range)) {
        svg += line_at(scale.at(tick), 8, scale.at(tick), bottom, "g");
        svg += text_at(scale.at(tick), bottom + 17, "middle", x.text(tick));
    }
    svg += text_at((left + width - 90) / 2, bottom + 36, "middle", x.label, "t n");
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

std::string escaped(const std::string& text) {
    std::string safe;
    for (const char one : text) switch (one) {
            case '&': safe += "&amp;"; break;
            case '<': safe += "&lt;"; break;
            case '>': safe += "&gt;"; break;
            case '"': safe += "&quot;"; break;
            default: safe += one;
        }
    return safe;
}

}  // namespace shmbus::bench
