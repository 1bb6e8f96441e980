// Where a bus lives.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/locate.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <span>

#include <sys/stat.h>
#include <unistd.h>

#include <shmbus/result.h>

#include "base/name.h"
#include "wire/fields.h"
#include "wire/names.h"

namespace shmbus::detail {
namespace {

constexpr const char* system_root = "/run/shmbus";

[[nodiscard]] std::string absolute(const std::string& path) {
    std::error_code error;
    const std::filesystem::path found = std::filesystem::absolute(path, error);
    if (error)
        throw SetupError{"making a path absolute", path, error.value(),
                         "name the directory of the bus by its absolute path"};
    std::string text = found.lexically_normal().string();
    while (text.size() > 1 && text.back() == '/') text.pop_back();
    return text;
}

[[nodiscard]] std::string parent_of(const std::string& path) {
    return std::filesystem::path(path).parent_path().string();
}

[[nodiscard]] std::string root_directory() {
    const std::string wanted = environment("SHMBUS_DIR");
    return wanted.empty() ? usual_root() : absolute(wanted);
}

// Whoever could have put the files there, could have put wrong ones there.
void require_trustworthy(const base::File& directory, const std::string& path) {
    const base::FileFacts facts = directory.facts();
    const bool ours = facts.owner == ::geteuid() || facts.owner == 0;
    // Another user's bus, whose group we are in: that user's to answer for, and ours to choose.
    const bool by_group = (facts.mode & 0070U) == 0070U && ::access(path.c_str(), X_OK) == 0;
    if (!ours && !by_group)
        throw SetupError{"opening a bus of another user", path, EACCES,
                         "the bus belongs to user " + std::to_string(facts.owner) +
                             " and is not shared with a group of ours"};
    if ((facts.mode & 0007U) != 0)
        throw SetupError{"opening a bus that everybody may enter", path, 0,
                         "chmod the directory to 0700, or to 0770 and a group's"};
}

}  // namespace

std::string environment(const char* variable) {
    const char* value = ::secure_getenv(variable);
    return value ? value : "";
}

std::string usual_root() {
    struct stat there {};
    if (::stat(system_root, &there) == 0 && S_ISDIR(there.st_mode) &&
        ::access(system_root, W_OK | X_OK) == 0)
        return system_root;
    return "/dev/shm/shmbus-" + std::to_string(::geteuid());
}

namespace {

// Empty when nobody says.
std::string state_directory() {
    if (::geteuid() == 0) return "/var/lib";
    const std::string state = environment("XDG_STATE_HOME");
    if (!state.empty() && state[0] == '/') return state;
    const std::string home = environment("HOME");
    return home.empty() || home[0] != '/' ? std::string() : home + "/.local/state";
}

}  // namespace

std::string usual_journal(const BusLocation& location) {
    const std::string state = state_directory();
    if (location.root != usual_root() || state.empty()) return location.directory + "/journal";
    return state + "/shmbus/" + std::filesystem::path(location.directory).filename().string();
}

namespace {

// Where a daemon of the bus wrote down that its journal lies; empty when none did, somebody else
// may have, or it was one of the bus that this one is a copy of.
std::string noted_journal(const BusLocation& location) {
    try {
        const base::File folder = base::File::open_directory(location.directory);
        // Members of a group may put files there.
        if ((folder.facts().mode & 0022U) != 0) return {};
        const auto note = base::File::open_if_there(folder.fd(), wire::journal_place_file,
                                                    base::Access::read_only);
        if (!note) return {};
        const base::FileFacts facts = note->facts();
        if (!facts.is_regular || facts.owner != folder.facts().owner || (facts.mode & 0022U) != 0)
            return {};
        std::string text(wire::most_journal_place_bytes, '\0');
        text.resize(note->read_all(std::as_writable_bytes(std::span(text)), 0));
        const std::size_t end = text.find('\n');
        if (end == std::string::npos || text.back() != '\n') return {};
        const std::string path = text.substr(end + 1, text.size() - end - 2);
        const bool is_ours = text == wire::journal_place_text(base::path_of(folder.fd()), path);
        return is_ours && path.starts_with('/') ? path : std::string();
    } catch (const SetupError&) {
        return {};  // no such bus, or not ours to read
    }
}

}  // namespace

std::string journal_here(const BusLocation& location) {
    const std::string wanted = environment("SHMBUS_JOURNAL");
    if (!wanted.empty()) return wanted;
    const std::string noted = noted_journal(location);
    return noted.empty() ? usual_journal(location) : noted;
}

BusLocation locate_bus(std::string_view name) {
    std::string wanted(name);
    if (wanted.empty()) wanted = environment("SHMBUS_BUS");
    if (wanted.empty()) wanted = "default";
    BusLocation location;
    if (wanted.find('/') != std::string::npos) {
        location.directory = absolute(wanted);
        location.root = parent_of(location.directory);
        return location;
    }
    if (!base::is_valid_name(wanted))
        throw SetupError{"looking up a bus", "the name '" + wanted + "'", EINVAL,
                         "a bus is named by 1 to 200 characters of A-Z a-z 0-9 . _ -, or by a "
                         "path, which has a slash"};
    location.root = root_directory();
    location.directory = location.root + "/" + wanted;
    location.from_name = true;
    return location;
}

BusFolder::BusFolder(const std::string& directory) : path_(directory) {
    directory_ = base::File::open_directory(path_);
    require_trustworthy(directory_, path_);
    participants_ = base::File::open_directory(path_ + "/" + wire::participants_folder);
    inboxes_ = base::File::open_directory(path_ + "/" + wire::inboxes_folder);
    lanes_ = base::File::open_directory(path_ + "/" + wire::lanes_folder);
}

std::string read_description(const BusFolder& folder, wire::Reference type) {
    try {
        const base::File types =
            base::File::open_directory(folder.path() + "/" + wire::types_folder);
        const auto file = base::File::open_if_there(types.fd(), wire::numbered_file(type),
                                                    base::Access::read_only);
        if (!file) return {};
        file->require_regular();
        std::string text(wire::most_field_text + 1, '\0');
        text.resize(file->read_all(std::as_writable_bytes(std::span(text)), 0));
        return text.size() > wire::most_field_text ? std::string() : text;
    } catch (const SetupError&) {
        // Of another version of the bus, or not ours to read: shown as bytes.
        return {};
    }
}

}  // namespace shmbus::detail
