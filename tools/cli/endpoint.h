// What the commands of `shmbus endpoint` share; those that are more than a few lines.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "cli/listing.h"
#include "cli/open_bus.h"

namespace shmbus::cli {

// Commands that are handled at each endpoint, by its index.
[[nodiscard]] std::map<std::uint32_t, Json> handled_by_endpoint(const OpenBus& bus);
[[nodiscard]] inline Json or_empty(Json list) {
    return list.is_null() ? Json::array() : std::move(list);
}

// endpoint_show.cc
void show_endpoint(const Common& common, const std::string& name);
// endpoint_purge.cc
struct PurgeLine {
    bool yes = false;
    bool dry_run = false;
};
void purge_endpoint(const Common& common, const std::string& name, const PurgeLine& line);

}  // namespace shmbus::cli
