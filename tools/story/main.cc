// shmbus-demo: real work over the bus, told as a story, every sentence of it checked.
//
// Ends with 0 when every claim holds, 1 when one does not, 2 when the story could not be told. The
// same program is every process of the story: the conductor starts itself with --role.
//
// SPDX-License-Identifier: BSL-1.0
#include <csignal>
#include <cstdio>

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "chapters.h"
#include "figures.h"
#include "roles.h"
#include "verdict.h"

namespace {

using namespace story;

// Standard input brings orders when it is a file, or a pipe in which something comes. A pipe that
// nobody writes to must not hang the demo: after three seconds it is taken for none.
std::string input_from_outside() {
    struct stat facts {};
    if (::fstat(STDIN_FILENO, &facts) != 0) return {};
    if (S_ISREG(facts.st_mode)) return facts.st_size > 0 ? "-" : "";
    if (!S_ISFIFO(facts.st_mode) && !S_ISSOCK(facts.st_mode)) return {};
    pollfd watched{STDIN_FILENO, POLLIN, 0};
    if (::poll(&watched, 1, 3000) == 1 && (watched.revents & POLLIN) != 0) return "-";
    fmt::print("standard input is a pipe without orders: making them up ('-' waits for them)\n");
    return {};
}

int run_role(const RoleArguments& arguments) {
    try {
        if (arguments.role == "orders") return run_orders(arguments);
        if (arguments.role == "sales") return run_sales(arguments);
        if (arguments.role == "query") return run_query(arguments);
        return run_subscriber(arguments);
    } catch (const std::exception& error) {
        fmt::print(stderr, "{}: {}\n", arguments.name, error.what());
        return 3;
    }
}

// They are looked for while the story waits, so that nothing is left behind. Nor does a reader who
// leaves before the end stop the cleaning up.
void hold_back_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, number);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
}

int tell(const Settings& settings) {
    const std::uint64_t begin = now_ns();
    hold_back_signals();
    Folders folders(settings.keep);
    Stage stage(settings, folders);
    fmt::print("shmbus demo: orders {}\n",
               settings.input.empty() ? fmt::format("made up from seed {}", settings.seed)
               : settings.input == "-" ? "from standard input"
                                       : "from " + settings.input);
    Chapters chapters(stage);
    if (!chapters.open()) throw StoryBroken("there is not one good order in the input");
    chapters.tell_all();
    Verdict(stage, chapters.course()).give();
    fmt::print("\n   {} of {} claims hold, in {}\n", stage.claims() - stage.failed_claims(),
               stage.claims(), span_text(now_ns() - begin));
    if (settings.keep) fmt::print("   logs and stores are kept in {}\n", folders.outside());
    std::fflush(stdout);
    return stage.all_hold() ? 0 : 1;
}

void add_role_options(CLI::App& app, RoleArguments& role) {
    app.add_option("--role", role.role)->group("");
    app.add_option("--name", role.name)->group("");
    app.add_option("--bus", role.bus)->group("");
    app.add_option("--log", role.log)->group("");
    app.add_option("--store", role.store)->group("");
    app.add_option("--control-fd", role.control_fd)->group("");
    app.add_option("--input", role.input)->group("");
}

}  // namespace

int main(int count, char** words) {
    CLI::App app("shmbus-demo: real work over the bus, told as a story, every sentence checked");
    Settings settings;
    RoleArguments role;
    app.add_option("orders", settings.input,
                   "CSV file of order_id,customer,product,quantity,price_cents; '-' reads standard "
                   "input, which is read anyway when something is piped in");
    app.add_option("--rows", settings.rows, "How many orders to make up when none are given")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000}))
        ->capture_default_str();
    app.add_option("--seed", settings.seed, "From which seed")->capture_default_str();
    app.add_option("--rate", settings.per_second, "Orders a second in the paced chapters")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000}))
        ->capture_default_str();
    app.add_flag("--keep", settings.keep, "Keep the logs and stores, and say where");
    app.add_flag("--plant-drop", settings.plant_drop)->group("");
    add_role_options(app, role);
    CLI11_PARSE(app, count, words);
    if (!role.role.empty()) {
        role.rows = settings.rows;
        role.seed = settings.seed;
        role.plant_drop = settings.plant_drop;
        return run_role(role);
    }
    try {
        if (settings.input.empty()) settings.input = input_from_outside();
        return tell(settings);
    } catch (const Interrupted& interrupted) {
        return 128 + interrupted.signal;
    } catch (const std::exception& error) {
        fmt::print(stderr, "shmbus-demo: {}\n", error.what());
        return 2;
    }
}
