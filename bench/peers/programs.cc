// Programs and ports of this machine.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/programs.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string_view>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace shmbus::bench {

std::optional<std::string> find_program(const std::string& name) {
    const char* const path = std::getenv("PATH");
    std::istringstream folders(std::string(path == nullptr ? "" : path) +
                               ":/usr/sbin:/usr/lib/rabbitmq/bin");
    for (std::string folder; std::getline(folders, folder, ':');) {
        const std::string candidate = folder + "/" + name;
        if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    }
    return std::nullopt;
}

std::string program_version(const std::string& program) {
    const std::optional<std::string> path = find_program(program);
    if (!path) return "";
    FILE* const said = ::popen((*path + " --version 2>&1").c_str(), "r");
    if (said == nullptr) return "";
    std::array<char, 200> line{};
    if (std::fgets(line.data(), line.size(), said) == nullptr) line[0] = 0;
    ::pclose(said);
    const std::string_view text(line.data());
    const std::size_t begin = std::min(text.find_first_of("0123456789"), text.size());
    return std::string(text.substr(begin, text.find_first_not_of("0123456789.", begin) - begin));
}

std::uint16_t free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    const bool found = ::bind(fd, generic, size) == 0 && ::getsockname(fd, generic, &size) == 0;
    ::close(fd);
    if (!found) throw std::system_error(errno, std::generic_category(), "looking for a port");
    return ::ntohs(address.sin_port);
}

}  // namespace shmbus::bench
