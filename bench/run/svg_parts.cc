// What line charts and bar charts are made of.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/svg_parts.h"

#include <fmt/format.h>

namespace shmbus::bench {
namespace {

std::vector<double> log_ticks(double low, double high) {
    const bool few = high / low < 300;
    std::vector<double> ticks;
    for (double decade = std::pow(10, std::floor(std::log10(low))); decade <= high; decade *= 10)
        for (const double step : {1.0, 2.0, 5.0})
            if ((few || step < 2) && decade * step >= low && decade * step <= high)
                ticks.push_back(decade * step);
    return ticks;
}

}  // namespace

Range widened(Range range) {
    if (range.high <= 0) return {1, 10};
    return {range.low / 1.25, range.high * 1.25};
}

std::string text_at(double x, double y, const char* anchor, const std::string& text,
                    const std::string& css) {
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
                       chart_width, height, escaped(title), escaped(title));
}

std::vector<double> ticks_of(const Axis& axis, const Range& range) {
    return axis.ticks.empty() ? log_ticks(range.low, range.high) : axis.ticks;
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
