// A storm of SIGKILL over senders, receivers and the daemon, and its supervisor, who is not killed.
//
// The supervisor forks the lives, kills those that wait for it and the daemon, and replaces whoever
// has ended. It owns no bus and no threads. At the end it lets two receivers handle what is left
// and asks the account.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "daemon/fixture.h"
#include "system/lives.h"

namespace shmbus::test {

enum class Role : std::uint8_t { sender, receiver, daemon };
inline constexpr std::size_t roles = 3;

struct StormPlan {
    std::uint32_t kills = 1000;
    std::uint64_t seed = 1;
    std::uint32_t senders = 3;
    std::uint32_t receivers = 4;
    std::uint32_t threads = 3;  // of every other receiver
    std::chrono::seconds limit{140};
    Fault planted = Fault::none;
};

// Kills of one role, and how many of them hit: a receiver with a message in hand, a sender with an
// uncommitted write, the daemon while a message was in a hand or a process was asking for a place.
struct Toll {
    std::uint32_t killed = 0;
    std::uint32_t hit = 0;
};

class Storm {
public:
    explicit Storm(StormPlan plan);
    ~Storm();
    Storm(const Storm&) = delete;
    Storm& operator=(const Storm&) = delete;

    // What was wrong, one sentence each; nothing when all is well. Call once.
    [[nodiscard]] std::vector<std::string> run();

    [[nodiscard]] const Toll& toll(Role role) const noexcept {
        return tolls_[static_cast<std::size_t>(role)];
    }
    // One line: what was counted in the ledger.
    [[nodiscard]] const std::string& account() const noexcept { return account_; }

private:
    using Clock = std::chrono::steady_clock;
    struct Actor {
        Role role = Role::sender;
        pid_t pid = 0;
        Life life;
    };
    [[nodiscard]] std::uint32_t target(Role role) const noexcept;
    [[nodiscard]] bool is_due(Role role) const noexcept;
    [[nodiscard]] bool is_late() const noexcept { return Clock::now() > end_; }
    void rage();
    void raise(std::size_t place);
    void prepare();
    void start_daemon();
    void reap_all();
    void bury(std::size_t place, int status);
    void pause_until_somebody_ends();
    void kill_somebody();
    bool kill_the_daemon();
    void kill_an_actor();
    void send_senders_home();
    void let_the_rest_be_handled();
    void check_files();
    void complain(std::string what) { wrong_.push_back(std::move(what)); }
    [[nodiscard]] std::uint64_t roll(std::uint64_t sides) { return dice_() % sides; }

    StormPlan plan_;
    ::test::Folder folder_;
    Sky sky_;
    SharedBoard board_;
    std::mt19937_64 dice_;
    Clock::time_point end_;
    std::vector<Actor> actors_;
    pid_t daemon_ = 0;
    std::uint32_t next_name_ = 1;
    bool calm_ = false;  // nobody is replaced any more
    std::array<Toll, roles> tolls_{};
    std::vector<std::string> wrong_;
    std::string account_;
};

}  // namespace shmbus::test
