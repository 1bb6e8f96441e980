// iceoryx's daemon: its pools, what it leaves when it is killed, and why it may not be had.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/roudi.h"

#include "disk_limits.h"
#include "peers/programs.h"

#include <algorithm>
#include <fcntl.h>
#include <fstream>
#include <grp.h>
#include <stdexcept>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace shmbus::bench {
namespace {

constexpr std::size_t largest_bytes = std::size_t{1} << 20;
// RouDi's own segment and the pools below.
constexpr std::size_t needed_bytes = std::size_t{256} << 20;
constexpr const char* lock_path = "/tmp/iox-unique-roudi.lock";

// A few hundred chunks of each size up to 1 MiB, with room for what stands before the payload.
void write_pools(const std::string& path) {
    std::ofstream file(path);
    file << "[general]\nversion = 1\n\n[[segment]]\n";
    for (std::size_t bytes = 32; bytes <= largest_bytes; bytes *= 2) {
        const std::size_t count = std::clamp<std::size_t>(4 * largest_bytes / bytes, 24, 1024);
        file << "\n[[segment.mempool]]\nsize = " << bytes + 128 << "\ncount = " << count << "\n";
    }
}

// Only one RouDi can run, so these are its: its segments, the second named after its user's group,
// and its socket and locks.
std::vector<std::string> leftovers() {
    const group* const own = ::getgrgid(::getegid());
    std::vector<std::string> paths{"/dev/shm/iceoryx_mgmt", "/tmp/roudi", "/tmp/roudi.lock",
                                   lock_path};
    if (own != nullptr) paths.push_back("/dev/shm/" + std::string(own->gr_name));
    return paths;
}

struct RouDi {
    RouDi() {
        // Somebody may have started one since the peers were listed.
        if (const auto reason = why_no_roudi()) throw std::runtime_error(*reason);
        const std::string pools = folder.path() + "/pools.toml";
        write_pools(pools);
        ServerPlan plan;
        plan.command = {find_program("iox-roudi").value(), "-c", pools, "-m", "off"};
        plan.ready = "RouDi is ready for clients";
        plan.folder = folder.path();
        plan.leftovers = leftovers();
        server.emplace(plan);
    }
    DiskFolder folder;
    std::optional<Server> server;
};

bool one_runs_already() {
    const int fd = ::open(lock_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool taken = ::flock(fd, LOCK_EX | LOCK_NB) != 0;
    ::close(fd);
    return taken;
}

}  // namespace

std::shared_ptr<Server> running_roudi() {
    static std::weak_ptr<RouDi> running;  // by this process
    std::shared_ptr<RouDi> roudi = running.lock();
    if (!roudi) running = roudi = std::make_shared<RouDi>();
    Server* const server = &*roudi->server;
    return {std::move(roudi), server};
}

std::optional<std::string> why_no_roudi() {
    if (!find_program("iox-roudi")) return "package iceoryx is missing: no iox-roudi in PATH";
    if (one_runs_already()) return "a RouDi is running here already";
    struct statvfs shared {};
    if (::statvfs("/dev/shm", &shared) == 0 && shared.f_bavail * shared.f_bsize < needed_bytes)
        return "/dev/shm has less than the 256 MiB that RouDi takes";
    return std::nullopt;
}

}  // namespace shmbus::bench
