// Starts the daemon of a bus when none runs.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/autostart.h"

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

namespace shmbus::detail {
namespace {

constexpr int report_fd = 3;

[[nodiscard]] bool is_program(const std::string& path) {
    return ::access(path.c_str(), X_OK) == 0;
}

[[nodiscard]] std::string folder_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

// The file that this code was loaded from: the shared library, or the program it is part of.
[[nodiscard]] std::string this_module() {
    Dl_info info{};
    if (::dladdr(reinterpret_cast<const void*>(&find_daemon_program), &info) != 0 &&
        info.dli_fname && info.dli_fname[0] == '/')
        return info.dli_fname;
    char path[PATH_MAX];
    const ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path));
    return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : std::string();
}

[[nodiscard]] std::string search_path() {
    const std::string path = environment("PATH");
    for (std::size_t begin = 0; begin < path.size();) {
        const std::size_t end = std::min(path.find(':', begin), path.size());
        // A relative entry would mean another program in every working directory.
        if (end > begin && path[begin] == '/') {
            const std::string candidate = path.substr(begin, end - begin) + "/shmbusd";
            if (is_program(candidate)) return candidate;
        }
        begin = end + 1;
    }
    return {};
}

// The daemon serves others too, and for longer than its starter lives: it is not bound to the core
// that its starter has for itself, nor scheduled as that is. Its cores are those of the first
// process, which leaves out the ones that the machine's owner has isolated. What is refused stays
// as it is: the daemon runs all the same.
void leave_starters_place() noexcept {
    cpu_set_t cores;
    if (::sched_getaffinity(1, sizeof(cores), &cores) == 0)
        ::sched_setaffinity(0, sizeof(cores), &cores);
    const sched_param usual{};
    ::sched_setscheduler(0, SCHED_OTHER, &usual);
    ::setpriority(PRIO_PROCESS, 0, 0);
    constexpr int of_process = 1;
    ::syscall(SYS_ioprio_set, of_process, 0, 0);
}

// What runs between fork and exec: system calls only, for the other threads of the process, which
// may hold any lock, do not exist here.
[[noreturn]] void become_daemon(const char* program, char* const* arguments, int report) noexcept {
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    leave_starters_place();
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    // It has the place of a standard descriptor where the starter has closed those.
    if (report < report_fd)
        if (const int above = ::fcntl(report, F_DUPFD, report_fd); above >= 0) report = above;
    const int nothing = ::open("/dev/null", O_RDWR);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing, fd);
    if (report != report_fd) ::dup2(report, report_fd);
    else ::fcntl(report_fd, F_SETFD, 0);
    // The daemon must not keep open what its starter forgot to mark close-on-exec.
    ::syscall(SYS_close_range, report_fd + 1U, ~0U, 0U);
    ::execv(program, arguments);
    const char* why = std::strerror(errno);  // a constant text for every known number
    const char failed[] = "E it cannot be run: ";
    if (::write(report_fd, failed, sizeof(failed) - 1) > 0 &&
        ::write(report_fd, why, std::strlen(why)) > 0)
        ::_exit(127);
    ::_exit(126);
}

// What the daemon reports: "R" when it listens, "L" when another one has the bus, "E" and a text
// when it gave up, nothing when it ended without a word.
[[nodiscard]] std::string read_report(const base::File& report,
                                      std::chrono::steady_clock::time_point deadline,
                                      const std::string& program) {
    std::string text;
    // Ends: at the report's end, or at the deadline.
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        pollfd watched{report.fd(), POLLIN, 0};
        const int ready =
            left.count() > 0 ? ::poll(&watched, 1, static_cast<int>(left.count())) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return program + " was started but was not ready in time";
        std::array<char, 512> part;
        const ssize_t got = ::read(report.fd(), part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        text.append(part.data(), static_cast<std::size_t>(got));
        if (text[0] == 'R' || text[0] == 'L') return {};
        if (text.size() > 4096) break;
    }
    if (text.empty()) return program + " ended at once without a word";
    return program + ": " + text.substr(std::min<std::size_t>(2, text.size()));
}

}  // namespace

bool may_start_daemon() { return environment("SHMBUS_START_DAEMON") != "0"; }

std::string find_daemon_program() {
    const std::string wanted = environment("SHMBUS_DAEMON");
    if (!wanted.empty()) return is_program(wanted) ? wanted : std::string();
    const std::string folder = folder_of(this_module());
    // As installed (prefix/lib, prefix/lib/<machine>, prefix/bin), as built (src or tests beside
    // tools).
    for (const char* beside :
         {"/shmbusd", "/../bin/shmbusd", "/../../bin/shmbusd", "/../tools/shmbusd"})
        if (is_program(folder + beside)) return folder + beside;
    return search_path();
}

std::string start_daemon(const BusLocation& location,
                         std::chrono::steady_clock::time_point deadline) {
    const std::string program = find_daemon_program();
    if (program.empty())
        return "the program shmbusd was not found; set SHMBUS_DAEMON to its path or start it "
               "yourself";
    const std::string idle = std::to_string(autostart_idle_exit.count());
    // Made before the fork: nothing may be allocated after it.
    std::vector<std::string> words{program,         "--dir",       location.directory,
                                   "--idle-exit",   idle,          "--detached",
                                   "--report-fd",   std::to_string(report_fd)};
    if (location.from_name) words.emplace_back("--make-root");
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0)
        return std::string("no pipe for starting the daemon: ") + std::strerror(errno);
    const base::File report(pipe[0]);
    base::File theirs(pipe[1]);
    const pid_t child = ::fork();
    if (child < 0) return std::string("starting the daemon: fork: ") + std::strerror(errno);
    if (child == 0) become_daemon(program.c_str(), arguments.data(), theirs.fd());
    theirs.close();
    // The first child ends at once. ECHILD: the host program ignores its children's ends.
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    return read_report(report, deadline, program);
}

}  // namespace shmbus::detail
