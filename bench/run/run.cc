// `shm-bench run`: step by step through the plan, then everything into the folder.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/run.h"

#include "limit_contestants.h"
#include "run/environment.h"
#include "run/files.h"
#include "run/gather.h"
#include "run/plan.h"
#include "run/progress.h"
#include "run/table.h"
#include "ticks.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include <sched.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

// A thread that only looks at the clock, while nothing else is measured.
class HiccupWatch {
public:
    explicit HiccupWatch(std::string when) : when_(std::move(when)) {}

    void look(milliseconds span) {
        const Sample sample = machine_pauses().run(span);
        gaps_->add(*sample.latency);
        long_gaps_ += sample.rate_per_s.value_or(0) * std::chrono::duration<double>(span).count();
        seconds_ += std::chrono::duration<double>(span).count();
    }

    Hiccups seen() const {
        return {when_, seconds_ > 0 ? long_gaps_ / seconds_ : 0, distribution_of(*gaps_)};
    }

private:
    std::string when_;
    std::unique_ptr<Histogram> gaps_ = std::make_unique<Histogram>();
    double long_gaps_ = 0;
    double seconds_ = 0;
};

Results begin_of(const RunOptions& options, const Plan& plan, const std::vector<Peer>& peers) {
    Results results;
    results.command = options.command;
    results.began = utc_now();
    results.seed = plan.seed;
    results.wanted_rounds = plan.wanted_rounds;
    results.environment = this_environment();
    results.systems = systems_of(plan, peers);
    return results;
}

GroupResult measure(const Step& step, const std::vector<System>& systems, Progress& progress) {
    progress.step(step.comparison.scenario + ", " + step.comparison.variant);
    const Watch watch = [&](std::size_t round, const Contestant& who) {
        progress.detail("round " + std::to_string(round + 1) + ", " + who.name);
    };
    GroupResult group =
        group_of(step.comparison, run_rounds(step.comparison, step.budget, watch));
    mark_unranked(group, systems);
    progress.clear();
    std::printf("%s\n", table_of(group).c_str());
    std::fflush(stdout);
    return group;
}

// Nothing steady is no failure: another hour or another machine may be better.
int exit_status(const Results& results) {
    for (const GroupResult& group : results.groups)
        if (!front_of(group).figure && front_of(group).integrity == "ok")
            std::fprintf(stderr, "shm-bench: no figure: %s: %s\n", title_of(group).c_str(),
                         front_of(group).mark.c_str());
    const std::vector<std::string> violations = violations_of(results);
    for (const std::string& violation : violations)
        std::fprintf(stderr, "shm-bench: VOID: %s\n", violation.c_str());
    return violations.empty() ? 0 : 1;
}

// Systems with threads of their own starve beside a process that spins and that nobody interrupts:
// a comparison there would be ours to win.
void insist_on_a_fair_class() {
    const int scheduler = ::sched_getscheduler(0);
    if (scheduler == SCHED_FIFO || scheduler == SCHED_RR)
        throw std::runtime_error(
            "a run compares with systems that have threads of their own, and those starve in a "
            "real-time class: start it without chrt; single scenarios, which have no such "
            "systems, may be measured there");
}

}  // namespace

int run_all(const RunOptions& options) {
    insist_on_a_fair_class();
    const std::vector<Peer> peers = all_peers();
    const Plan plan = plan_of(options, peers);
    std::optional<Results> before;
    if (!options.against.empty()) before = read_results(options.against);
    Results results = begin_of(options, plan, peers);
    const std::string folder = make_folder(options.folder, results.began);

    const std::uint64_t begin = now_ticks();
    const milliseconds look(std::clamp<long>(plan.about.count() * 10, 50, 1000));
    HiccupWatch first("before");
    HiccupWatch between("during");
    HiccupWatch last("after");
    Progress progress(plan.steps.size(), plan.about);
    first.look(look);
    for (const Step& step : plan.steps) {
        results.groups.push_back(measure(step, results.systems, progress));
        between.look(look / 4);
    }
    last.look(look);
    results.hiccups = {first.seen(), between.seen(), last.seen()};
    results.seconds = tick_rate().ns(now_ticks() - begin) / 1e9;

    std::printf("%s", absent_of(results).c_str());
    write_all(folder, results, before ? &*before : nullptr);
    std::printf("written: %s/report.html, results.json, results.csv, *.hgrm\n", folder.c_str());
    return exit_status(results);
}

}  // namespace shmbus::bench
