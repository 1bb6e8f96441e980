// This program as a process of the bus: for commands that change something or move messages.
//
// Types are those that the directory knows, described at run time, so that a program that was
// compiled without them can send and answer.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bus/bus_core.h"
#include "cli/common.h"
#include "cli/open_bus.h"

namespace shmbus::cli {

// Descriptors made from rows; their addresses stay.
class TypeShelf {
public:
    [[nodiscard]] const TypeDescriptor& of(const directory::DirectoryReader& reader,
                                           std::uint32_t index);

private:
    struct Kept {
        std::string name;
        std::vector<const TypeDescriptor*> bases;
        TypeDescriptor descriptor{};
    };
    std::map<std::uint32_t, std::unique_ptr<Kept>> kept_;
};

class Member {
public:
    // Joins; starts a daemon if none runs and the environment allows it. Throws SetupError,
    // Trouble.
    // `lane_bytes` 0: as long as the receivers ask for.
    explicit Member(const Common& common, std::size_t lane_bytes = 0);
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    [[nodiscard]] detail::BusCore& core() noexcept { return *core_; }
    [[nodiscard]] const std::shared_ptr<detail::BusCore>& shared_core() noexcept { return core_; }
    [[nodiscard]] detail::Outbound& out() noexcept { return *core_->outbound(); }
    [[nodiscard]] const OpenBus& bus() const noexcept { return bus_; }

    // By name; throws Trouble when the bus does not know it.
    [[nodiscard]] const TypeDescriptor& type(std::string_view name);
    [[nodiscard]] const TypeDescriptor& type(std::uint32_t index) {
        return shelf_.of(bus_.reader(), index);
    }
    [[nodiscard]] detail::EndpointHandle endpoint(std::string_view name) const;
    // One that takes what is sent to it; throws Trouble when it is somebody's own.
    [[nodiscard]] detail::EndpointHandle receiver(std::string_view name) const;

private:
    std::shared_ptr<detail::BusCore> core_;
    OpenBus bus_;
    TypeShelf shelf_;
};

// Only the conversation with the daemon. Throws SetupError, Trouble.
[[nodiscard]] std::unique_ptr<detail::Session> join(const Common& common);
// A bus that has no daemon gets one, as with everything that changes something. Throws as join().
void require_daemon(const Common& common);

}  // namespace shmbus::cli
