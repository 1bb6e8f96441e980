// What of the machine matters to a bus: memory, clock, processors, kernel. See findings.h.
//
// SPDX-License-Identifier: BSL-1.0
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <thread>

#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/barrier.h"
#include "cli/findings.h"

namespace shmbus::cli {

namespace {

using Grade = Finding::Grade;

constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;
// What the tables take, and a lane of 1 MiB for a few senders each.
constexpr std::uint64_t least_memory = 32 * mebibyte;
// The default of containers.
constexpr std::uint64_t small_memory = 64 * mebibyte;

[[nodiscard]] std::string first_line_of(const std::string& path) {
    std::string line;
    std::getline(std::ifstream(path), line);
    return line;
}

// The directory itself, or the next one above it that is there.
[[nodiscard]] std::string place_that_is_there(const std::string& directory) {
    std::filesystem::path path = directory;
    std::error_code ignored;
    while (path.has_relative_path() && !std::filesystem::exists(path, ignored))
        path = path.parent_path();
    return path.string();
}

// Where the file system of this place is mounted.
[[nodiscard]] std::string mount_of(const std::string& place) {
    std::filesystem::path path = place;
    struct stat here {}, above {};
    while (path.has_relative_path() && ::stat(path.c_str(), &here) == 0 &&
           ::stat(path.parent_path().c_str(), &above) == 0 && here.st_dev == above.st_dev)
        path = path.parent_path();
    return path.string();
}

void look_at_memory(const std::string& bus_directory, Findings& into) {
    const std::string place = place_that_is_there(bus_directory);
    struct statfs facts {};
    if (::statfs(place.c_str(), &facts) != 0) {
        into.push_back({Grade::failure, "memory", "cannot look at " + place, "check its path", {}});
        return;
    }
    const auto block = static_cast<std::uint64_t>(facts.f_bsize);
    const std::uint64_t free = facts.f_bavail * block;
    const std::uint64_t all = facts.f_blocks * block;
    const bool is_memory = facts.f_type == TMPFS_MAGIC || facts.f_type == RAMFS_MAGIC;
    const std::string text = fmt::format("{} of {} MiB are free where buses lie, in {}",
                                         free / mebibyte, all / mebibyte, place);
    if (free < least_memory)
        into.push_back({Grade::failure, "memory", text,
                        is_memory ? "make it larger: mount -o remount,size=1G " + mount_of(place) +
                                        ", docker run --shm-size=1g; or set SHMBUS_DIR to a larger "
                                        "place"
                                  : "make room on " + mount_of(place) +
                                        "; or set SHMBUS_DIR to a larger place",
                        {}});
    else if (all <= small_memory)
        into.push_back({Grade::warning, "memory", text + ", which is the default of containers",
                        "docker run --shm-size=1g", {}});
    else into.push_back({Grade::good, "memory", text, "", {}});
    if (!is_memory)
        into.push_back({Grade::warning, "file system",
                        place + " is not in memory: the kernel writes its pages to a disk",
                        "set SHMBUS_DIR to a directory in a tmpfs, as /dev/shm is", {}});
}

// logind removes what a user has in /dev/shm when the last session ends, but not a system user's.
void look_at_logind(const std::string& bus_directory, Findings& into) {
    constexpr uid_t first_user = 1000;
    if (!bus_directory.starts_with("/dev/shm/") || ::geteuid() < first_user ||
        ::access("/run/systemd/seats", F_OK) != 0)
        return;
    std::ifstream file("/etc/systemd/logind.conf");
    for (std::string line; std::getline(file, line);)
        if (line == "RemoveIPC=no") return;
    into.push_back({Grade::warning, "logout",
                    "systemd-logind removes the files of the bus when this user logs out",
                    "RemoveIPC=no in /etc/systemd/logind.conf, or run the bus as a system user",
                    {}});
}

void look_at_clock(Findings& into) {
    const std::string source =
        first_line_of("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    const std::string text = "the clock source is " + (source.empty() ? "unknown" : source);
    // Others take the kernel's help for each reading: some 200 ns and more.
    const bool is_quick = source.empty() || source == "tsc" || source == "kvm-clock" ||
                          source == "arch_sys_counter";
    into.push_back({is_quick ? Grade::good : Grade::warning, "clock", text,
                    is_quick ? "" : "boot with clocksource=tsc if the processor's is stable", {}});
}

void look_at_processors(Findings& into) {
    const unsigned count = std::thread::hardware_concurrency();
    into.push_back({count == 1 ? Grade::warning : Grade::good, "processors",
                    fmt::format("{} can be used", count),
                    count == 1 ? "let endpoints sleep at once: Waiting::sleep" : "", {}});
    const std::string governor =
        first_line_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    if (governor == "powersave")
        into.push_back({Grade::warning, "processors", "their governor is powersave",
                        "cpupower frequency-set -g performance, where latency matters", {}});
}

void look_at_kernel(Findings& into) {
    const bool has_barrier = base::barrier_available();
    into.push_back({has_barrier ? Grade::good : Grade::warning, "kernel",
                    has_barrier ? "senders need no fence for sleepers: membarrier is there"
                                : "membarrier is missing or forbidden: each send pays for a fence",
                    has_barrier ? "" : "a kernel from 4.16 on, and a seccomp filter that allows it",
                    {}});
    constexpr rlim_t few_files = 1024;
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max < few_files)
        into.push_back({Grade::warning, "limits",
                        fmt::format("at most {} files may be open", files.rlim_max),
                        "ulimit -n 4096", {}});
}

}  // namespace

void look_at_machine(const std::string& bus_directory, Findings& into) {
    look_at_memory(bus_directory, into);
    look_at_logind(bus_directory, into);
    look_at_clock(into);
    look_at_processors(into);
    look_at_kernel(into);
}

}  // namespace shmbus::cli
