// A bus that is only looked at: its directory and its files, read-only, with or without a daemon.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <shmbus/options.h>

#include "bus/locate.h"
#include "cli/common.h"
#include "cli/names.h"
#include "directory/reader.h"
#include "look/snapshot.h"

namespace shmbus::cli {

class OpenBus {
public:
    // Throws Trouble or SetupError: no bus there, not ours to look at, of another version.
    explicit OpenBus(const Common& common);

    [[nodiscard]] const detail::BusLocation& location() const noexcept { return location_; }
    [[nodiscard]] const detail::BusFolder& folder() const noexcept { return folder_; }
    [[nodiscard]] const directory::DirectoryReader& reader() const noexcept { return reader_; }

    // By name; throw Trouble that names those that are there when it is not.
    [[nodiscard]] directory::Endpoint endpoint(std::string_view name) const;
    [[nodiscard]] directory::Type type(std::string_view name) const;

    // Whole tables.
    [[nodiscard]] std::vector<directory::Endpoint> endpoints() const;
    [[nodiscard]] std::vector<directory::Type> types() const;
    [[nodiscard]] std::vector<directory::Participant> participants() const;
    [[nodiscard]] std::vector<directory::SubscriptionRow> subscriptions() const;
    [[nodiscard]] std::vector<directory::LaneRow> lanes() const;

    // All of it, as it is now; but nothing of the journal's files.
    [[nodiscard]] look::Snapshot look(look::Apart apart = {}) const;
    // The endpoint in what was seen of this bus. Throws Trouble: none of that name, or damaged.
    [[nodiscard]] const look::Endpoint& endpoint(const look::Snapshot& seen,
                                                 std::string_view name) const;
    // Records for it that wait on disk and in no lane, as the daemon said last. Throws Trouble.
    [[nodiscard]] std::uint64_t on_disk(std::string_view name) const;

    // Names for people; of what is gone, its number.
    [[nodiscard]] std::string name_of_endpoint(std::uint32_t index) const;
    [[nodiscard]] std::string name_of_type(std::uint32_t index) const;
    [[nodiscard]] std::string name_of_participant(wire::Reference who) const;

private:
    detail::BusLocation location_;
    detail::BusFolder folder_;
    directory::DirectoryReader reader_;
};

// Throws Trouble when its inbox is damaged, so that its figures say nothing.
void require_readable(const look::Endpoint& seen);

// The socket of the daemon takes a connection.
[[nodiscard]] bool daemon_listens(const detail::BusFolder& folder);

}  // namespace shmbus::cli
