// What the system tells about the daemon, processes and files of a bus.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/traces.h"

#include <fcntl.h>
#include <shmbus/result.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/liveness.h"

namespace shmbus::look {
namespace {

struct Locks {
    std::string text;
    std::size_t parts = 0;  // that the kernel handed it out in
};
[[nodiscard]] Locks list_of_locks() {
    Locks list;
    const base::File file(::open("/proc/locks", O_RDONLY | O_CLOEXEC));
    char part[4096];
    // Ends with the list.
    for (ssize_t got = 1; got > 0; list.parts += got > 0 ? 1 : 0) {
        got = ::read(file.fd(), part, sizeof(part));
        if (got > 0) list.text.append(part, static_cast<std::size_t>(got));
    }
    return list;
}

// "1: FLOCK  ADVISORY  WRITE 4121 00:1a:5532 0 EOF"
[[nodiscard]] std::optional<pid_t> holder_in(const std::string& locks, const struct stat& file) {
    std::istringstream list(locks);
    for (std::string line; std::getline(list, line);) {
        std::istringstream words(line);
        std::string number, kind, advisory, access, place;
        long pid = 0;
        if (!(words >> number >> kind >> advisory >> access >> pid >> place)) continue;
        unsigned major = 0;
        unsigned minor = 0;
        unsigned long inode = 0;
        if (kind == "FLOCK" &&
            std::sscanf(place.c_str(), "%x:%x:%lu", &major, &minor, &inode) == 3 &&
            makedev(major, minor) == file.st_dev && inode == file.st_ino && pid > 0)
            return static_cast<pid_t>(pid);
    }
    return std::nullopt;
}

// A long list comes in parts, and for each the kernel counts its lines anew: a lock that is given
// up between two of them moves another one out of sight. Then it is read once more.
constexpr int most_readings = 8;

[[nodiscard]] std::optional<pid_t> holder_of_lock(const struct stat& file) {
    for (int reading = 0; reading < most_readings; ++reading) {
        const Locks list = list_of_locks();
        const auto holder = holder_in(list.text, file);
        if (holder || list.parts < 2) return holder;
    }
    return std::nullopt;
}

// Somebody listens at the daemon's socket: connecting and hanging up at once disturbs nobody.
[[nodiscard]] Life knock(const base::File& directory) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // By descriptor: a path may be longer than the address has room for.
    std::snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", directory.fd(),
                  wire::socket_file);
    const base::File socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return Life::unknown;
    if (::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
        errno == EAGAIN || errno == EINPROGRESS)
        return Life::alive;
    return errno == ECONNREFUSED || errno == ENOENT ? Life::dead : Life::unknown;
}

// Of /proc/PID/stat, behind the name, which may have anything in it.
struct Stat {
    char state = '?';
    OptionalNumber cpu;
    [[nodiscard]] bool is_stopped() const noexcept { return state == 'T' || state == 't'; }
};
[[nodiscard]] Stat stat_of(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    std::getline(file, line);
    const std::size_t at = line.rfind(") ");
    Stat stat;
    if (at == std::string::npos) return stat;
    std::istringstream fields(line.substr(at + 2));
    fields >> stat.state;
    // The state is the third field, the processor the 39th.
    std::string skipped;
    for (int field = 4; field < 39; ++field) fields >> skipped;
    std::uint64_t cpu = 0;
    if (fields >> cpu) stat.cpu = cpu;
    return stat;
}

[[nodiscard]] std::string program_of(pid_t pid) {
    std::error_code error;
    const auto link = std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe", error);
    if (!error) return link.filename().string();
    // Of another user: the kernel still tells its first fifteen letters.
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    std::getline(file, name);
    return name;
}

// Held open by the daemon that writes the journal: src/journal/FORMAT.md.
constexpr const char* journal_lock_file = "LOCK";

[[nodiscard]] bool begins_with(const std::string& name, const char* with) {
    return name.compare(0, std::strlen(with), with) == 0;
}

}  // namespace

Daemon find_daemon(const base::File& directory, const std::string&) {
    Daemon found;
    struct stat lock {};
    if (::fstatat(directory.fd(), wire::daemon_lock_file, &lock, AT_SYMLINK_NOFOLLOW) != 0) {
        found.life = Life::dead;
        return found;
    }
    found.pid = holder_of_lock(lock);
    found.life = found.pid ? Life::alive : knock(directory);
    found.is_stopped = found.pid && stat_of(*found.pid).is_stopped();
    return found;
}

void find_process(const base::File& participants, Process& process) {
    const std::string name = wire::numbered_file(process.reference);
    try {
        const base::Witness witness(participants.fd(), name, wire::life_mark_at);
        const auto holder = witness.lock_holder();
        if (holder) {
            process.life = Life::alive;
            // Of another container: it has no number here.
            process.pid = *holder > 0 ? std::optional(*holder) : std::nullopt;
        } else {
            process.life = witness.proved_dead() ? Life::dead : Life::unknown;
            if (process.life == Life::dead) process.has_left = witness.has_left();
        }
    } catch (const SetupError&) {
        // Its page goes last of all that it had.
        process.life = Life::dead;
    }
    if (process.life != Life::alive || !process.pid) return;
    const Stat stat = stat_of(*process.pid);
    process.is_stopped = stat.is_stopped();
    process.cpu = stat.cpu;
    process.program = program_of(*process.pid);
}

Memory measure_memory(const base::File& directory, const std::string& path) {
    Memory memory;
    std::error_code error;
    namespace fs = std::filesystem;
    fs::recursive_directory_iterator entry(path, fs::directory_options::skip_permission_denied,
                                           error);
    for (const fs::recursive_directory_iterator end; !error && entry != end;
         entry.increment(error)) {
        struct stat facts {};
        if (::lstat(entry->path().c_str(), &facts) == 0 && S_ISREG(facts.st_mode))
            memory.used_bytes += static_cast<std::uint64_t>(facts.st_blocks) * 512;
    }
    struct statvfs system {};
    if (::fstatvfs(directory.fd(), &system) == 0 && system.f_blocks > 0) {
        memory.limit_bytes = std::uint64_t{system.f_blocks} * system.f_frsize;
        memory.free_bytes = std::uint64_t{system.f_bavail} * system.f_frsize;
    }
    return memory;
}

namespace {

// A file of that name which a process has open; empty without one, or when the kernel tells
// nothing.
[[nodiscard]] std::filesystem::path open_file_of(pid_t process, const char* name) {
    std::error_code error;
    namespace fs = std::filesystem;
    fs::directory_iterator entry("/proc/" + std::to_string(process) + "/fd", error);
    for (const fs::directory_iterator end; !error && entry != end; entry.increment(error)) {
        std::error_code gone;
        const fs::path file = fs::read_symlink(entry->path(), gone);
        if (!gone && file.filename() == name) return file;
    }
    return {};
}

}  // namespace

std::string journal_of_daemon(pid_t daemon) {
    return open_file_of(daemon, journal_lock_file).parent_path().string();
}

std::string journal_of_bus(const detail::BusLocation& location) {
    std::string found;
    const base::File directory(
        ::open(location.directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (directory && detail::environment("SHMBUS_JOURNAL").empty())
        if (const auto daemon = find_daemon(directory, location.directory).pid)
            found = journal_of_daemon(*daemon);
    return found.empty() ? detail::journal_here(location) : found;
}

std::string log_of_daemon(const std::string& bus, const Daemon& daemon) {
    namespace fs = std::filesystem;
    std::error_code error;
    if (daemon.pid) {
        const fs::path open = open_file_of(*daemon.pid, wire::daemon_log_file);
        if (!open.empty()) return open.string();
        const std::string pid = std::to_string(*daemon.pid);
        const fs::path errors = fs::read_symlink("/proc/" + pid + "/fd/2", error);
        if (!error) return fs::is_regular_file(errors, error) ? errors.string() : std::string();
    }
    const std::string left = bus + "/" + wire::daemon_log_file;
    return ::access(left.c_str(), R_OK) == 0 ? left : std::string();
}

void find_journal(const std::string& path, Journal& into) {
    into.path = path;
    std::error_code error;
    namespace fs = std::filesystem;
    into.is_there = fs::is_directory(path, error);
    fs::directory_iterator entry(path, error);
    into.is_readable = into.is_there && !error;
    for (const fs::directory_iterator end; !error && entry != end; entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        struct stat facts {};
        if (::lstat(entry->path().c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) continue;
        into.bytes += static_cast<std::uint64_t>(facts.st_size);
        if (begins_with(name, "seg-")) ++into.segments;
        if (begins_with(name, "ckpt-")) ++into.checkpoints;
    }
}

}  // namespace shmbus::look
