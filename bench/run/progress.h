// What a run says while it goes on: one line, rewritten, at a terminal; plain lines elsewhere.
//
// Speaks on standard error; the tables of results go to standard output.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace shmbus::bench {

class Progress {
public:
    Progress(std::size_t steps, std::chrono::seconds about);
    ~Progress() { clear(); }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // The next of the steps.
    void step(const std::string& what);
    // Within it. Not told where nobody sees it go.
    void detail(const std::string& text);
    // Before anything else is printed.
    void clear();

private:
    std::string front() const;

    std::size_t steps_;
    std::chrono::seconds about_;
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
    bool at_terminal_;
    std::size_t at_ = 0;
    std::string what_{};
};

}  // namespace shmbus::bench
