// What a daemon may be told: by its configuration file and its command line.
//
// Read once, at the start. A key that is not known is an error, so that a misspelt quota does not
// go unnoticed. README.md lists all keys.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <sys/types.h>

#include "directory/layout.h"

namespace shmbus::daemon {

// How much one user may have at a time.
struct Quota {
    std::uint32_t connections;
    std::uint32_t participants;
    std::uint32_t endpoints;
    std::uint32_t types;
    std::uint32_t subscriptions;
    std::uint32_t lanes;
    std::uint64_t lane_bytes;  // of data, all lanes together
};

struct Config {
    std::string directory;  // of the bus; absolute
    std::optional<gid_t> group;
    directory::TableSizes tables = directory::default_sizes;
    // Data bytes of a lane whose endpoint does not say.
    std::uint64_t default_lane_bytes = std::uint64_t{1} << 20;
    std::uint64_t most_lane_bytes = std::uint64_t{1} << 30;
    // The user who owns the bus is held back by the size of the tables alone.
    Quota owner{4096, 4096, 65536, 65536, 65536, 65536, std::uint64_t{1} << 40};
    // Every other user, when a group lets others in.
    Quota others{64, 64, 256, 256, 1024, 2048, std::uint64_t{1} << 30};
    // Leave when no participant has been alive for this long; zero: never.
    std::chrono::milliseconds idle_exit{0};
    // Remove the bus directory on leaving when nothing is queued and nobody is left.
    bool remove_when_idle = false;
    // Where the journal lies; absolute. Made when the first durable type is named.
    std::string journal;
    std::uint64_t journal_segment_bytes = std::uint64_t{64} << 20;  // of a journal made anew
    // Data bytes of a lane into the journal whose sender does not say.
    std::uint64_t journal_lane_bytes = std::uint64_t{1} << 20;
    std::string log_level = "info";
    std::uint64_t most_log_bytes = std::uint64_t{1} << 20;
};

// Reads a TOML file into `config`, over what is there. Throws SetupError naming file, line and key.
[[nodiscard]] std::optional<gid_t> group_of_name(const std::string& name);
void read_config(const std::string& path, Config& config);

}  // namespace shmbus::daemon
