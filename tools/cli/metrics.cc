// shmbus metrics: the figures of a bus for those who collect them, printed or served.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/metrics.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <memory>

#include "cli/common.h"
#include "cli/open_bus.h"
#include "look/look.h"
#include "look/openmetrics.h"
#include "look/serve_metrics.h"
#include "said_option.h"

namespace shmbus::cli {
namespace {

struct MetricsLine {
    std::string journal;
    std::string address;
    bool is_openmetrics = false;
};

// Static, because a signal handler has no argument to carry it.
volatile std::sig_atomic_t is_told_to_end = 0;

void serve(look::MetricsServer& server) {
    struct sigaction action {};
    action.sa_handler = [](int) { is_told_to_end = 1; };
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(number, &action, nullptr);
    server.serve([] { return is_told_to_end == 0; });
}

void run(const Common& common, const MetricsLine& wanted) {
    require_table(common, "metrics", "it prints what Prometheus reads");
    static_cast<void>(OpenBus(common));  // says as all commands do when there is none
    const look::Place place = look::place_of(common.bus, wanted.journal);
    if (wanted.address.empty()) {
        const auto format = wanted.is_openmetrics ? look::MetricsFormat::openmetrics
                                                  : look::MetricsFormat::prometheus;
        print(look::metrics_text(look::look(place, look::apart_everywhere), format));
        return;
    }
    look::MetricsServer server(place, wanted.address);
    fmt::print("serving the metrics of {} on port {}, path /metrics\n", place.directory,
               server.port());
    std::fflush(stdout);
    serve(server);
}

}  // namespace

void add_metrics_commands(CLI::App& app, const Common& common) {
    // Owned by the callback, which the program keeps as long as it parses.
    const auto wanted = std::make_shared<MetricsLine>();
    auto* command = app.add_subcommand(
        "metrics", "Figures for Prometheus, printed or served; needs no daemon, disturbs nobody");
    require_said(command->add_option(
        "--journal", wanted->journal,
        "Directory of the journal; default: $SHMBUS_JOURNAL, or where the daemon has it"));
    command->add_flag("--openmetrics", wanted->is_openmetrics,
                      "Print OpenMetrics and not the older format");
    require_said(command->add_option(
        "--listen", wanted->address,
        "Serve them here, until told to end: 127.0.0.1:9464. Loopback only"));
    command->callback([wanted, &common] { run(common, *wanted); });
}

}  // namespace shmbus::cli
