// Asking the kernel how a process ended.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/death_cause.h"

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shmbus::base {

namespace {

constexpr long pidfd_open_call = 434;  // the same on all architectures

// As Linux 6.15 defines it; the C library's headers may be older than the kernel.
struct PidfdInfo {
    std::uint64_t mask;
    std::uint64_t cgroup_id;
    std::uint32_t pid, thread_group, parent;
    std::uint32_t ids[8];
    std::int32_t exit_code;  // as waitpid gives it
};
static_assert(sizeof(PidfdInfo) == 64);
constexpr std::uint64_t wants_exit = 1U << 3;
constexpr unsigned long get_info = _IOWR(0xFF, 11, PidfdInfo);

[[nodiscard]] int signal_of(int status) noexcept {
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

[[nodiscard]] std::optional<int> ask_pidfd(const File& pidfd) noexcept {
    PidfdInfo info{};
    info.mask = wants_exit;
    // Fails while the process lives and before 6.15; the mask says what was filled in.
    if (!pidfd || ::ioctl(pidfd.fd(), get_info, &info) != 0) return std::nullopt;
    if ((info.mask & wants_exit) == 0) return std::nullopt;
    return signal_of(info.exit_code);
}

// The last of the 52 fields of /proc/<pid>/stat; the third is Z while the process is a zombie.
[[nodiscard]] std::optional<int> parse_stat(std::string_view text) noexcept {
    // The name in brackets may itself hold brackets and spaces: look from behind.
    const std::size_t name_end = text.rfind(')');
    if (name_end == std::string_view::npos || name_end + 2 >= text.size()) return std::nullopt;
    if (text[name_end + 2] != 'Z') return std::nullopt;
    const std::size_t end = text.find_last_not_of(" \n");
    const std::size_t last_space = text.rfind(' ', end);
    int status = 0;
    const char* const first = text.data() + last_space + 1;
    const auto parsed = std::from_chars(first, text.data() + end + 1, status);
    // The kernel shows 0 as well to those who may not know, so 0 says nothing.
    if (parsed.ec != std::errc{} || status == 0) return std::nullopt;
    return signal_of(status);
}

[[nodiscard]] std::optional<int> ask_proc(pid_t pid) noexcept {
    const std::string path = "/proc/" + std::to_string(pid) + "/stat";
    const File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) return std::nullopt;
    char text[2048];
    const ssize_t length = ::read(file.fd(), text, sizeof text);
    if (length <= 0) return std::nullopt;
    return parse_stat({text, static_cast<std::size_t>(length)});
}

}  // namespace

File open_process(pid_t pid) noexcept {
    return File{static_cast<int>(::syscall(pidfd_open_call, pid, 0))};
}

std::optional<int> signal_of_dead(pid_t pid, const File& pidfd) noexcept {
    const std::optional<int> told = ask_pidfd(pidfd);
    return told ? told : ask_proc(pid);
}

}  // namespace shmbus::base
