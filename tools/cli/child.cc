// A shell command as a child. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/child.h"

#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

[[noreturn]] void fail(const std::string& command, int error) {
    throw Trouble(Exit::system, "running '" + command + "': " + system_words(error));
}

// A file in memory rather than a pipe: a child that writes before it has read all does not wait for
// us while we wait for it.
[[nodiscard]] base::File file_with(std::span<const std::byte> bytes, const std::string& command) {
    base::File file(::memfd_create("shmbus-message", MFD_CLOEXEC));
    if (!file) fail(command, errno);
    file.write_all(bytes, 0);
    return file;
}

[[nodiscard]] std::vector<std::string> environment_with(
    const std::vector<std::pair<std::string, std::string>>& variables) {
    std::vector<std::string> all;
    for (char** one = environ; *one != nullptr; ++one) all.emplace_back(*one);
    for (const auto& [name, value] : variables) {
        const std::string begin = name + "=";
        std::erase_if(all, [&](const std::string& one) { return one.starts_with(begin); });
        all.push_back(begin + value);
    }
    return all;
}

// posix_spawn and not fork: what a bus keeps in memory is not for children.
[[nodiscard]] pid_t start(const std::string& command, int input, int output,
                          std::vector<std::string> environment) {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    // Signals that we wait for are the child's to die of.
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    std::string shell = "/bin/sh";
    std::string option = "-c";
    std::string text = command;
    std::array<char*, 4> words{shell.data(), option.data(), text.data(), nullptr};
    std::vector<char*> variables;
    for (std::string& one : environment) variables.push_back(one.data());
    variables.push_back(nullptr);
    pid_t pid = 0;
    const int error = ::posix_spawn(&pid, shell.c_str(), &actions, &attributes, words.data(),
                                    variables.data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (error != 0) fail(command, error);
    return pid;
}

[[nodiscard]] Bytes all_of(const base::File& pipe) {
    Bytes bytes;
    std::array<std::byte, 65536> part;
    // Ends: when the child and all that it started have closed their end.
    for (;;) {
        const ssize_t got = ::read(pipe.fd(), part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return bytes;
        bytes.insert(bytes.end(), part.begin(), part.begin() + got);
    }
}

[[nodiscard]] int status_of(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

ChildEnd run_shell(const std::string& command, std::span<const std::byte> input,
                   const std::vector<std::pair<std::string, std::string>>& variables) {
    const base::File from = file_with(input, command);
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail(command, errno);
    const base::File reading(ends[0]);
    base::File writing(ends[1]);
    const pid_t pid = start(command, from.fd(), writing.fd(), environment_with(variables));
    writing.close();
    ChildEnd end;
    end.output = all_of(reading);
    end.status = status_of(pid);
    return end;
}

}  // namespace shmbus::cli
