// The daemon's loop: one thread, one epoll, connections that it never waits for.
//
// A connection costs at most one frame per turn, so a busy client delays the others by one request
// each. A client that does not read its answers is hung up on; so is one that has not registered
// after five seconds. Hints of deaths (a closed connection, a pidfd) bring the next sweep forward.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <set>

#include "base/file.h"
#include "daemon/reaper.h"
#include "daemon/registrar.h"
#include "daemon/service_manager.h"
#include "daemon/state.h"

namespace shmbus::daemon {

class Server {
public:
    // Listens when it returns. Blocks SIGTERM, SIGINT and SIGHUP in this thread, to read them in
    // the loop. Throws SetupError.
    Server(State& state, Durable& durable);

    enum class Ended : std::uint8_t { by_signal, idle };
    // Serves until a signal or idleness ends it.
    Ended run();
    // Nobody can connect any more, and those who are there see the end of their connections.
    void close() noexcept;
    // Nothing is queued, nobody is left, and no subscription waits for its subscriber to return.
    [[nodiscard]] bool may_remove_bus() const;

private:
    using Clock = std::chrono::steady_clock;
    struct Connection {
        base::File socket;
        base::File pidfd;  // empty when the kernel gives none
        Client client;
        Clock::time_point since;
    };

    void watch(const base::File& file, std::uint64_t key, bool once = false);
    void watch_bell();
    void accept_all();
    void turn_one_away(int error);
    void take_spare() noexcept;
    void hear(bool who_knocks) noexcept;
    void admit(base::File socket);
    void read(std::uint64_t key);
    void reply_to(std::uint64_t key, Answer& answer);
    void hang_up(std::uint64_t key);
    void look_soon() noexcept;
    void handle(std::uint64_t key);
    void sweep();
    void clear_away();
    void drop_strangers();
    void lack_memory() noexcept;
    [[nodiscard]] bool is_idle();
    [[nodiscard]] Ended serve();
    [[nodiscard]] int sleep_ms() const;
    [[nodiscard]] std::uint32_t connections_of(uid_t uid) const;

    State& state_;
    Durable& durable_;
    ServiceManager manager_;
    std::uint32_t known_bell_ = 0;
    Registrar registrar_;
    Reaper reaper_;
    base::File listener_;
    base::File signals_;
    base::File epoll_;
    base::File spare_;  // given up for a moment to refuse a connection when descriptors run out
    std::map<std::uint64_t, Connection> connections_;  // by key, from first_connection
    std::set<wire::Reference> connected_;
    std::uint64_t next_key_;
    Clock::time_point next_sweep_;
    Clock::time_point hint_until_{};  // sweep every millisecond until then
    Clock::time_point idle_since_;
    bool lacks_memory_ = false;       // and that was logged
    bool lacks_descriptors_ = false;  // and that was logged
    bool is_deaf_ = false;            // to who knocks, until the next sweep
};

}  // namespace shmbus::daemon
