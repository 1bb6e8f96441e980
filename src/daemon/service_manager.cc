// Telling systemd. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/service_manager.h"

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace shmbus::daemon {

namespace {

[[nodiscard]] std::string take_from_environment(const char* name) {
    const char* const value = ::secure_getenv(name);
    std::string taken = value != nullptr ? value : "";
    ::unsetenv(name);
    return taken;
}

[[nodiscard]] std::uint64_t number_in(const std::string& text) noexcept {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() ? number : 0;
}

// A path, or with @ in front a name that is no file's.
[[nodiscard]] base::File connect_to(const std::string& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if ((name[0] != '/' && name[0] != '@') || name.size() >= sizeof(address.sun_path)) return {};
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = 0;
    const auto bytes =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    base::File socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket || ::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), bytes) != 0)
        return {};
    return socket;
}

}  // namespace

ServiceManager::ServiceManager() {
    const std::string socket = take_from_environment("NOTIFY_SOCKET");
    const std::string span = take_from_environment("WATCHDOG_USEC");
    const std::string whose = take_from_environment("WATCHDOG_PID");
    if (!socket.empty()) socket_ = connect_to(socket);
    const auto me = static_cast<std::uint64_t>(::getpid());
    const bool is_ours = whose.empty() || number_in(whose) == me;
    if (socket_ && is_ours) watchdog_ = std::chrono::microseconds(number_in(span));
}

void ServiceManager::say(const std::string& lines) const noexcept {
    // A manager that does not listen is not waited for; the next message comes soon enough.
    if (socket_) static_cast<void>(::send(socket_.fd(), lines.data(), lines.size(), MSG_NOSIGNAL));
}

void ServiceManager::ready(const std::string& status) const noexcept {
    say("READY=1\nMAINPID=" + std::to_string(::getpid()) + "\nSTATUS=" + status);
}

void ServiceManager::stopping() const noexcept { say("STOPPING=1"); }

void ServiceManager::alive() noexcept {
    if (watchdog_.count() == 0 || Clock::now() < next_) return;
    say("WATCHDOG=1");
    next_ = Clock::now() + watchdog_ / 2;
}

}  // namespace shmbus::daemon
