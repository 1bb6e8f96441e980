// A bus of its own for one measurement: a directory, a daemon, both gone afterwards.
//
// A keeper process holds a shmbus::testing::TemporaryBus: the parent of the crew opens no bus
// itself, since it forks.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/bus.h>

#include <string>
#include <sys/types.h>

namespace shmbus::bench {

// Where the daemon's binary is: SHMBUS_DAEMON, or beside this program in the build tree. Sets
// SHMBUS_DAEMON for all children, and SHMBUS_LOG such that the daemon's log says who it is. Throws
// std::runtime_error if there is none.
void find_daemon();

// A variable of this process's environment, and of what it forks, for as long as this lives. Not
// while other threads run.
class InEnvironment {
public:
    InEnvironment(const char* name, const std::string& value);
    ~InEnvironment();
    InEnvironment(const InEnvironment&) = delete;
    InEnvironment& operator=(const InEnvironment&) = delete;

private:
    const char* name_;
};

class BusHouse {
public:
    // Throws std::runtime_error with the reason if there is no bus within ten seconds.
    BusHouse();
    ~BusHouse();
    BusHouse(const BusHouse&) = delete;
    BusHouse& operator=(const BusHouse&) = delete;

    const std::string& directory() const noexcept { return directory_; }

    // The process that serves it now. Throws std::runtime_error: its log names none.
    pid_t daemon() const;

    // For the members of a crew: joins the bus. Throws SetupError.
    Bus join(BusOptions options = {}) const;

private:
    [[nodiscard]] bool schedules_daemon() const;
    void close() noexcept;

    pid_t keeper_ = -1;
    int leash_ = -1;  // the keeper ends when this is closed
    std::string directory_;
};

// For a crew member that cannot go on: throws std::runtime_error saying what was refused.
[[noreturn]] void give_up(Error error, const char* what);
// Inline: a result that goes through memory would be charged to the way.
inline void insist(Result<void> result, const char* what) {
    if (!result) [[unlikely]] give_up(result.error(), what);
}

}  // namespace shmbus::bench
