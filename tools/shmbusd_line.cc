// Finding out what the daemon is to do. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "shmbusd_line.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string_view>

#include <sys/stat.h>
#include <unistd.h>

#include <shmbus/result.h>

#include "base/file.h"
#include "bus/locate.h"

namespace shmbus::tools {

namespace {

[[nodiscard]] bool is_level(std::string_view text) {
    constexpr std::array<std::string_view, 5> levels{"debug", "info", "warning", "error", "off"};
    return std::ranges::find(levels, text) != levels.end();
}

// The directory in which buses lie that are known by name. One that an administrator made is taken
// as it is, unless others may write there: they could put another bus in our place.
void make_root(const std::string& root, std::optional<gid_t> group) {
    struct stat there {};
    if (::stat(root.c_str(), &there) != 0) {
        static_cast<void>(base::make_private_directory(root, group));
        return;
    }
    const bool ours = there.st_uid == ::geteuid() || there.st_uid == 0;
    const bool safe = (there.st_mode & 0002) == 0 || (there.st_mode & S_ISVTX) != 0;
    if (!S_ISDIR(there.st_mode) || !ours || !safe)
        throw SetupError{"using a directory for buses", root, 0,
                         "it belongs to another user or everybody may write there; set SHMBUS_DIR "
                         "to a directory of your own"};
    // Left so by a daemon that was killed while it made it: finished.
    if (group && there.st_uid == ::geteuid() &&
        base::is_half_made(base::File::open_directory(root)))
        static_cast<void>(base::make_private_directory(root, group));
}

// One inside the directory of the bus is made of smaller files: it is in memory, most likely.
void choose_journal(const CommandLine& line, const detail::BusLocation& location,
                    daemon::Config& config) {
    if (!line.journal.empty()) config.journal = line.journal;
    const bool is_told = !config.journal.empty() || !detail::environment("SHMBUS_JOURNAL").empty();
    if (config.journal.empty()) config.journal = detail::journal_here(location);
    config.journal = std::filesystem::absolute(config.journal).string();
    if (!is_told && config.journal.starts_with(location.directory + "/"))
        config.journal_segment_bytes = std::min<std::uint64_t>(config.journal_segment_bytes,
                                                               std::uint64_t{1} << 20);
}

}  // namespace

daemon::Config configuration(CommandLine& line) {
    daemon::Config config;
    if (line.config_file.empty())
        line.config_file = detail::environment("SHMBUS_CONFIG");
    if (!line.config_file.empty()) daemon::read_config(line.config_file, config);
    if (!line.group.empty()) {
        config.group = daemon::group_of_name(line.group);
        if (!config.group)
            throw SetupError{"letting a group use the bus", "the group '" + line.group + "'", 0,
                             "there is no such group; 'getent group' lists those that are"};
    }
    const std::string level = detail::environment("SHMBUS_LOG");
    if (!level.empty()) {
        config.log_level = level;
        if (!is_level(level))
            throw SetupError{"reading the environment", "SHMBUS_LOG=" + level, EINVAL,
                             "the log level is debug, info, warning, error or off"};
    }
    if (line.idle_exit.count() > 0) {
        config.idle_exit = std::chrono::ceil<std::chrono::milliseconds>(line.idle_exit);
        config.remove_when_idle = true;
    }
    return config;
}

void find_place(const CommandLine& line, daemon::Config& config) {
    const std::string name = line.directory.empty() ? line.bus : line.directory + "/";
    const auto location = detail::locate_bus(name);
    config.directory = location.directory;
    choose_journal(line, location, config);
    if (location.from_name || line.make_root) make_root(location.root, config.group);
}

}  // namespace shmbus::tools
