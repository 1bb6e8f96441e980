// Which processes of a bus are alive, by the kernel's proof, and which have left on their own.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <map>

#include "base/liveness.h"
#include "cli/open_bus.h"

namespace shmbus::cli {

class Living {
public:
    explicit Living(const OpenBus& bus) noexcept : bus_(bus) {}

    enum class State : std::uint8_t { alive, left, dead, unknown };
    [[nodiscard]] State state_of(wire::Reference who);

private:
    const OpenBus& bus_;
    std::map<wire::Reference, State> known_;
};

[[nodiscard]] const char* name_of(Living::State state) noexcept;

}  // namespace shmbus::cli
