// The processes of one measurement: forked, pinned one to a core, started together, never orphaned.
//
// The parent only sleeps until all have ended; it must own no threads and no open bus.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace shmbus::bench {

// Where the members of a crew wait for one another. In shared memory; zeroed is ready but for size.
class StartLine {
public:
    void set_size(std::uint32_t members) noexcept { members_ = members; }

    // Returns when all members have called it as often as the caller has. Sleeps meanwhile: others
    // may be measured on the same core.
    void line_up() noexcept;

private:
    std::atomic<std::uint32_t> arrived_{0};
    std::uint32_t members_ = 0;
};

// The cores that this process may use, in the system's order.
std::vector<int> usable_cores();

// Puts the calling thread on usable core number `index` (modulo their count).
void pin_to(unsigned index);
// The same by the system's number: a pinned thread sees one usable core only.
void pin_to_core(int core);

class Crew {
public:
    using Work = std::function<void(StartLine&)>;

    // `core` counts the usable cores from 0. `name` is for error texts.
    void add(std::string name, unsigned core, Work work);

    // Forks all members and waits until every one has ended. Returns "ok", or what was wrong: a
    // member that threw, died, or did not end within `limit` (then all are killed).
    std::string run(std::chrono::milliseconds limit);

private:
    struct Member {
        std::string name;
        unsigned core;
        Work work;
    };

    std::vector<Member> members_;
};

}  // namespace shmbus::bench
