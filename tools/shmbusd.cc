// shmbusd: the daemon of one bus. Keeps the directory and clears away after the dead.
//
// SPDX-License-Identifier: BSL-1.0
#include <cerrno>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <shmbus/result.h>

#include "base/file.h"
#include "daemon/durable.h"
#include "daemon/home.h"
#include "daemon/server.h"
#include "daemon/state.h"
#include "duration_option.h"
#include "exit_trouble.h"
#include "said_option.h"
#include "shmbusd_line.h"
#include "wire/names.h"

namespace {

namespace daemon = shmbus::daemon;
using shmbus::SetupError;
using shmbus::tools::CommandLine;
using shmbus::tools::Exit;
using shmbus::tools::Trouble;

// Tells the process that started us how it went: "R", "L <text>" when another daemon has the bus,
// or "E <text>". Without one nothing is told.
class Report {
public:
    explicit Report(int fd) : file_(fd) {}
    void ready() { say("R"); }
    void locked(std::string_view why) { say("L " + std::string(why)); }
    void failed(std::string_view why) { say("E " + std::string(why)); }

private:
    void say(const std::string& text) {
        // A starter that is gone does not need the report.
        if (file_ && ::write(file_.fd(), text.data(), text.size()) < 0) errno = 0;
        file_.close();
    }
    shmbus::base::File file_;
};

[[nodiscard]] spdlog::level::level_enum level_of(const std::string& name) {
    return spdlog::level::from_str(name == "warning" ? "warn" : name);
}

[[nodiscard]] daemon::Log make_log(const CommandLine& line, const daemon::Config& config) {
    std::shared_ptr<spdlog::logger> logger;
    if (line.detached) {
        const std::string path = config.directory + "/" + shmbus::wire::daemon_log_file;
        logger = std::make_shared<spdlog::logger>(
            "shmbusd", std::make_shared<spdlog::sinks::rotating_file_sink_st>(
                           path, config.most_log_bytes / 2, 1));
    } else {
        logger = std::make_shared<spdlog::logger>(
            "shmbusd", std::make_shared<spdlog::sinks::stderr_color_sink_st>());
    }
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%f %l %v");
    logger->set_level(level_of(config.log_level));
    logger->flush_on(spdlog::level::debug);
    return [logger](shmbus::LogLevel level, const std::string& text) {
        constexpr spdlog::level::level_enum levels[] = {spdlog::level::debug, spdlog::level::info,
                                                        spdlog::level::warn, spdlog::level::err};
        logger->log(levels[static_cast<std::size_t>(level)], "{}", text);
    };
}

// Rights and limits that the daemon does not need, and descriptors that it may need many of.
void harden() {
    ::umask(0077);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &files);
    }
}

// The starter's: it would be held against removing and unmounting for as long as a bus is used. All
// that is named from there is known by its absolute path by now.
void leave_working_directory() {
    if (::chdir("/") != 0)
        throw SetupError{"leaving the working directory", "/", errno, "see the system's answer"};
}

// How far it came: what a failure there means to whoever started it.
enum class Stage { configuring, making, serving };
[[nodiscard]] Exit status_of(const SetupError& error, Stage stage) {
    switch (stage) {
        case Stage::configuring: return Exit::config;
        case Stage::making: return shmbus::tools::exit_of_making(error);
        case Stage::serving: break;
    }
    // Without a system's answer: damaged, or of another version.
    if (error.system_error() == 0) return Exit::damaged;
    const Exit usual = shmbus::tools::exit_of_errno(error.system_error());
    return usual == Exit::usage ? Exit::config : usual;  // sizes of tables
}

void serve(CommandLine& line, Report& report, Stage& stage) {
    harden();
    daemon::Config config = shmbus::tools::configuration(line);
    stage = Stage::making;
    shmbus::tools::find_place(line, config);
    if (line.detached) leave_working_directory();
    daemon::Home home(config);
    const daemon::Log log = make_log(line, config);
    stage = Stage::serving;
    daemon::State state(std::move(home), config, log);
    daemon::Durable durable(state);
    daemon::Server server(state, durable);
    log(shmbus::LogLevel::info, "serving the bus in " + config.directory + ", process " +
                                    std::to_string(::getpid()));
    report.ready();
    const daemon::Server::Ended ended = server.run();
    const bool idle = ended == daemon::Server::Ended::idle;
    log(shmbus::LogLevel::info, idle ? "nobody is left: leaving" : "told to stop: leaving");
    server.close();
    durable.close();
    if (idle && config.remove_when_idle && server.may_remove_bus()) state.home().remove();
}

int say(const Trouble& trouble) {
    std::fputs(trouble.text("shmbusd").c_str(), stderr);
    return static_cast<int>(trouble.status());
}

// To whoever started us as well.
int fail(Report& report, const Trouble& trouble) {
    report.failed(trouble.sentence());
    return say(trouble);
}

int run(CommandLine& line) {
    Report report(line.report_fd);
    Stage stage = Stage::configuring;
    try {
        serve(line, report, stage);
        return 0;
    } catch (const daemon::AnotherDaemon& error) {
        report.locked(error.what());
        return say(trouble_of(error, Exit::try_later));
    } catch (const SetupError& error) {
        return fail(report, trouble_of(error, status_of(error, stage)));
    } catch (const std::exception& error) {
        return fail(report, Trouble(Exit::failed, error.what()));
    }
}

void add_options(CLI::App& app, CommandLine& line) {
    const auto words = [&app](const char* name, std::string& into, const char* what) {
        return shmbus::require_said(app.add_option(name, into, what));
    };
    auto* bus = words("--bus", line.bus,
                      "Name of the bus, or a path (with a slash); default: $SHMBUS_BUS");
    words("--dir", line.directory, "Directory of the bus itself")->excludes(bus);
    words("--group", line.group,
          "Group whose members may use the bus; overrides the configuration");
    words("--config", line.config_file, "TOML file; default: $SHMBUS_CONFIG");
    app.add_flag("--foreground", line.foreground,
                 "Stay in the foreground and log to standard error (the default)");
    words("--journal", line.journal,
          "Directory of the journal; made when a process first names a durable type");
    shmbus::add_duration(app, "--idle-exit", line.idle_exit,
                         "Leave when no process has used the bus for so long, and remove the "
                         "bus if it has neither messages nor subscriptions");
    app.add_flag("--detached", line.detached, "Log to daemon.log in the bus's directory")
        ->group("");
    app.add_flag("--make-root", line.make_root, "Make the directory above --dir too")->group("");
    app.add_option("--report-fd", line.report_fd, "Report here when ready")->group("");
}

}  // namespace

int main(int count, char** words) {
    CommandLine line;
    CLI::App app("shmbusd: the daemon of one shmbus bus");
    app.set_version_flag("--version", SHMBUS_VERSION);
    add_options(app, line);
    try {
        app.parse(count, words);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);
        return say(Trouble(Exit::usage, error.what(), "", "shmbusd --help"));
    }
    if (line.report_fd >= 0 && ::fcntl(line.report_fd, F_SETFD, FD_CLOEXEC) != 0)
        line.report_fd = -1;
    // A file that is too long for a limit (ulimit -f) is refused then, and does not end the daemon.
    ::signal(SIGXFSZ, SIG_IGN);
    return run(line);
}
