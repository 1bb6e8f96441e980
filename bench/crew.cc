// The processes of one measurement: fork, pin, line up, wait with a limit, kill what is left.
//
// SPDX-License-Identifier: BSL-1.0
#include "crew.h"

#include "pages.h"
#include "shared_futex.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace shmbus::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t max_members = 72;
using Complaint = std::array<char, 400>;

struct Board {
    StartLine line;
    std::array<Complaint, max_members> complaints;
};

struct Child {
    pid_t pid = -1;
    int pid_fd = -1;
    int status = 0;
    bool ended = false;
};

[[noreturn]] void live(const Crew::Work& work, unsigned core, pid_t parent, StartLine& line,
                       Complaint& complaint) {
    // The parent's death must end the child: a busy orphan would spoil every later measurement.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    try {
        pin_to(core);
        work(line);
    } catch (const std::exception& error) {
        std::snprintf(complaint.data(), complaint.size(), "%s", error.what());
        ::_exit(1);
    }
    ::_exit(0);
}

void reap(Child& child) {
    ::waitpid(child.pid, &child.status, 0);
    ::close(child.pid_fd);
    child.ended = true;
}

void kill_all(std::vector<Child>& children) {
    for (Child& child : children) {
        if (child.ended) continue;
        ::kill(child.pid, SIGKILL);
        reap(child);
    }
}

bool ended_well(const Child& child) {
    return WIFEXITED(child.status) && WEXITSTATUS(child.status) == 0;
}

// Waits for the next child to end; nullptr at the deadline.
Child* next_ended(std::vector<Child>& children, Clock::time_point deadline) {
    std::vector<pollfd> polled;
    std::vector<Child*> waiting;
    for (Child& child : children) {
        if (child.ended) continue;
        polled.push_back({child.pid_fd, POLLIN, 0});
        waiting.push_back(&child);
    }
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - Clock::now());
        if (left.count() <= 0) return nullptr;
        if (::poll(polled.data(), polled.size(), static_cast<int>(left.count())) > 0) break;
    }
    for (std::size_t i = 0; i < polled.size(); ++i) {
        if (polled[i].revents == 0) continue;
        reap(*waiting[i]);
        return waiting[i];
    }
    return nullptr;
}

std::string told(const std::string& name, const Child& child, const Complaint& complaint) {
    if (complaint[0] != '\0') return name + ": " + complaint.data();
    if (WIFSIGNALED(child.status)) {
        return name + " ended by signal " + std::to_string(WTERMSIG(child.status));
    }
    return name + " ended with status " + std::to_string(WEXITSTATUS(child.status));
}

}  // namespace

void StartLine::line_up() noexcept {
    // Edge LINED_UP: what a member did before the line is seen by all behind it. acq_rel: both
    // ends are here, each member's arrival is the release and its wait the acquire.
    const std::uint32_t mine = arrived_.fetch_add(1, std::memory_order_acq_rel);
    const std::uint32_t wanted = (mine / members_ + 1) * members_;
    if (mine + 1 == wanted) futex_wake_all(arrived_);
    std::uint32_t seen = 0;
    while ((seen = arrived_.load(std::memory_order_acquire)) < wanted) futex_wait(arrived_, seen);
}

std::vector<int> usable_cores() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) != 0) {
        throw std::system_error(errno, std::generic_category(), "asking for the usable cores");
    }
    std::vector<int> cores;
    for (int core = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(core, &set)) cores.push_back(core);
    }
    return cores;
}

void pin_to(unsigned index) {
    const std::vector<int> cores = usable_cores();
    pin_to_core(cores[index % cores.size()]);
}

void pin_to_core(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) {
        throw std::system_error(errno, std::generic_category(), "pinning to a core");
    }
}

void Crew::add(std::string name, unsigned core, Work work) {
    members_.push_back({std::move(name), core, std::move(work)});
}

std::string Crew::run(std::chrono::milliseconds limit) {
    if (members_.size() > max_members) return "too many processes for one measurement";
    Shared<Board> board;
    board->line.set_size(static_cast<std::uint32_t>(members_.size()));
    std::vector<Child> children(members_.size());
    std::string outcome = "ok";

    const pid_t parent = ::getpid();
    for (std::size_t i = 0; i < members_.size(); ++i) {
        const pid_t pid = ::fork();
        if (pid < 0) {
            outcome = std::string("cannot fork: ") + std::strerror(errno);
            children.resize(i);
            kill_all(children);
            return outcome;
        }
        if (pid == 0) {
            live(members_[i].work, members_[i].core, parent, board->line, board->complaints[i]);
        }
        children[i].pid = pid;
        children[i].pid_fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    }

    const Clock::time_point deadline = Clock::now() + limit;
    for (std::size_t ended = 0; ended < children.size() && outcome == "ok"; ++ended) {
        const Child* const child = next_ended(children, deadline);
        if (child == nullptr) {
            outcome = "not finished within " + std::to_string(limit.count()) + " ms:";
            for (std::size_t i = 0; i < children.size(); ++i) {
                if (!children[i].ended) outcome += " " + members_[i].name;
            }
        } else if (!ended_well(*child)) {
            const auto index = static_cast<std::size_t>(child - children.data());
            outcome = told(members_[index].name, *child, board->complaints[index]);
        }
    }
    kill_all(children);
    return outcome;
}

}  // namespace shmbus::bench
