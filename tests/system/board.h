// What the processes of a storm tell one another by shared words: who is doing what, and when to
// stop.
//
// A word outlives the process that wrote it, so that the supervisor can tell what a killed process
// was doing when it was killed.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>

#include <sys/mman.h>

namespace shmbus::test {

enum class Doing : std::uint32_t {
    nothing = 0,  // waiting for messages, or between two
    joining,      // asking the daemon for a place
    handling,     // a message is in hand
    loaning,      // a loan is open, not committed
    sending,      // in the midst of send
};

inline constexpr std::size_t most_places = 8;

struct Place {
    // relaxed, always: read after the process has ended, or as a hint when to kill it.
    std::atomic<Doing> doing{Doing::nothing};
    void is(Doing what) noexcept { doing.store(what, std::memory_order_relaxed); }
    [[nodiscard]] Doing was() const noexcept { return doing.load(std::memory_order_relaxed); }
};

struct Board {
    std::array<Place, most_places> places;
    std::atomic<bool> no_more_sending{false};  // relaxed: a wish, followed sooner or later
    std::atomic<bool> go_home{false};          // relaxed: as above
    std::atomic<std::uint32_t> damaged{0};     // relaxed: payloads that were not as sent
    std::atomic<std::uint32_t> planted{0};     // relaxed: faults that were planted on purpose
};

// A board in memory that forked children share.
class SharedBoard {
public:
    SharedBoard() {
        void* const page = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) throw std::runtime_error("no memory to share");
        board_ = new (page) Board;
    }
    SharedBoard(const SharedBoard&) = delete;
    SharedBoard& operator=(const SharedBoard&) = delete;
    ~SharedBoard() { ::munmap(board_, sizeof(Board)); }
    Board& operator*() const noexcept { return *board_; }
    Board* operator->() const noexcept { return board_; }

private:
    Board* board_;
};

}  // namespace shmbus::test
