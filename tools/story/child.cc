// One process of the story.
//
// SPDX-License-Identifier: BSL-1.0
#include "child.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

namespace story {
namespace {

// Between fork and exec, in a copy of a process with several threads: system calls only.
[[noreturn]] void become(char* const* words, int channel, bool keeps_input, pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(126);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::fcntl(channel, F_SETFD, 0);
    if (!keeps_input) {
        const int nothing = ::open("/dev/null", O_RDONLY);
        if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
        if (nothing > STDIN_FILENO) ::close(nothing);
    }
    ::execv(words[0], words);
    ::_exit(127);
}

}  // namespace

Child::Child(std::string name, std::vector<std::string> words, bool keeps_input)
    : name_(std::move(name)), channel_(-1) {
    auto [mine, theirs] = Channel::pair();
    channel_ = std::move(mine);
    std::vector<char*> arguments;
    for (std::string& word : words) {
        if (word == "{fd}") word = std::to_string(theirs.fd());
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
    if (pid_ == 0) become(arguments.data(), theirs.fd(), keeps_input, parent);
}

Child::~Child() { kill(); }

bool Child::listen(std::chrono::milliseconds limit) {
    auto text = channel_.hear(limit);
    if (!text) return false;
    // Nothing more will be said: the other end is closed.
    if (text->empty()) {
        reap(false);
        return false;
    }
    said_.push_back(std::move(*text));
    return true;
}

std::optional<std::string> Child::heard(const std::string& word) {
    for (auto text = said_.begin(); text != said_.end(); ++text) {
        auto rest = after_word(*text, word);
        if (!rest) continue;
        said_.erase(text);
        return rest;
    }
    return std::nullopt;
}

// Its last words came before its end, but perhaps after our last look.
bool Child::has_ended() {
    reap(false);
    while (ended_ && listen(std::chrono::milliseconds{0})) {
    }
    return ended_;
}

void Child::kill() {
    signal(SIGKILL);
    reap(true);
}

void Child::signal(int number) const noexcept {
    if (!ended_ && pid_ > 0) ::kill(pid_, number);
}

void Child::reap(bool wait) {
    if (ended_) return;
    int status = 0;
    pid_t got = 0;
    do got = ::waitpid(pid_, &status, wait ? 0 : WNOHANG);
    while (got < 0 && errno == EINTR);
    if (got != pid_) return;
    ended_ = true;
    how_ = WIFSIGNALED(status)
               ? fmt::format("{} was ended by signal {}", name_, WTERMSIG(status))
               : fmt::format("{} ended with status {}", name_, WEXITSTATUS(status));
}

}  // namespace story
