// A server of its own for one measurement: the keeper, its leash, and the wait for readiness.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/server.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <sstream>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace shmbus::bench {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds start_limit{60'000};
constexpr int stop_limit_ms = 15'000;

std::string log_of(const ServerPlan& plan) { return plan.folder + "/server.log"; }

[[noreturn]] void become(const ServerPlan& plan) {
    const int log = ::open(log_of(plan).c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    const int nothing = ::open("/dev/null", O_RDONLY);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::close_range(3, ~0U, 0);
    for (const std::string& setting : plan.environment)
        ::putenv(const_cast<char*>(setting.c_str()));
    std::vector<char*> arguments;
    for (const std::string& word : plan.command)
        arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    ::dprintf(STDERR_FILENO, "cannot be started: %s\n", std::strerror(errno));
    ::_exit(127);
}

pid_t parent_of(const fs::path& process) {
    std::ifstream file(process / "stat");
    std::string text;
    std::getline(file, text);
    // "pid (name) state parent ...": the name may hold anything, the last bracket ends it.
    const std::size_t bracket = text.rfind(") ");
    return bracket == std::string::npos ? -1 : std::atoi(text.c_str() + bracket + 4);
}

// Children of the keeper: the server, and orphans that it left, which the keeper inherits.
void kill_children() {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
        const int pid = std::atoi(entry.path().filename().c_str());
        if (pid > 0 && parent_of(entry.path()) == ::getpid()) ::kill(pid, SIGKILL);
    }
}

void ask_to_stop(pid_t server, int server_fd) {
    ::kill(server, SIGTERM);
    pollfd polled{server_fd, POLLIN, 0};
    ::poll(&polled, 1, stop_limit_ms);
}

// Ends the server and all that it has started.
void end_all() {
    // The killed ones' own children come to the keeper: until there are none.
    do kill_children();
    while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR);
}

[[noreturn]] void keep(const ServerPlan& plan, int leash) {
    ::setsid();  // out of the reach of Ctrl-C: stopping is the keeper's business
    ::signal(SIGHUP, SIG_IGN);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const pid_t server = ::fork();
    if (server == 0) {
        // Whatever kills the keeper itself shall not leave a server running.
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        become(plan);
    }
    if (server < 0) ::_exit(1);
    const int server_fd = static_cast<int>(::syscall(SYS_pidfd_open, server, 0));
    std::array<pollfd, 2> polled{{{leash, POLLIN, 0}, {server_fd, POLLIN, 0}}};
    while (::poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) {
    }
    if (!plan.leftovers.empty()) ask_to_stop(server, server_fd);
    end_all();
    // One that ended by itself has a log to be read, and may have met another one of its kind,
    // whose files are not to be touched.
    if (polled[0].revents == 0) ::_exit(1);
    std::error_code ignored;
    fs::remove_all(plan.folder, ignored);
    for (const std::string& path : plan.leftovers) fs::remove(path, ignored);
    ::_exit(0);
}

std::string read_log(const ServerPlan& plan) {
    std::ostringstream text;
    text << std::ifstream(log_of(plan)).rdbuf();
    return text.str();
}

// On one line, as tables want it.
std::string end_of(const std::string& text) {
    constexpr std::size_t enough = 300;
    std::string end = text.size() > enough ? "..." + text.substr(text.size() - enough) : text;
    for (char& letter : end)
        if (static_cast<unsigned char>(letter) < ' ') letter = ' ';
    return end;
}

}  // namespace

Server::Server(const ServerPlan& plan) {
    std::array<int, 2> leash{};
    if (::pipe2(leash.data(), O_CLOEXEC) != 0)
        throw std::system_error(errno, std::generic_category(), "making a leash for a server");
    keeper_ = ::fork();
    if (keeper_ == 0) {
        ::close(leash[1]);
        keep(plan, leash[0]);
    }
    ::close(leash[0]);
    leash_ = leash[1];
    const Clock::time_point deadline = Clock::now() + start_limit;
    std::string said;
    while (keeper_ > 0 && Clock::now() < deadline && !keeper_is_gone()) {
        said = read_log(plan);
        if (said.find(plan.ready) != std::string::npos) return;
        std::this_thread::sleep_for(milliseconds(5));
    }
    said = read_log(plan);
    close();
    throw std::runtime_error(plan.command[0] + " did not become ready: " + end_of(said));
}

Server::~Server() { close(); }

bool Server::keeper_is_gone() noexcept {
    if (::waitpid(keeper_, nullptr, WNOHANG) == 0) return false;
    keeper_ = -1;
    return true;
}

void Server::close() noexcept {
    ::close(leash_);
    if (keeper_ > 0) ::waitpid(keeper_, nullptr, 0);
}

}  // namespace shmbus::bench
