// The page, put together.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/page.h"

#include "run/svg.h"
#include "run/table.h"

#include <fmt/format.h>

namespace shmbus::bench {
namespace {

// One colour each for the peers, as lines, dots and bars.
std::string peer_colours() {
    std::string text;
    for (int i = 0; i < 12; ++i)
        text += fmt::format("svg .l.p{0} {{ stroke: var(--p{0}); }} svg .b.p{0}, svg .d.p{0} "
                            "{{ fill: var(--p{0}); }}\n",
                            i);
    return text;
}

std::string paragraph(const std::string& text, const char* css = "") {
    return fmt::format("<p class=\"{}\">{}</p>\n", css, escaped(text));
}

std::string head_of(const Results& results) {
    const Environment& machine = results.environment;
    return "<header><h1>shmbus beside its limits and its peers</h1>\n" +
           paragraph(fmt::format("{} · {} · {} cores · {} · {} {} · commit {}", results.began,
                                 machine.cpu, machine.cores, machine.kernel, machine.compiler,
                                 machine.flags, machine.commit),
                     "soft") +
           paragraph(fmt::format("{}  ({:.0f} s; {} rounds wanted; order shuffled with seed {}; a "
                                 "look at the clock costs {:.0f} ns)",
                                 results.command, results.seconds, results.wanted_rounds,
                                 results.seed, machine.clock_cost_ns),
                     "soft") +
           paragraph(verdict_of(results),
                     violations_of(results).empty() ? "reading" : "reading bad") +
           "</header>\n";
}

std::string section_of(const Figures& figures) {
    return "<section><h2>" + escaped(figures.heading) + "</h2>\n" +
           paragraph(figures.reading, "reading") + figures.svg + figures.table + "</section>\n";
}

std::string everything(const Results& results) {
    std::string text = "<section><h2>Every measurement</h2>\n";
    for (const GroupResult& group : results.groups) {
        std::string probes;
        for (const RoundNote& round : group.rounds)
            probes += fmt::format("{}{} {:.0f} ns{}", probes.empty() ? "" : ", ", round.placement,
                                  round.probe_ns, round.steady ? "" : " (moved: dropped)");
        text += "<h3>" + escaped(title_of(group)) + "</h3>" + paragraph(place_of(group)) +
                group_table(results, group) + paragraph("Cores, by round: " + probes + ".", "soft");
    }
    return text + "</section>\n";
}

constexpr const char* method =
    "Real processes, one pinned to a core. In each round all systems of a measurement run once, in "
    "an order that was shuffled and turns from round to round; the time of a bare cache-line round "
    "trip is taken before and after. A round in which the two differ by more than 15 %, or that is "
    "more than 30 % off the others, is dropped: the machine had moved its cores. Figures are "
    "medians of the rounds kept, with the least and the largest beside them; ratios are of the "
    "same round. Every message is written whole, summed up by its receiver and counted by sender; "
    "one that is lost, damaged or out of order makes its figure void and the run fail.";

constexpr const char* promises =
    "Kill-safe: a process killed at any instant harms none of the others. Redelivery: what a dead "
    "consumer had taken goes to another one. Durable: what was acknowledged survives a power cut. "
    "Competing: several consumers share one queue. Zero copy: a message can be written and read in "
    "place.";

}  // namespace

std::string page_of(const Results& results, const Results* before) {
    std::string text =
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
        "<title>shm-bench</title>\n<style>" +
        std::string(page_style()) + peer_colours() + "</style></head>\n<body>\n" +
        head_of(results) +
        "<section><h2>At a glance</h2>\n" + glance_table(results) + "</section>\n";
    if (before)
        text += "<section><h2>Before and after</h2>\n" +
                paragraph("Before: " + before->began + ", commit " + before->environment.commit +
                          ". Changes are of the ratio to the limit where both have the same.") +
                change_table(*before, results) + "</section>\n";
    for (const Figures& figures : figures_of(results, before)) text += section_of(figures);
    text += "<section><h2>The systems and what they promise</h2>\n" +
            paragraph(promises, "soft") +
            systems_table(results) + "</section>\n<section><h2>The machine itself</h2>\n" +
            paragraph(hiccups_reading(results), "reading") +
            "</section>\n<section><h2>How it was measured</h2>\n" + paragraph(method) +
            "</section>\n" + everything(results);
    return text + "</body></html>\n";
}

}  // namespace shmbus::bench
