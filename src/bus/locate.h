// Where a bus lives: from its name, or from the environment, to a directory.
//
// Called at set-up, by the library and by the tools. Reads the environment only in processes that
// run with nobody's rights but their caller's (secure_getenv).
//
//   name                          directory
//   "shop"                        <root>/shop
//   ""                            <root>/$SHMBUS_BUS, or <root>/default
//   "/srv/run/shop", "./shop"     that directory itself: a name with a slash is a path
//
//   root: $SHMBUS_DIR, else /run/shmbus when it is there and ours to write, else
//   /dev/shm/shmbus-<uid>. Not $XDG_RUNTIME_DIR: it is small, and gone when the user logs out.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <string_view>

#include "base/file.h"
#include "wire/names.h"

namespace shmbus::detail {

struct BusLocation {
    std::string directory;    // absolute
    std::string root;         // its parent; made as well when it is not there and a name was given
    bool from_name = false;   // false: the caller named the directory itself
};

// Throws SetupError when the name is not a name.
[[nodiscard]] BusLocation locate_bus(std::string_view name);

// Where buses lie that are known by name, unless SHMBUS_DIR says otherwise.
[[nodiscard]] std::string usual_root();
// Where the journal of a bus lies unless somebody says otherwise: where programs keep their state,
// for a bus in its usual place; else inside its directory.
[[nodiscard]] std::string usual_journal(const BusLocation& location);
// Where the environment says, else where a daemon of the bus has had it, else the usual place: as
// for a daemon that is started in this environment.
[[nodiscard]] std::string journal_here(const BusLocation& location);

// An environment variable, or "" when it is not set or this process has more rights than its
// caller.
[[nodiscard]] std::string environment(const char* variable);

// The open directories of a bus that exists; for opening lanes and participants by name.
class BusFolder {
public:
    BusFolder() = default;
    // Throws SetupError: not there, a link, of another user, open to others.
    explicit BusFolder(const std::string& directory);

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] const base::File& directory() const noexcept { return directory_; }
    [[nodiscard]] const base::File& participants() const noexcept { return participants_; }
    [[nodiscard]] const base::File& inboxes() const noexcept { return inboxes_; }
    [[nodiscard]] const base::File& lanes() const noexcept { return lanes_; }

private:
    std::string path_;
    base::File directory_;
    base::File participants_;
    base::File inboxes_;
    base::File lanes_;
};

// The text of wire/fields.h for a type; empty when nobody described it, or it cannot be read.
[[nodiscard]] std::string read_description(const BusFolder& folder, wire::Reference type);

}  // namespace shmbus::detail
