// The directory of a bus.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/home.h"

#include <cerrno>
#include <memory>
#include <set>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shmbus/result.h>

#include "daemon/config.h"
#include "directory/boot.h"
#include "directory/reader.h"
#include "wire/fields.h"
#include "wire/names.h"

namespace shmbus::daemon {
namespace {

[[nodiscard]] base::File make_folder(const std::string& bus, const char* name,
                                     std::optional<gid_t> group) {
    return base::make_private_directory(bus + "/" + name, group);
}

// The lock file outlives its daemons, but not its directory: a daemon that leaves may remove both
// while we wait at the door, and a lock on a file without a name would keep nobody out.
[[nodiscard]] bool still_named(const base::File& directory, const base::File& lock) {
    struct stat named {};
    if (::fstatat(directory.fd(), wire::daemon_lock_file, &named, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    const base::FileFacts ours = lock.facts();
    return named.st_ino == ours.inode && named.st_dev == ours.device;
}

[[nodiscard]] base::File take_lock(const base::File& directory) {
    base::File lock(::openat(directory.fd(), wire::daemon_lock_file,
                             O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
    const std::string path = base::path_of(directory.fd(), wire::daemon_lock_file);
    if (!lock)
        throw SetupError{"opening the lock of the daemon", path, errno,
                         errno == EROFS
                             ? "a bus lies where it can be written: see SHMBUS_DIR"
                             : "remove whatever stands there if no daemon runs for this bus"};
    lock.require_regular();
    if (::flock(lock.fd(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            throw AnotherDaemon{"starting a daemon for a bus that has one", path, 0,
                                "there is nothing to do: the other daemon serves this bus"};
        throw SetupError{"locking the lock of the daemon", path, errno,
                         "use a file system that has locks"};
    }
    if (!still_named(directory, lock))
        throw AnotherDaemon{"starting a daemon in a directory that was just removed", path, 0,
                            "start it once more"};
    return lock;
}

struct CloseFolder {
    void operator()(DIR* folder) const noexcept { ::closedir(folder); }
};

[[nodiscard]] std::vector<std::string> names_in_folder(const base::File& folder) {
    std::vector<std::string> names;
    base::File copy(::openat(folder.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::unique_ptr<DIR, CloseFolder> listing(copy ? ::fdopendir(copy.fd()) : nullptr);
    if (!listing)
        throw SetupError{"listing a folder of the bus", base::path_of(folder.fd()), errno,
                         "check its permissions"};
    static_cast<void>(copy.give_up());  // the listing owns it now
    // Ends with the folder's last entry.
    while (const dirent* entry = ::readdir(listing.get())) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    return names;
}

template <class Known>
std::size_t sweep_folder(const base::File& folder, Known&& known) {
    std::size_t removed = 0;
    for (const std::string& name : names_in_folder(folder))
        if (!known(name)) removed += base::unlink_at(folder.fd(), name) ? 1 : 0;
    return removed;
}

}  // namespace

Home::Home(const Config& config) : path_(config.directory), group_(config.group) {
    directory_ = base::make_private_directory(path_, group_);
    lock_ = take_lock(directory_);
    participants_ = make_folder(path_, wire::participants_folder, group_);
    inboxes_ = make_folder(path_, wire::inboxes_folder, group_);
    lanes_ = make_folder(path_, wire::lanes_folder, group_);
    types_ = make_folder(path_, wire::types_folder, group_);
}

directory::DirectoryWriter Home::take_up_directory(const Config& config) const {
    auto file =
        base::File::open_if_there(directory_.fd(), wire::directory_file, base::Access::read_write);
    if (file) {
        directory::Identity identity;
        std::string text;
        const directory::Trouble trouble = directory::read_identity(*file, identity, text);
        const directory::BootId boot = directory::this_boot();
        const bool this_boot =
            directory::BootId{identity.boot_high, identity.boot_low} == boot;
        // Anything but half made or outdated is taken up, or refused with the reason and left
        // untouched: it may be the only witness of messages that somebody wants.
        if (trouble != directory::Trouble::half_made &&
            (trouble != directory::Trouble::none || this_boot))
            return directory::DirectoryWriter(std::move(*file));
    }
    for (const base::File* folder : {&participants_, &inboxes_, &lanes_, &types_})
        sweep_folder(*folder, [](const std::string&) { return false; });
    return directory::DirectoryWriter::create(directory_.fd(),
                                              {config.tables, shown_mode(), group_});
}

std::size_t Home::sweep(const directory::DirectoryWriter& tables) const {
    std::set<std::uint64_t> lane_ids;
    for (const directory::LaneRow& row : tables.rows<directory::LaneRow>())
        if (row.state != directory::RowState::free) lane_ids.insert(row.id);
    const auto in_table = [](const auto& rows, const std::string& name) {
        const auto reference = wire::reference_of_file(name);
        if (!reference || wire::index_of(*reference) >= rows.size()) return false;
        const auto& row = rows[wire::index_of(*reference)];
        return row.state != directory::RowState::free &&
               row.generation == wire::generation_of(*reference);
    };
    std::size_t removed = sweep_folder(participants_, [&](const std::string& name) {
        return in_table(tables.rows<directory::ParticipantRow>(), name);
    });
    removed += sweep_folder(inboxes_, [&](const std::string& name) {
        return in_table(tables.rows<directory::EndpointRow>(), name);
    });
    removed += sweep_folder(lanes_, [&](const std::string& name) {
        const auto id = wire::lane_id_of_file(name);
        return id && lane_ids.contains(*id);
    });
    removed += sweep_folder(types_, [&](const std::string& name) {
        return in_table(tables.rows<directory::TypeRow>(), name);
    });
    return removed;
}

void Home::write_in_one_step(const base::File& folder, const std::string& file,
                             std::string_view text) const {
    const std::string fresh = file + ".new";
    // Left behind by a daemon that was killed below.
    base::unlink_at(folder.fd(), fresh);
    const base::File made = base::File::create_at(folder.fd(), fresh, shown_mode(), group_);
    made.write_all(std::as_bytes(std::span(text)), 0);
    base::rename_at(folder.fd(), fresh, file);
}

void Home::describe_type(const std::string& file, std::string_view text) const {
    write_in_one_step(types_, file, text);
}

std::string Home::description_of_type(const std::string& file) const {
    try {
        const auto there = base::File::open_if_there(types_.fd(), file, base::Access::read_only);
        if (!there) return {};
        std::string text(wire::most_field_text, '\0');
        text.resize(there->read_all(std::as_writable_bytes(std::span(text)), 0));
        return text;
    } catch (const SetupError&) {
        return {};  // no descriptor is left, or a stranger's: no reason to end the service
    }
}

void Home::note_journal(const std::string& path) const {
    write_in_one_step(directory_, wire::journal_place_file,
                      wire::journal_place_text(base::path_of(directory_.fd()), path));
}

void Home::remove() noexcept {
    // Best effort: what cannot be removed is swept by the next daemon. The socket first, so that
    // nobody knocks any more; the lock's name last, while it is still held.
    try {
        base::unlink_at(directory_.fd(), wire::socket_file);
        base::unlink_at(directory_.fd(), wire::directory_file);
        for (const auto& [folder, name] :
             {std::pair{&participants_, wire::participants_folder},
              std::pair{&inboxes_, wire::inboxes_folder}, std::pair{&lanes_, wire::lanes_folder},
              std::pair{&types_, wire::types_folder}}) {
            sweep_folder(*folder, [](const std::string&) { return false; });
            static_cast<void>(::unlinkat(directory_.fd(), name, AT_REMOVEDIR));
        }
        base::unlink_at(directory_.fd(), wire::page_ahead_file);
        base::unlink_at(directory_.fd(), std::string(wire::journal_place_file) + ".new");
        base::unlink_at(directory_.fd(), wire::journal_place_file);
        base::unlink_at(directory_.fd(), wire::daemon_log_file);
        base::unlink_at(directory_.fd(), wire::old_daemon_log_file);
        base::unlink_at(directory_.fd(), wire::daemon_lock_file);
    } catch (const SetupError&) {
        return;
    }
    static_cast<void>(::rmdir(path_.c_str()));
}

}  // namespace shmbus::daemon
