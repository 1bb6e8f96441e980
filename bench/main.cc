// shm-bench: measures the bus beside the raw limits of the same second.
//
// SPDX-License-Identifier: BSL-1.0
#include "crew.h"
#include "peers/show.h"
#include "profile.h"
#include "report.h"
#include "rounds.h"
#include "run/changes.h"
#include "run/run.h"
#include "scenarios.h"
#include "steps.h"
#include "ticks.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

namespace shmbus::bench {
namespace {

struct Options {
    std::string scenario;
    std::string profiled;
    std::size_t steps = 0;
    bool by_callgrind = false;
    std::size_t bytes = 0;
    double seconds = 0;
    bool json = false;
    bool list = false;
    bool runs = false;
    RunOptions run;
    bool compares = false;
    std::string before;
    std::string after;
    double threshold_percent = 10;
};

void list_scenarios() {
    for (const Scenario& scenario : all_scenarios()) {
        std::printf("%-14s%s\n", scenario.name.c_str(), scenario.what.c_str());
    }
}

void show(const Report& report, bool json) {
    const std::string line = json ? json_line(report) : table_row(report);
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

// Returns the exit status: 0 if all went well, 1 if a message was lost or nothing was measured.
int run(const Scenario& scenario, const Options& options) {
    Request request;
    if (options.bytes > 0) request.bytes = options.bytes;
    const std::vector<Comparison> comparisons = scenario.comparisons(request);
    if (comparisons.empty()) {
        std::fprintf(stderr, "shm-bench: %s has no variant of %zu bytes\n", scenario.name.c_str(),
                     options.bytes);
        return 2;
    }
    const bool timed = options.seconds > 0;
    const std::chrono::milliseconds total(
        timed ? static_cast<long>(options.seconds * 1000) : 40'000);
    const Budget budget = share_of(total, comparisons.size(), timed);

    if (!options.json) std::printf("%s\n", table_head().c_str());
    bool well = true;
    for (const Comparison& comparison : comparisons) {
        const Report report = compare(comparison, budget);
        show(report, options.json);
        // What says why it was not measured has not failed.
        const bool measured = report.rounds_kept > 0 || !report.mark.empty();
        well = well && report.integrity == "ok" && measured;
    }
    return well ? 0 : 1;
}

void add_run(CLI::App& app, Options& options) {
    CLI::App* const run = app.add_subcommand(
        "run", "measure many scenarios with every system there is; writes a folder with a page");
    run->add_flag("--quick", options.run.quick, "four scenarios, three rounds: three minutes");
    run->add_option("--out", options.run.folder, "folder of the results");
    run->add_option("--against", options.run.against, "an earlier results.json, to show beside");
    run->add_option("--seconds", options.run.seconds, "how long all of it may take");
    run->add_option("SCENARIO", options.run.scenarios, "only these, see --list");
    run->callback([&options] { options.runs = true; });
}

void add_compare(CLI::App& app, Options& options) {
    CLI::App* const compare = app.add_subcommand(
        "compare", "what became of shmbus between two results.json; 1 if it became worse");
    compare->add_option("BEFORE", options.before)->required();
    compare->add_option("AFTER", options.after)->required();
    compare->add_option("--threshold", options.threshold_percent, "per cent that are let pass")
        ->capture_default_str();
    compare->callback([&options] { options.compares = true; });
}

int run(const Options& options) {
    if (options.compares)
        return compare_files(options.before, options.after, options.threshold_percent);
    if (options.list) {
        list_scenarios();
        return 0;
    }
    if (options.scenario == "step") {
        step_through(options.profiled, options.steps);
        return 0;
    }
    if (options.scenario == "profile") {
        const Profile profile = bench::profile(options.profiled, options.by_callgrind);
        std::printf("%s\n",
                    (options.json ? json_line(profile) : table_text(profile)).c_str());
        return 0;
    }
    if (usable_cores().size() < 2) {
        std::fprintf(stderr, "shm-bench: needs two cores; this process may use only one. See "
                             "taskset(1) and the cpuset of the container.\n");
        return 2;
    }
    if (options.scenario == "peers")
        return show_peers({options.profiled, options.seconds, options.json});
    tick_rate();  // measured here once, before the children inherit it
    if (options.runs) return run_all(options.run);
    for (const Scenario& scenario : all_scenarios()) {
        if (scenario.name == options.scenario) return run(scenario, options);
    }
    std::fprintf(stderr, "shm-bench: no scenario \"%s\"; there are:\n", options.scenario.c_str());
    list_scenarios();
    return 2;
}

}  // namespace
}  // namespace shmbus::bench

int main(int argc, char** argv) {
    using namespace shmbus::bench;
    Options options;
    CLI::App app("Measures the bus beside the raw limits of the same second.", "shm-bench");
    app.add_option("SCENARIO", options.scenario,
                   "what to measure, see --list; or 'profile', for what a message costs in counts; "
                   "or 'peers', for what the bus is compared with");
    app.add_option("PROFILED", options.profiled,
                   "what to profile: " + steps_there_are() + "; or the peer to try alone");
    app.add_option("STEPS", options.steps)->group("");
    app.add_flag("--callgrind", options.by_callgrind,
                 "profile: count by callgrind, which is the same on every machine");
    app.add_option("--bytes", options.bytes, "only variants with payloads of this size");
    app.add_option("--seconds", options.seconds,
                   "measure this long; without it until five rounds are kept, within 40 s");
    app.add_flag("--json", options.json, "one JSON object a line instead of a table");
    app.add_flag("--list", options.list, "list the scenarios");
    add_run(app, options);
    add_compare(app, options);
    CLI11_PARSE(app, argc, argv);
    options.run.command = "shm-bench";
    for (int i = 1; i < argc; ++i) options.run.command += std::string(" ") + argv[i];
    if (options.scenario.empty() && !options.list && app.get_subcommands().empty()) {
        std::fputs(app.help().c_str(), stderr);
        return 2;
    }
    try {
        return shmbus::bench::run(options);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "shm-bench: %s\n", error.what());
        return 1;
    }
}
