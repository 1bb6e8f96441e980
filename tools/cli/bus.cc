// shmbus ls, env, run, version: the bus as a whole.
//
// SPDX-License-Identifier: BSL-1.0
#include <cerrno>
#include <chrono>
#include <memory>
#include <vector>

#include <unistd.h>

#include "base/barrier.h"
#include "bus/autostart.h"
#include "cli/listing.h"
#include "cli/nouns.h"
#include "cli/open_bus.h"
#include "cli/trouble.h"
#include "lane/layout.h"
#include "look/traces.h"
#include "wire/control.h"

namespace shmbus::cli {

namespace {

using namespace std::chrono_literals;

void list_bus(const Common& common) {
    const OpenBus bus(common);
    const auto lanes = bus.lanes();
    std::uint64_t lane_bytes = 0;
    for (const auto& lane : lanes) lane_bytes += lane.capacity;
    Facts facts("shmbus.bus/1");
    facts.add("directory", bus.location().directory);
    // How often the tables have changed. Under its first name only for programs that know it.
    if (common.format != Format::table) facts.add("version", bus.reader().version());
    facts.add("table_changes", bus.reader().version());
    facts.add("daemon", daemon_listens(bus.folder()) ? "listens" : "away");
    facts.add("processes", bus.participants().size());
    facts.add("endpoints", bus.endpoints().size());
    facts.add("types", bus.types().size());
    facts.add("subscriptions", bus.subscriptions().size());
    facts.add("lanes", lanes.size());
    facts.add("lane_bytes", lane_bytes);
    // As Bus::wake_method: what senders on this kernel pay for sleepers.
    facts.add("wake_method", base::barrier_available() ? "membarrier" : "fence");
    facts.print(common);
}

void show_environment(const Common& common) {
    const auto location = detail::locate_bus(common.bus);
    const std::string daemon = detail::find_daemon_program();
    const auto known = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
    Facts facts("shmbus.env/1");
    facts.add("bus_directory", location.directory);
    facts.add("root_directory", location.root);
    facts.add("journal_directory", look::journal_of_bus(location));
    facts.add("daemon_program", known(daemon));
    facts.add("starts_daemon", detail::may_start_daemon());
    for (const char* const name : {"SHMBUS_DIR", "SHMBUS_BUS", "SHMBUS_CONFIG", "SHMBUS_JOURNAL",
                                   "SHMBUS_LOG", "SHMBUS_DAEMON", "SHMBUS_START_DAEMON"})
        facts.add(name, known(detail::environment(name)));
    facts.print(common);
}

void show_version(const Common& common) {
    if (common.format == Format::table) return print_line(SHMBUS_VERSION);
    Facts facts("shmbus.version/1");
    facts.add("version", SHMBUS_VERSION);
    facts.add("directory_layout", std::to_string(directory::layout_major) + "." +
                                      std::to_string(directory::layout_minor));
    facts.add("lane_layout",
              std::to_string(lane::layout_major) + "." + std::to_string(lane::layout_minor));
    facts.add("control_frames", wire::control_version);
    facts.print(common);
}

struct RunLine {
    std::string config_file;
    std::chrono::nanoseconds idle_exit{0};
};

// Becomes the daemon, in the foreground.
void run_daemon(const Common& common, const RunLine& line) {
    const std::string program = detail::find_daemon_program();
    if (program.empty())
        throw Trouble(Exit::unavailable, "the daemon's program, shmbusd, is not to be found",
                      "it is neither beside this program nor in the PATH",
                      "set SHMBUS_DAEMON to its path", "no_daemon");
    std::vector<std::string> words{program, "--dir", detail::locate_bus(common.bus).directory,
                                   "--make-root"};
    if (!line.config_file.empty()) words.insert(words.end(), {"--config", line.config_file});
    if (line.idle_exit.count() > 0)
        words.insert(words.end(), {"--idle-exit", std::to_string(line.idle_exit / 1ms) + "ms"});
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execv(program.c_str(), arguments.data());
    throw SetupError{"running the daemon", program, errno, "check that it may be executed"};
}

}  // namespace

void add_bus_commands(const Command& app, const Common& common) {
    app.add("ls", "The bus in numbers").runs([&] { list_bus(common); });
    auto line = std::make_shared<RunLine>();
    const Command run = app.add("run", "Run the daemon of the bus in the foreground");
    run.option("--config", line->config_file, "TOML file");
    run.option("--idle-exit", line->idle_exit,
               "Leave when nobody has used the bus for so long");
    run.runs([&common, line] { run_daemon(common, *line); });
    app.add("env", "Where things are looked for, and the variables that say so")
        .runs([&] { show_environment(common); });
    app.add("version", "The version; with --json also those of the layouts")
        .runs([&] { show_version(common); });
}

}  // namespace shmbus::cli
