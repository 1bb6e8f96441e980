// What line charts and bar charts are made of.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "run/svg.h"

#include <algorithm>
#include <cmath>

namespace shmbus::bench {

inline constexpr double chart_width = 880;
inline constexpr double letter_width = 7.3;  // about, at 12 px, of a wide font

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

// A border a little beyond what is drawn.
Range widened(Range range);

// The axis's own, or decades, with 2 and 5 between them where there are few.
std::vector<double> ticks_of(const Axis& axis, const Range& range);

std::string text_at(double x, double y, const char* anchor, const std::string& text,
                    const std::string& css = "t");
std::string line_at(double x1, double y1, double x2, double y2, const std::string& css);
// The beginning of a picture; "</svg>" is its end.
std::string opened(const std::string& title, double height);

}  // namespace shmbus::bench
