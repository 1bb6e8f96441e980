// What a run says while it goes on.
//
// SPDX-License-Identifier: BSL-1.0
#include "run/progress.h"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace shmbus::bench {
namespace {

std::string minutes(std::chrono::seconds span) {
    return fmt::format("{}:{:02}", span.count() / 60, span.count() % 60);
}

std::size_t terminal_columns() {
    winsize size{};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::size_t steps, std::chrono::seconds about)
    : steps_(steps), about_(about), at_terminal_(::isatty(STDERR_FILENO) == 1) {}

std::string Progress::front() const {
    const auto spent = std::chrono::duration_cast<std::chrono::seconds>(
        std::chrono::steady_clock::now() - began_);
    return fmt::format("[{}/{}] {} of about {}  {}", at_, steps_, minutes(spent),
                       minutes(std::max(about_, spent)), what_);
}

void Progress::step(const std::string& what) {
    ++at_;
    what_ = what;
    if (!at_terminal_) std::fprintf(stderr, "%s\n", front().c_str());
}

void Progress::detail(const std::string& text) {
    if (!at_terminal_) return;
    // A line that wraps could not be rewritten.
    const std::string line = (front() + "  " + text).substr(0, terminal_columns() - 1);
    std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
}

void Progress::clear() {
    if (at_terminal_) std::fputs("\r\x1b[K", stderr);
}

}  // namespace shmbus::bench
