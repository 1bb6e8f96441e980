// The inboxes of all endpoints, mapped when they are first needed.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "base/file.h"
#include "daemon/home.h"
#include "lane/inbox_file.h"

namespace shmbus::daemon {

class Inboxes {
public:
    explicit Inboxes(const Home& home) noexcept : home_(&home) {}

    // The daemon's hand on an inbox. Throws SetupError when its file is gone or damaged. Valid
    // until forget().
    [[nodiscard]] lane::InboxAdmin& admin(std::uint32_t endpoint, std::uint32_t generation);
    // The same, or null, for clearing up: there is nothing to clear in a file that is damaged.
    [[nodiscard]] lane::InboxAdmin* admin_if_sound(std::uint32_t endpoint,
                                                   std::uint32_t generation) {
        bool is_hindered = false;
        return admin_if_sound(endpoint, generation, is_hindered);
    }
    // Made true: it is null for want of room, and nothing is known of that inbox now.
    [[nodiscard]] lane::InboxAdmin* admin_if_sound(std::uint32_t endpoint,
                                                   std::uint32_t generation, bool& is_hindered);
    // A descriptor to hand out. Throws SetupError.
    [[nodiscard]] base::File open(std::uint32_t endpoint, std::uint32_t generation) const;
    void forget(std::uint32_t endpoint) noexcept { mapped_.erase(endpoint); }

private:
    struct Mapped {
        std::uint32_t generation;
        std::unique_ptr<lane::InboxAdmin> admin;
    };
    const Home* home_;
    std::map<std::uint32_t, Mapped> mapped_;
};

}  // namespace shmbus::daemon
