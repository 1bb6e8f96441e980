// Waits until another process is really asleep: asks the kernel for its state.
//
// SPDX-License-Identifier: BSL-1.0
#include "asleep.h"

#include "ticks.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>

namespace shmbus::bench {
namespace {

bool sleeps(int stat_fd) {
    std::array<char, 256> text{};
    const ssize_t got = ::pread(stat_fd, text.data(), text.size(), 0);
    if (got <= 0) {
        throw std::system_error(errno, std::generic_category(), "reading a process's state");
    }
    // "pid (name) state ...": the name may hold anything, the last bracket ends it.
    const std::string_view all(text.data(), static_cast<std::size_t>(got));
    const std::size_t bracket = all.rfind(") ");
    return bracket != std::string_view::npos && all.substr(bracket + 2, 1) == "S";
}

}  // namespace

Asleep::Asleep(pid_t pid) {
    const std::string path = "/proc/" + std::to_string(pid) + "/stat";
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "opening " + path);
}

Asleep::~Asleep() { ::close(fd_); }

void Asleep::wait() const {
    while (!sleeps(fd_)) relax();
    const std::uint64_t begin = now_ticks();
    const std::uint64_t rest = tick_rate().ticks(std::chrono::microseconds(50));
    while (now_ticks() - begin < rest) relax();
}

}  // namespace shmbus::bench
