// Serves the metrics of a bus over HTTP to the machine itself.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/serve_metrics.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <string_view>
#include <utility>

#include "look/openmetrics.h"

namespace shmbus::look {
namespace {

using Clock = std::chrono::steady_clock;

// For one request and its answer: whoever is slower is hung up on, others wait for their turn.
constexpr std::chrono::milliseconds client_limit{2000};
constexpr std::chrono::milliseconds look_around{200};
constexpr std::size_t most_request_bytes = 16'384;

union Address {
    sockaddr any;
    sockaddr_in four;
    sockaddr_in6 six;
};

[[noreturn]] void refuse(const std::string& address, int error, const char* helps) {
    throw SetupError{"serving metrics", address, error, helps};
}

[[nodiscard]] Address address_of(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    const std::string host = colon == std::string::npos ? "127.0.0.1" : text.substr(0, colon);
    const std::string port_text = colon == std::string::npos ? text : text.substr(colon + 1);
    std::uint16_t port = 0;
    const char* const end = port_text.data() + port_text.size();
    const auto [stopped, error] = std::from_chars(port_text.data(), end, port);
    if (error != std::errc{} || stopped != end)
        refuse(text, EINVAL, "name a port, or an address and a port: 127.0.0.1:9464");
    Address address{};
    if (host == "[::1]") {
        address.six.sin6_family = AF_INET6;
        address.six.sin6_addr = in6addr_loopback;
        address.six.sin6_port = htons(port);
        return address;
    }
    address.four.sin_family = AF_INET;
    address.four.sin_port = htons(port);
    const std::string number = host == "localhost" ? "127.0.0.1" : host;
    if (::inet_pton(AF_INET, number.c_str(), &address.four.sin_addr) != 1 ||
        ntohl(address.four.sin_addr.s_addr) >> 24 != 127)
        refuse(text, EINVAL,
               "only addresses of the machine itself are served: 127.0.0.1, [::1] or localhost; "
               "let a proxy that asks for a password show it to others");
    return address;
}

[[nodiscard]] socklen_t bytes_of(const Address& address) {
    return address.any.sa_family == AF_INET6 ? sizeof(address.six) : sizeof(address.four);
}

[[nodiscard]] bool is_ready(const base::File& socket, short events, Clock::time_point deadline) {
    // Ends at the deadline.
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        if (left.count() <= 0) return false;
        pollfd watched{socket.fd(), events, 0};
        const int ready = ::poll(&watched, 1, static_cast<int>(left.count()));
        if (ready < 0 && errno == EINTR) continue;
        return ready > 0;
    }
}

// The head of a request; empty when the client does not send one in time.
[[nodiscard]] std::string read_request(const base::File& client, Clock::time_point deadline) {
    std::string request;
    std::array<char, 2048> part;
    while (request.find("\r\n\r\n") == std::string::npos) {
        if (request.size() > most_request_bytes || !is_ready(client, POLLIN, deadline)) return {};
        const ssize_t got = ::recv(client.fd(), part.data(), part.size(), 0);
        if (got <= 0) return {};
        request.append(part.data(), static_cast<std::size_t>(got));
    }
    return request;
}

void write_answer(const base::File& client, std::string_view answer, Clock::time_point deadline) {
    while (!answer.empty() && is_ready(client, POLLOUT, deadline)) {
        const ssize_t sent = ::send(client.fd(), answer.data(), answer.size(), MSG_NOSIGNAL);
        if (sent <= 0) return;
        answer.remove_prefix(static_cast<std::size_t>(sent));
    }
}

[[nodiscard]] std::string response(const char* status, const char* type, const std::string& body,
                                   bool has_body = true) {
    return fmt::format(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        status, type, body.size(), has_body ? body : "");
}

}  // namespace

MetricsServer::MetricsServer(Place place, const std::string& address_text)
    : looker_(std::move(place)) {
    Address address = address_of(address_text);
    socket_ =
        base::File(::socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int yes = 1;
    if (!socket_ || ::setsockopt(socket_.fd(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
        ::bind(socket_.fd(), &address.any, bytes_of(address)) != 0 ||
        ::listen(socket_.fd(), 16) != 0)
        refuse(address_text, errno, "take another port, or 0 for any that is free");
    socklen_t bytes = sizeof(address);
    if (::getsockname(socket_.fd(), &address.any, &bytes) == 0)
        port_ = ntohs(address.any.sa_family == AF_INET6 ? address.six.sin6_port
                                                        : address.four.sin_port);
}

void MetricsServer::serve(const std::function<bool()>& goes_on) {
    while (goes_on()) {
        if (!is_ready(socket_, POLLIN, Clock::now() + look_around)) continue;
        const base::File client(
            ::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (client) answer(client);
    }
}

void MetricsServer::answer(const base::File& client) {
    const auto deadline = Clock::now() + client_limit;
    const std::string request = read_request(client, deadline);
    if (!request.empty()) write_answer(client, answer_to(request), deadline);
}

std::string MetricsServer::answer_to(const std::string& request) {
    const char* const text = "text/plain; charset=utf-8";
    const bool is_head = request.starts_with("HEAD ");
    if (!is_head && !request.starts_with("GET "))
        return response("405 Method Not Allowed", text, "GET /metrics\n");
    const std::size_t begin = request.find(' ') + 1;
    const std::string path = request.substr(begin, request.find_first_of(" ?\r", begin) - begin);
    if (path != "/metrics") return response("404 Not Found", text, "look at /metrics\n", !is_head);
    std::string wishes = request;
    std::transform(wishes.begin(), wishes.end(), wishes.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto format = wishes.find("application/openmetrics-text") != std::string::npos
                            ? MetricsFormat::openmetrics
                            : MetricsFormat::prometheus;
    try {
        return response("200 OK", content_type(format),
                        metrics_text(looker_.look(apart_everywhere), format), !is_head);
    } catch (const SetupError& error) {
        return response("503 Service Unavailable", text, std::string(error.what()) + "\n",
                        !is_head);
    }
}

}  // namespace shmbus::look
