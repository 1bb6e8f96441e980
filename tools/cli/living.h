// Which processes of a bus are alive, by the kernel's proof, and who has an endpoint open.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/liveness.h"
#include "cli/open_bus.h"
#include "lane/inbox_file.h"

namespace shmbus::cli {

class Living {
public:
    explicit Living(const OpenBus& bus) noexcept : bus_(bus) {}

    enum class State : std::uint8_t { alive, left, dead, unknown };
    [[nodiscard]] State state_of(wire::Reference who);
    // The consumers of the endpoint that are alive, by slot.
    [[nodiscard]] std::vector<wire::Reference> consumers_of(const directory::Endpoint& endpoint);
    [[nodiscard]] bool has_consumer(const directory::Endpoint& endpoint) {
        return !consumers_of(endpoint).empty();
    }

private:
    const OpenBus& bus_;
    std::map<wire::Reference, State> known_;
};

[[nodiscard]] const char* name_of(Living::State state) noexcept;

}  // namespace shmbus::cli
