// The directory of a bus: made, locked by the one daemon, swept of what a killed one left.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <optional>
#include <string>

#include <sys/types.h>

#include <shmbus/result.h>

#include "base/file.h"
#include "directory/writer.h"

namespace shmbus::daemon {

struct Config;

// The lock is taken: another daemon serves this bus, or is just leaving it.
struct AnotherDaemon : SetupError {
    using SetupError::SetupError;
};

// Moves, does not copy; the lock is held as long as it lives.
class Home {
public:
    // Makes the directory and its folders if need be and takes the lock. Throws SetupError:
    // another daemon has it, wrong owner, open to others, no room.
    explicit Home(const Config& config);

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] const base::File& directory() const noexcept { return directory_; }
    [[nodiscard]] const base::File& participants() const noexcept { return participants_; }
    [[nodiscard]] const base::File& inboxes() const noexcept { return inboxes_; }
    [[nodiscard]] const base::File& lanes() const noexcept { return lanes_; }
    [[nodiscard]] const base::File& types() const noexcept { return types_; }
    // Of files in it: 0600, or 0660 and the group's.
    [[nodiscard]] mode_t file_mode() const noexcept { return group_ ? 0660 : 0600; }
    // What others may only look at.
    [[nodiscard]] mode_t shown_mode() const noexcept { return group_ ? 0640 : 0600; }
    [[nodiscard]] std::optional<gid_t> group() const noexcept { return group_; }

    // Takes up the directory file of an earlier daemon, or makes one. One from an earlier boot, or
    // half made, is replaced, and all files beside it removed: their processes are gone.
    [[nodiscard]] directory::DirectoryWriter take_up_directory(const Config& config) const;
    // Writes how the fields of a type read, in one step.
    void describe_type(const std::string& file, std::string_view text) const;
    // What stands there; empty when nothing does, or it cannot be read now.
    [[nodiscard]] std::string description_of_type(const std::string& file) const;
    // Writes down where the journal of the bus lies, for tools and for a daemon that is not told.
    // Throws SetupError.
    void note_journal(const std::string& path) const;
    // Removes files of participants, inboxes, lanes and types that no row knows: a daemon was
    // killed between making a file and naming it, or between forgetting a row and removing its
    // file. Returns how many.
    std::size_t sweep(const directory::DirectoryWriter& tables) const;
    // Removes everything, the directory itself included; the lock goes last.
    void remove() noexcept;

private:
    void write_in_one_step(const base::File& folder, const std::string& file,
                           std::string_view text) const;

    std::string path_;
    std::optional<gid_t> group_;
    base::File directory_;
    base::File lock_;
    base::File participants_;
    base::File inboxes_;
    base::File lanes_;
    base::File types_;
};

}  // namespace shmbus::daemon
