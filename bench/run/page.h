// One self-contained HTML page without scripts: what was found, drawn, put into words, and in full.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "run/results.h"
#include "run/svg.h"

#include <string>

namespace shmbus::bench {

// `before` is an earlier result to be shown beside, or null.
std::string page_of(const Results& results, const Results* before);

// The parts of it, each a file.

// The style sheet: light, dark, paper.
const char* page_style();

// Charts: what a section shows, one sentence on it, its figures under it. Empty where nothing of
// the kind was measured.
struct Figures {
    std::string heading;
    std::string reading;
    std::string svg;
    std::string table;
};
std::vector<Figures> figures_of(const Results& results, const Results* before);
using Steps = std::vector<const GroupResult*>;
Figures latency_curves(const Results& results, const Results* before, const GroupResult& group,
                       const std::string& heading);
Figures throughput(const Results& results, const Steps& steps);
Figures rate_ladder(const Steps& steps);
Figures durable_ladder(const Results& results, const Steps& steps);
Figures fan_out(const Results& results, const Steps& steps);

// The class that paints a system: the same in every chart.
std::string css_of(const Results& results, const std::string& system);

// Tables.
std::string glance_table(const Results& results);
std::string group_table(const Results& results, const GroupResult& group);
std::string systems_table(const Results& results);
std::string change_table(const Results& before, const Results& after);
// What a row is called in a ladder, whose limits differ from step to step.
std::string ladder_name(const Row& row);
// Systems by steps of a ladder; what a cell says is asked for each row.
struct Ladder {
    Steps steps;
    std::string (*step_text)(const GroupResult&);
    std::string (*cell_text)(const GroupResult&, const Row&);
};
std::string ladder_table(const Results& results, const Ladder& ladder);

// What a chart shows in numbers: its series by its ticks.
std::string series_table(const Axis& x, const std::string& corner, std::string (*text)(double),
                         const std::vector<Series>& series);

// Sentences, made from the figures. All end with a full stop.
std::string verdict_of(const Results& results);
std::string place_of(const GroupResult& group);  // ours beside the limit and the best peer
std::string hiccups_reading(const Results& results);
std::string figure_text(const GroupResult& group, double value);

}  // namespace shmbus::bench
