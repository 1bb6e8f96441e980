// A bus of its own for one measurement: the keeper process and its leash.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_house.h"

#include "bus_contestants.h"

#include <shmbus/testing.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace shmbus::bench {
namespace {

constexpr int patience_ms = 10'000;

struct Pipe {
    int read_end = -1;
    int write_end = -1;
};

Pipe make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        throw std::system_error(errno, std::generic_category(), "making a pipe to the bus keeper");
    }
    return {ends[0], ends[1]};
}

void tell(int fd, const std::string& text) {
    // A short text goes whole into a pipe; if nobody reads it any more nobody needs it.
    [[maybe_unused]] const ssize_t told = ::write(fd, text.data(), text.size());
}

// Tells the directory ("/...") or what went wrong, then keeps the bus until the leash is closed.
[[noreturn]] void keep(int leash, int answer) {
    ::signal(SIGPIPE, SIG_IGN);
    try {
        const testing::TemporaryBus bus;
        tell(answer, bus.directory());
        ::close(answer);
        char nothing = 0;
        while (::read(leash, &nothing, 1) < 0 && errno == EINTR) {
        }
    } catch (const std::exception& error) {
        tell(answer, std::string("no bus: ") + error.what());
        ::_exit(1);
    }
    ::_exit(0);
}

// All that comes through until the other end is closed.
std::string read_all(int fd) {
    std::string text;
    pollfd polled{fd, POLLIN, 0};
    while (::poll(&polled, 1, patience_ms) > 0) {
        std::array<char, 512> part{};
        const ssize_t got = ::read(fd, part.data(), part.size());
        if (got <= 0) return text;
        text.append(part.data(), static_cast<std::size_t>(got));
    }
    return "no bus: its keeper did not answer";
}

std::string beside_this_program() {
    std::array<char, PATH_MAX> path{};
    const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
    const std::string self(path.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    return self.substr(0, self.rfind('/') + 1) + "../tools/shmbusd";
}

}  // namespace

void find_daemon() {
    // Its log is asked who it is, whatever the user's shell says.
    ::setenv("SHMBUS_LOG", "info", 1);
    if (std::getenv("SHMBUS_DAEMON") != nullptr) return;
    const std::string path = beside_this_program();
    if (::access(path.c_str(), X_OK) != 0) {
        throw std::runtime_error("no daemon at " + path + "; build it or set SHMBUS_DAEMON");
    }
    ::setenv("SHMBUS_DAEMON", path.c_str(), 1);
}

InEnvironment::InEnvironment(const char* name, const std::string& value) : name_(name) {
    ::setenv(name, value.c_str(), 1);
}

InEnvironment::~InEnvironment() { ::unsetenv(name_); }

BusHouse::BusHouse() {
    find_daemon();
    const Pipe leash = make_pipe();
    const Pipe answer = make_pipe();
    keeper_ = ::fork();
    if (keeper_ == 0) {
        ::close(leash.write_end);
        ::close(answer.read_end);
        keep(leash.read_end, answer.write_end);
    }
    ::close(leash.read_end);
    ::close(answer.write_end);
    leash_ = leash.write_end;
    directory_ = keeper_ > 0 ? read_all(answer.read_end) : "no bus: cannot fork";
    ::close(answer.read_end);
    std::string trouble = directory_.empty() ? "no bus: its keeper died" : directory_;
    if (directory_.starts_with('/')) {
        try {
            if (schedules_daemon()) return;
            trouble = "the daemon cannot be scheduled as this process is";
        } catch (const std::runtime_error& error) {
            trouble = error.what();
        }
    }
    close();
    throw std::runtime_error(trouble);
}

BusHouse::~BusHouse() { close(); }

// As we are: the library starts it in the usual class, and who runs a measurement before all others
// means the daemon too.
bool BusHouse::schedules_daemon() const {
    sched_param ours{};
    return ::sched_getparam(0, &ours) == 0 &&
           ::sched_setscheduler(daemon(), ::sched_getscheduler(0), &ours) == 0;
}

void BusHouse::close() noexcept {
    ::close(leash_);
    if (keeper_ <= 0) return;
    pollfd polled{static_cast<int>(::syscall(SYS_pidfd_open, keeper_, 0)), POLLIN, 0};
    // A keeper that does not end in time would keep everything else waiting.
    if (::poll(&polled, 1, patience_ms) <= 0) ::kill(keeper_, SIGKILL);
    ::close(polled.fd);
    ::waitpid(keeper_, nullptr, 0);
}

// The log's last word on who serves the bus.
pid_t BusHouse::daemon() const {
    std::ifstream log(directory_ + "/daemon.log");
    constexpr std::string_view before = ", process ";
    pid_t pid = 0;
    for (std::string line; std::getline(log, line);)
        if (const std::size_t at = line.rfind(before); at != std::string::npos)
            pid = std::atoi(line.c_str() + at + before.size());
    if (pid <= 1) throw std::runtime_error("no daemon named in the log of " + directory_);
    return pid;
}

Bus BusHouse::join(BusOptions options) const {
    options.start_daemon = false;
    return Bus::open(directory_, std::move(options));
}

void give_up(Error error, const char* what) {
    throw std::runtime_error(std::string(what) + ": " + error.text());
}

Contestant without_metrics(Contestant measured) {
    Contestant quiet = measured;
    quiet.name += ", metrics off";
    quiet.run = [run = std::move(measured.run)](std::chrono::milliseconds span) {
        const InEnvironment metrics("SHMBUS_METRICS", "0");
        return run(span);
    };
    return quiet;
}

}  // namespace shmbus::bench
