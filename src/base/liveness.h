// Proof of death: who is gone is told by the kernel, never guessed from a timeout.
//
// Presence is a process's own sign of life, held from registration to leave. Witness is how any
// other process, daemon or peer, judges it. Two things are held: a robust futex (gone with the
// thread that holds it; one load tells) and a record lock on the file (gone with the process).
// Only both together prove a death; README.md lists what fools each alone.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>

#include <pthread.h>
#include <sys/types.h>

#include "base/fault_guard.h"
#include "base/file.h"
#include "base/mapping.h"
#include "base/parking.h"

namespace shmbus::base {

// The sign of life in its owner's file; only the owner writes it, and the kernel at its death.
//
//   0       8       12    16        24         64                             128
//   +-------+-------+-----+---------+----------+------------------------------+
//   | token | state | pid | since_ns| (zero)   | mutex; its first word is the |
//   |       |       |     |         |          | futex word                   |
//   +-------+-------+-----+---------+----------+------------------------------+
//
// The mutex is the C library's business and only its owner calls that; others look at the futex
// word, whose format is the kernel's.
struct LifeMark {
    static constexpr std::uint32_t empty = 0;    // nobody yet
    static constexpr std::uint32_t present = 1;  // held, or its holder died
    static constexpr std::uint32_t left = 2;     // closed by its owner

    std::uint64_t token;  // random, the same for all marks of one process
    std::atomic<std::uint32_t> state;
    std::int32_t pid;  // for people; numbers differ between containers
    std::uint64_t since_ns;
    std::byte zero[40];
    union {
        pthread_mutex_t mutex;
        std::atomic<std::uint32_t> futex_word;
        std::byte room[64];
    };
};
static_assert(sizeof(LifeMark) == 128 && offsetof(LifeMark, mutex) == 64);
static_assert(std::is_standard_layout_v<LifeMark>);
static_assert(offsetof(pthread_mutex_t, __data) == 0 &&
                  offsetof(struct __pthread_mutex_s, __lock) == 0,
              "the kernel's futex word comes first in the C library's mutex");

// Random, the same during the life of this process, another one in a forked child.
[[nodiscard]] std::uint64_t process_token();

// The owner's side. Make it in a thread that lives as long as the process: the futex is that
// thread's. Does not move, because the C library's list of held mutexes points at it only through
// the mapping, which stays; keep it in a unique_ptr to hand it around.
class Presence {
public:
    // `file`: opened read_write by this process alone, allocated past the mark, used for no other
    // life before. Throws SetupError when the mark is not empty or another process holds the lock.
    Presence(File file, std::size_t mark_offset);
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;
    ~Presence() { close(); }

    enum class Hold : std::uint8_t {
        fine,
        rearmed,    // the holding thread had ended; this thread holds the futex now
        lock_lost,  // somebody closed our descriptor: call restore_lock with a new one
    };
    // One load: false after the holding thread has ended (or after close). True when the file was
    // cut short: there is no futex any more to be held again.
    [[nodiscard]] bool holds_futex() const noexcept;
    // Makes the futex held again, by this thread, and looks whether the lock is still there. Call
    // it now and then, and whenever holds_futex() says no. Any thread; one at a time.
    Hold rearm() noexcept;
    // Takes the lock again through a newly opened descriptor of the same file. Throws SetupError.
    void restore_lock(File file);

    // Leaves: peers see it at once as gone, and as gone cleanly. Twice is harmless. In a forked
    // child it only lets go of the child's copies.
    void close() noexcept;

    [[nodiscard]] std::uint64_t token() const noexcept { return token_; }

private:
    [[nodiscard]] LifeMark& mark() const noexcept { return mapping_->at<LifeMark>(within_page_); }
    [[nodiscard]] bool descriptor_is_ours() const noexcept;
    void hold_futex(const std::string& path);
    void let_go_of_futex() noexcept;

    File file_;
    std::shared_ptr<Mapping> mapping_;
    // Somebody cut our own file short: the lock alone shows us to be alive from then on.
    std::atomic<bool> lost_{false};
    FaultGuard guard_;  // goes before the mapping
    std::size_t within_page_ = 0;
    std::uint64_t token_ = 0;
    std::uint64_t device_ = 0;
    std::uint64_t inode_ = 0;
    pid_t pid_ = 0;
};

// Everybody else's side: looks at another process's sign of life, read-only. Its owner may cut the
// file short or wipe the mark: the lock, which it cannot give away, then decides alone. Also works
// on a mark of our own process, which is alive as long as we can ask and it was not closed. Const
// members may be called from many threads. Not for use in a forked child: make a new one there.
class Witness {
public:
    // Looks by name. A file of our own process is not opened: closing any descriptor of it would
    // drop our record lock, a trap of POSIX locks. Throws SetupError.
    Witness(int directory_fd, const std::string& name, std::size_t mark_offset);
    // Looks through a descriptor, e.g. one received. Should it be our own process's file it is
    // never closed, for the same reason. Throws SetupError.
    Witness(File file, std::size_t mark_offset);
    Witness(Witness&&) noexcept = default;
    Witness& operator=(Witness&&) noexcept;
    ~Witness();

    // One load. Nearly free, may be wrong: the thread that held the futex has ended, or nobody
    // has taken it yet.
    [[nodiscard]] bool maybe_dead() const noexcept;
    // The process is gone (or has left). Asks the kernel only when maybe_dead(). After a kill the
    // futex tells a little earlier than the lock, so ask again shortly when the two disagree.
    // Everything that the dead process stored is visible afterwards.
    [[nodiscard]] bool proved_dead() const noexcept;
    // For onlookers: the process that holds the record lock, by its number in our own container, 0
    // if it has none here. Nothing when nobody does: gone, or the file is only a copy.
    [[nodiscard]] std::optional<pid_t> lock_holder() const noexcept;
    // It closed its mark itself.
    [[nodiscard]] bool has_left() const noexcept;
    // Its owner has taken it. An empty mark is never judged dead, unless it was seen filled before.
    [[nodiscard]] bool is_ready() const noexcept;
    // The owner did what it can only do after it has taken the mark: an empty one was wiped.
    void expect_filled() noexcept;

    // For wait_any: sleeps while the owner lives, wakes when it dies. The kernel wakes one sleeper
    // per death, so whoever was woken calls wake_others(). Nothing when maybe_dead(): no wake will
    // come any more, look again by the clock.
    [[nodiscard]] std::optional<WatchedWord> watched() const noexcept;
    void wake_others() const noexcept;

    [[nodiscard]] std::uint64_t token() const noexcept;
    // As its owner wrote it; for people.
    [[nodiscard]] pid_t pid() const noexcept;

private:
    [[nodiscard]] const LifeMark& mark() const noexcept;
    void look(std::size_t mark_offset);
    void drop_file() noexcept;

    // Of another process's mark.
    struct Seen {
        std::atomic<bool> cut_short{false};
        std::atomic<bool> filled{false};
    };
    File file_;
    std::shared_ptr<Mapping> mapping_;
    std::size_t within_page_ = 0;
    bool own_ = false;
    std::unique_ptr<Seen> seen_ = std::make_unique<Seen>();
    FaultGuard guard_;  // goes before the mapping
};

}  // namespace shmbus::base
