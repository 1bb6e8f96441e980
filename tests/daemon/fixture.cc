// A real daemon in a directory of its own, and real processes that use it.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/fixture.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/autostart.h"

namespace test {

bool eventually(const std::function<bool()>& is_so, std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!is_so()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

std::vector<std::string> files_of_bus(const std::string& bus) {
    std::vector<std::string> names;
    for (const char* folder : {"participants", "inboxes", "lanes"}) {
        std::error_code error;
        for (const auto& entry : std::filesystem::directory_iterator(bus + "/" + folder, error))
            names.push_back(std::string(folder) + "/" + entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

Process::~Process() { kill(); }

void Process::signal(int number) const {
    if (pid_ > 0) ::kill(pid_, number);
}

void Process::kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
}

int Process::end(std::chrono::milliseconds limit) {
    int status = 0;
    const bool ended = eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; }, limit);
    if (!ended) return -1;
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string daemon_program() { return shmbus::detail::find_daemon_program(); }

Daemon::Daemon(const std::string& bus, std::vector<std::string> more)
    : bus_(bus), more_(std::move(more)), process_(start()) {}

void Daemon::kill_and_restart() {
    process_.kill();
    process_ = Process(start());
}

pid_t Daemon::start() {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    const shmbus::base::File report(pipe[0]);
    shmbus::base::File theirs(pipe[1]);
    const std::string program = daemon_program();
    std::vector<std::string> words{program, "--dir", bus_, "--report-fd", "3"};
    words.insert(words.end(), more_.begin(), more_.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const std::string output = bus_.substr(0, bus_.rfind('/')) + "/daemon.out";
    const pid_t child = ::fork();
    if (child == 0) {
        const int log = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        ::dup2(log, STDERR_FILENO);
        ::dup2(theirs.fd(), 3);
        ::execv(program.c_str(), arguments.data());
        ::_exit(127);
    }
    theirs.close();
    std::array<char, 2048> text{};
    pollfd watched{report.fd(), POLLIN, 0};
    const bool told = ::poll(&watched, 1, 10'000) == 1;
    const ssize_t got = told ? ::read(report.fd(), text.data(), text.size()) : -1;
    trouble_.assign(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    if (trouble_ == "R") trouble_.clear();
    else if (trouble_.empty()) trouble_ = "the daemon ended without a word";
    return child;
}

std::unique_ptr<shmbus::detail::Session> join(const std::string& bus,
                                              std::chrono::milliseconds timeout,
                                              bool start_daemon) {
    return std::make_unique<shmbus::detail::Session>(
        shmbus::detail::BusLocation{bus, bus + "/..", false},
        shmbus::detail::SessionOptions{"test", start_daemon, timeout, {}});
}

Process fork_child(const std::function<void()>& work) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    const shmbus::base::File ready(pipe[0]);
    shmbus::base::File theirs(pipe[1]);
    const pid_t child = ::fork();
    if (child == 0) {
        try {
            work();
        } catch (...) {
            ::_exit(3);
        }
        const char done = 'D';
        if (::write(theirs.fd(), &done, 1) != 1) ::_exit(4);
        for (;;) ::pause();
    }
    theirs.close();
    char done = 0;
    pollfd watched{ready.fd(), POLLIN, 0};
    if (::poll(&watched, 1, 20'000) == 1 && ::read(ready.fd(), &done, 1) < 0) done = 0;
    return Process(child);
}

namespace {
shmbus::TypeDescriptor type_of(std::string_view name, shmbus::Kind kind, std::uint32_t bytes) {
    shmbus::TypeDescriptor type{};
    type.name = name;
    type.kind = kind;
    type.durability = shmbus::transient;
    type.bytes = bytes;
    type.alignment = bytes == 0 ? 0U : 8U;
    return type;
}
}  // namespace

shmbus::TypeDescriptor event_type(std::string_view name, std::uint32_t bytes) {
    return type_of(name, shmbus::Kind::event, bytes);
}
shmbus::TypeDescriptor command_type(std::string_view name, std::uint32_t bytes) {
    return type_of(name, shmbus::Kind::command, bytes);
}

}  // namespace test
