// Serves the metrics of a bus over HTTP to the machine itself, as a process of its own, so that the
// daemon never speaks TCP.
//
// One request at a time, each answered from a new look at the bus. Only loopback addresses: what a
// bus carries is nobody's business beyond its machine.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/file.h"
#include "look/look.h"

namespace shmbus::look {

class MetricsServer {
public:
    // `address`: "127.0.0.1:9464", "[::1]:9464", "localhost:9464", or a port alone; port 0: a free
    // one. Throws SetupError: no such address, not a loopback one, taken.
    MetricsServer(Place place, const std::string& address);

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    // Until `goes_on`, asked five times a second and after each request, says no.
    void serve(const std::function<bool()>& goes_on);

private:
    void answer(const base::File& client);
    [[nodiscard]] std::string answer_to(const std::string& request);

    Looker looker_;
    base::File socket_;
    std::uint16_t port_ = 0;
};

}  // namespace shmbus::look
