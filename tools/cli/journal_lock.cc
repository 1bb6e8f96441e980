// Who has a journal open. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/journal_lock.h"

#include <cerrno>
#include <chrono>
#include <exception>
#include <filesystem>
#include <system_error>
#include <thread>

#include <shmbus/result.h>

#include "cli/ask_daemon.h"
#include "cli/open_bus.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

// A daemon whose durable service has stopped looks at its journal every second, for a moment.
constexpr std::chrono::seconds patience{2};
constexpr std::chrono::milliseconds between_tries{5};

// The daemon of this bus, if it has this journal open; 0: it has not, or that cannot be seen.
[[nodiscard]] std::uint64_t daemon_of(const Common& common, const std::string& path) {
    try {
        const OpenBus bus(common);
        const auto says = ask_daemon(bus.folder().directory(), std::chrono::seconds(2));
        const std::string files = "/proc/" + std::to_string(says.pid) + "/fd";
        for (const auto& file : std::filesystem::directory_iterator(files)) {
            std::error_code gone;
            if (std::filesystem::equivalent(file.path(), path + "/LOCK", gone)) return says.pid;
        }
    } catch (const std::exception&) {
        // No bus, or a daemon of somebody else: it stays "another process".
    }
    return 0;
}

}  // namespace

void journal_is_in_use(const Common& common, const std::string& path, const char* why) {
    const std::uint64_t pid = daemon_of(common, path);
    const std::string who = pid == 0 ? "another process" : "daemon " + std::to_string(pid);
    throw Trouble(Exit::try_later, who + " has the journal in " + path + " open", why,
                  pid == 0 ? "fuser -v " + path + "/LOCK shows which"
                           : "stop it and try again: kill " + std::to_string(pid));
}

std::unique_ptr<journal::Journal> open_to_write(const Common& common, const std::string& path,
                                                journal::RealStorage& storage,
                                                const journal::Options& options,
                                                const char* why) {
    const auto until = std::chrono::steady_clock::now() + patience;
    // Ends: when the patience does.
    for (;;) {
        try {
            return std::make_unique<journal::Journal>(storage, options);
        } catch (const SetupError& error) {
            // Only a lock is answered so.
            if (error.system_error() != EWOULDBLOCK) throw;
            if (std::chrono::steady_clock::now() >= until) journal_is_in_use(common, path, why);
        }
        std::this_thread::sleep_for(between_tries);
    }
}

}  // namespace shmbus::cli
