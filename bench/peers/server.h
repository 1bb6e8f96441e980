// A server of its own for one measurement: started, awaited, stopped, and never left behind.
//
// A keeper process stands between: it ends the server and whatever that has started, and removes
// its folder, as soon as this program lets go of the leash, be it by being killed.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

namespace shmbus::bench {

struct ServerPlan {
    std::vector<std::string> command;      // the program's path first
    std::vector<std::string> environment;  // NAME=VALUE, besides our own
    std::string ready;                     // stands in its output once it is
    std::string folder;                    // for its log; goes with it
    // Files elsewhere that a killed one leaves. One with any is asked to stop before it is killed.
    std::vector<std::string> leftovers;
};

class Server {
public:
    // Throws std::runtime_error with the end of its output if it is not ready within a minute.
    explicit Server(const ServerPlan& plan);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

private:
    bool keeper_is_gone() noexcept;
    void close() noexcept;

    pid_t keeper_ = -1;
    int leash_ = -1;
};

}  // namespace shmbus::bench
