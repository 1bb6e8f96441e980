// One process of the story: started, spoken to, stopped or killed.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "channel.h"

namespace story {

// Killed and reaped when destroyed. Ends with the conductor whatever ends that.
class Child {
public:
    // `words` is the command line; "{fd}" in it becomes the number of the child's end of the
    // channel. Standard input is the conductor's or nothing. Throws std::runtime_error.
    Child(std::string name, std::vector<std::string> words, bool keeps_input = false);
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child();

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    bool say(const std::string& text) const noexcept { return channel_.say(text); }
    // Waits for something to be said, or for the end of the process; keeps it for heard(). True
    // when something was.
    bool listen(std::chrono::milliseconds limit);
    // The first thing said that begins with this word, without it; taken out.
    [[nodiscard]] std::optional<std::string> heard(const std::string& word);
    // True when it has ended; never waits. `how` is one sentence then.
    bool has_ended();
    [[nodiscard]] const std::string& how() const noexcept { return how_; }
    // By SIGKILL, and waits for the kernel to be done with it.
    void kill();
    void signal(int number) const noexcept;

private:
    void reap(bool wait);

    std::string name_;
    Channel channel_;
    pid_t pid_ = -1;
    bool ended_ = false;
    std::string how_;
    std::deque<std::string> said_;
};

}  // namespace story
