// shmbus: looks at a bus, changes it, and lets scripts take part in it.
//
// Looking needs neither the daemon nor its permission to change anything: files are read. What
// changes something asks the daemon. `shmbus foo` runs shmbus-foo from the PATH when there is no
// such command here.
//
// SPDX-License-Identifier: BSL-1.0
#include <csignal>
#include <cstdio>
#include <exception>
#include <sstream>

#include <CLI/CLI.hpp>

#include <shmbus/result.h>

#include "cli/messages.h"
#include "cli/metrics.h"
#include "cli/nouns.h"
#include "cli/plugin.h"
#include "cli/trouble.h"

namespace {

using namespace shmbus::cli;

void add_commands(CLI::App& parser, Common& common) {
    parser.set_version_flag("--version", SHMBUS_VERSION);
    parser.require_subcommand(1);
    parser.fallthrough();
    parser.footer(exit_statuses());
    const Command app(parser);
    add_common_options(app, common);
    add_bus_commands(app, common);
    add_endpoint_commands(app, common);
    add_subscription_commands(app, common);
    add_type_commands(app, common);
    add_process_commands(app, common);
    add_send_commands(app, common);
    add_request_commands(app, common);
    add_serve_commands(app, common);
    add_tail_commands(app, common);
    add_take_commands(app, common);
    add_failed_commands(app, common);
    add_journal_commands(app, common);
    add_doctor_command(app, common);
    add_check_command(app, common);
    add_metrics_commands(parser, common);
    add_help_commands(app, common);
}

int say(const Trouble& trouble) {
    std::fflush(stdout);
    std::fputs(trouble.text("shmbus").c_str(), stderr);
    return static_cast<int>(trouble.status());
}

// The help of the command that was meant, as far as it was understood.
[[nodiscard]] std::string help_for(const CLI::App& app, const std::string& words = "shmbus") {
    const auto meant = app.get_subcommands();
    return meant.empty() ? words + " --help"
                         : help_for(*meant.front(), words + " " + meant.front()->get_name());
}

// What the parser says, in our form. It throws for --help and --version as well.
int say(const CLI::App& app, const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
        std::ostringstream text;
        app.exit(error, text, text);
        print(text.str());
        flush_output();
        return 0;
    }
    return say(Trouble(Exit::usage, error.what(), "", help_for(app)));
}

// A monitoring system knows four statuses, and takes any other for the end of its own program.
int status_for(const CLI::App& app, int status) {
    return app.got_subcommand("check") && status > 3 ? 3 : status;
}

int parse_and_run(CLI::App& app, int count, char** words) {
    try {
        become_plugin(app, count, words);
        app.parse(count, words);
        flush_output();
        return 0;
    } catch (const CLI::ParseError& error) {
        return say(app, error);
    }
}

int run(CLI::App& app, int count, char** words) {
    try {
        return parse_and_run(app, count, words);
    } catch (const Ended& ended) {
        return ended.status;
    } catch (const Trouble& trouble) {
        return say(trouble);
    } catch (const shmbus::SetupError& error) {
        return say(trouble_of(error));
    } catch (const std::exception& error) {
        return say(Trouble(Exit::failed, error.what()));
    }
}

}  // namespace

int main(int count, char** words) {
    // A reader that goes away ends us as it ends every program in a pipe; whoever started us may
    // have this signal ignored.
    std::signal(SIGPIPE, SIG_DFL);
    Common common;
    CLI::App app("shmbus: look at a bus, change it, take part in it");
    add_commands(app, common);
    return status_for(app, run(app, count, words));
}
