// Charts as inline SVG: axes with logarithmic ticks, lines, bars, a legend. Knows nothing of buses.
//
// Colours are the page's: each series has a CSS class, which its style sheet paints for light, dark
// and paper.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace shmbus::bench {

// Both axes are logarithmic: what is drawn here spans decades.
struct Axis {
    std::string label;
    std::function<std::string(double)> text;  // of a tick
    std::vector<double> ticks{};              // empty: 1, 2, 5 or decades, as fits
};

struct Series {
    std::string name;
    std::string css;  // class of its colour
    std::vector<std::pair<double, double>> points;
    bool dots = false;  // marks each point: there are few
};

// What is not positive is left out. `title` is for those who hear the page.
std::string line_chart(const std::string& title, const Axis& x, const Axis& y,
                       const std::vector<Series>& series);

struct Bar {
    std::string name;
    std::string css;
    double value = 0;
    std::string text;  // written at its end
};

struct BarGroup {
    std::string name;
    std::vector<Bar> bars;
};

// Horizontal bars from a common beginning, logarithmic.
std::string bar_chart(const std::string& title, const Axis& x, const std::vector<BarGroup>& groups);

// For text in SVG and HTML.
std::string escaped(const std::string& text);

}  // namespace shmbus::bench
