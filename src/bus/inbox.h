// The inbox of another endpoint as this process's senders share it: one mapping for all threads.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string_view>

#include "lane/socket_bell.h"
#include "lane/inbox_file.h"

namespace shmbus::detail {

struct Inbox {
    // Throws SetupError.
    Inbox(base::File opened, std::string_view endpoint_name)
        : file(std::move(opened)),
          view(file),
          name(endpoint_name),
          bell(lane::name_of(view.identity())) {}

    base::File file;
    lane::InboxView view;
    std::string_view name;  // of the endpoint, for people; the bus keeps the text
    lane::SocketBell bell;
};

}  // namespace shmbus::detail
