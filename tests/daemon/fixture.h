// A real daemon in a directory of its own, and real processes that use it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "base/file.h"
#include "bus/session.h"
#include "support/folder.h"

namespace test {

using namespace std::chrono_literals;

// Waits until it is so, looking every millisecond; false when it was not so within the limit.
[[nodiscard]] bool eventually(const std::function<bool()>& is_so,
                              std::chrono::milliseconds limit = 10s);

// What is in the folders of a bus: file names of participants, inboxes and lanes, sorted.
[[nodiscard]] std::vector<std::string> files_of_bus(const std::string& bus);

// A program that was started and is killed at the end, if it still runs.
class Process {
public:
    explicit Process(pid_t pid) noexcept : pid_(pid) {}
    Process(Process&& other) noexcept : pid_(other.pid_) { other.pid_ = 0; }
    Process& operator=(Process&& other) noexcept {
        std::swap(pid_, other.pid_);
        return *this;
    }
    ~Process();
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    void signal(int number) const;
    void kill();  // SIGKILL, and waits for its end
    // Its exit status as the shell has it (128 + signal), within the limit; -1: it still runs.
    [[nodiscard]] int end(std::chrono::milliseconds limit = 10s);

private:
    pid_t pid_;
};

// shmbusd from the build, ready when this returns. Its standard error goes to daemon.out beside
// the bus.
class Daemon {
public:
    explicit Daemon(const std::string& bus, std::vector<std::string> more = {});
    [[nodiscard]] Process& process() noexcept { return process_; }
    // SIGKILL, then a new one with the same words.
    void kill_and_restart();
    // Whether the last start reported that it listens; if not, why.
    [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }

private:
    [[nodiscard]] pid_t start();
    std::string bus_;
    std::vector<std::string> more_;
    std::string trouble_;
    Process process_;
};

[[nodiscard]] std::string daemon_program();

// A session in this process; no daemon is started by it.
[[nodiscard]] std::unique_ptr<shmbus::detail::Session> join(
    const std::string& bus, std::chrono::milliseconds timeout = 5s, bool start_daemon = false);

// A forked process that runs `work` and then waits to be killed. Returns when `work` is done;
// a child whose work threw has ended with status 3.
[[nodiscard]] Process fork_child(const std::function<void()>& work);

[[nodiscard]] shmbus::TypeDescriptor event_type(std::string_view name, std::uint32_t bytes = 32);
[[nodiscard]] shmbus::TypeDescriptor command_type(std::string_view name, std::uint32_t bytes = 32);

}  // namespace test
