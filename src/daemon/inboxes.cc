// The inboxes of all endpoints.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/inboxes.h"

#include <shmbus/result.h>

#include "daemon/state.h"
#include "wire/names.h"

namespace shmbus::daemon {

lane::InboxAdmin& Inboxes::admin(std::uint32_t endpoint, std::uint32_t generation) {
    const auto known = mapped_.find(endpoint);
    if (known != mapped_.end() && known->second.generation == generation &&
        !known->second.admin->lost())
        return *known->second.admin;
    forget(endpoint);
    auto admin = std::make_unique<lane::InboxAdmin>(open(endpoint, generation));
    return *(mapped_[endpoint] = {generation, std::move(admin)}).admin;
}

lane::InboxAdmin* Inboxes::admin_if_sound(std::uint32_t endpoint, std::uint32_t generation,
                                          bool& is_hindered) {
    try {
        return &admin(endpoint, generation);
    } catch (const SetupError& error) {
        is_hindered = is_hindered || is_for_want_of_room(error);
        return nullptr;
    }
}

base::File Inboxes::open(std::uint32_t endpoint, std::uint32_t generation) const {
    return base::File::open_at(home_->inboxes().fd(), wire::numbered_file(endpoint, generation),
                               base::Access::read_write);
}

}  // namespace shmbus::daemon
