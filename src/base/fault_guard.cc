// The SIGBUS handler and its table of guarded ranges.
//
// The table is read by a signal handler in any thread at any moment, so it is made of atomics and
// found by name: a handler has no argument to carry it. Hence the two statics below, the only
// state of this library that belongs to the process and not to an object.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/fault_guard.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <string>

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <shmbus/result.h>

namespace shmbus::base {

namespace {

// A range and whom to tell, of the process `owner`: a forked child has none of our mappings and may
// have others in their places. `version` is odd while the rest is being changed; the handler
// believes only what it has read between two equal, even versions, and skips a range that is just
// coming or going: nobody may access such a one yet, or any more.
struct Range {
    std::atomic<std::uint32_t> version{0};
    std::atomic<std::uintptr_t> begin{0};
    std::atomic<std::uintptr_t> bytes{0};
    std::atomic<std::atomic<bool>*> lost{nullptr};
    std::atomic<pid_t> owner{0};
};

struct Table {
    std::array<Range, FaultGuard::max_guards> ranges;
    // Ranges from here on were never used; spares the handler most of the table.
    std::atomic<std::size_t> end{0};

    // Below: for set-up only, under the mutex.
    std::mutex changing;
    std::size_t guarded = 0;
    std::size_t first_maybe_free = 0;
    bool installed = false;
    // Written before our handler is in force, and only while it is not.
    struct sigaction previous {};
};

Table& table() noexcept {
    // Static: see the top of the file. Constant-initialised, so that the handler never waits for
    // a first-use lock. Zero pages cost no memory until they are used.
    static constinit Table the_table;
    return the_table;
}

struct Found {
    void* begin = nullptr;
    std::size_t bytes = 0;
    std::atomic<bool>* lost = nullptr;
};

[[nodiscard]] Found find(std::uintptr_t address) noexcept {
    const pid_t we = ::getpid();
    // RANGE_ADDED: other end in write_range, by way of `version`.
    const std::size_t end = table().end.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < end; ++i) {
        const Range& range = table().ranges[i];
        // RANGE_ADDED: the fields below belong to this version or a later one.
        const std::uint32_t version = range.version.load(std::memory_order_acquire);
        // relaxed: believed only if the version is still the same below.
        const std::uintptr_t begin = range.begin.load(std::memory_order_relaxed);
        const std::uintptr_t bytes = range.bytes.load(std::memory_order_relaxed);
        std::atomic<bool>* const lost = range.lost.load(std::memory_order_relaxed);
        const pid_t owner = range.owner.load(std::memory_order_relaxed);
        // RANGE_ADDED: keeps the second look at the version behind the fields.
        std::atomic_thread_fence(std::memory_order_acquire);
        // relaxed: the fence above orders it.
        const bool same = range.version.load(std::memory_order_relaxed) == version;
        if (same && version % 2 == 0 && owner == we && address - begin < bytes)
            return {reinterpret_cast<void*>(begin), bytes, lost};
    }
    return {};
}

// Replaces what is left of the file by private zeros. Only async-signal-safe steps.
[[nodiscard]] bool cover_with_zeros(const Found& found) noexcept {
    // LOST: set before the zeros appear, so that no thread reads one of them and then finds the
    // flag still clear. Other end: whoever checks the flag after reading (lane, directory).
    found.lost->store(true, std::memory_order_release);
    // Raw system call: mmap is not on the list of functions that a signal handler may call, the
    // system call is safe.
    const long answer =
        ::syscall(SYS_mmap, found.begin, found.bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0L);
    return answer != -1;
}

// Does what would have happened without us.
void pass_on(int signal, siginfo_t* info, void* context) noexcept {
    const struct sigaction& previous = table().previous;
    if ((previous.sa_flags & SA_SIGINFO) != 0) {
        previous.sa_sigaction(signal, info, context);
        return;
    }
    const bool by_access = info->si_code > 0;  // not sent by kill(2) and the like
    if (previous.sa_handler == SIG_IGN && !by_access) return;
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
        return;
    }
    // Back to what was: the access is repeated on return and meets it. A signal that was sent is
    // sent once more; it stays pending until we return.
    static_cast<void>(::sigaction(signal, &previous, nullptr));
    if (!by_access) static_cast<void>(::raise(signal));
}

void on_sigbus(int signal, siginfo_t* info, void* context) noexcept {
    const int saved_errno = errno;
    // BUS_ADRERR is the access behind the end of a file; memory errors of the machine and signals
    // sent by people have other codes and other addresses.
    const Found found = info->si_code == BUS_ADRERR
                            ? find(reinterpret_cast<std::uintptr_t>(info->si_addr))
                            : Found{};
    if (found.lost == nullptr || !cover_with_zeros(found)) pass_on(signal, info, context);
    errno = saved_errno;
}

[[nodiscard]] bool is_ours(const struct sigaction& action) noexcept {
    return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == &on_sigbus;
}

void install() {
    Table& all = table();
    if (all.installed) return;
    struct sigaction ours {};
    ours.sa_sigaction = &on_sigbus;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&ours.sa_mask);
    // Asked for first: a fault in another thread may come the moment ours is in force.
    if (::sigaction(SIGBUS, nullptr, &all.previous) != 0 ||
        ::sigaction(SIGBUS, &ours, nullptr) != 0)
        throw SetupError{"guarding mapped files", "SIGBUS", errno,
                         "allow the rt_sigaction system call in the process's sandbox"};
    all.installed = true;
}

// Takes our handler away unless somebody has put another one over it: that one may call ours, so
// ours then stays reachable and counts as installed for good.
void uninstall() noexcept {
    Table& all = table();
    struct sigaction current {};
    if (::sigaction(SIGBUS, nullptr, &current) != 0 || !is_ours(current)) return;
    if (::sigaction(SIGBUS, &all.previous, nullptr) == 0) all.installed = false;
}

void write_range(Range& range, std::uintptr_t begin, std::size_t bytes,
                 std::atomic<bool>* lost) noexcept {
    // relaxed: only holders of the mutex change a version.
    const std::uint32_t version = range.version.load(std::memory_order_relaxed);
    // relaxed: the fence below keeps it in front of the fields.
    range.version.store(version + 1, std::memory_order_relaxed);
    // RANGE_ADDED: a handler that sees one of the new fields sees the odd version too.
    std::atomic_thread_fence(std::memory_order_release);
    // relaxed: the version is what publishes them.
    range.begin.store(begin, std::memory_order_relaxed);
    range.bytes.store(bytes, std::memory_order_relaxed);
    range.lost.store(lost, std::memory_order_relaxed);
    range.owner.store(::getpid(), std::memory_order_relaxed);
    // RANGE_ADDED: other end in find().
    range.version.store(version + 2, std::memory_order_release);
}

[[nodiscard]] std::size_t take_free_slot() {
    Table& all = table();
    for (std::size_t slot = all.first_maybe_free; slot < FaultGuard::max_guards; ++slot) {
        // relaxed: under the mutex, nobody else changes it.
        if (all.ranges[slot].lost.load(std::memory_order_relaxed) != nullptr) continue;
        all.first_maybe_free = slot + 1;
        return slot;
    }
    throw SetupError{"guarding a mapped file", std::to_string(FaultGuard::max_guards) + " ranges",
                     ENOMEM, "use fewer lanes in one process"};
}

}  // namespace

FaultGuard::FaultGuard(std::byte* begin, std::size_t bytes, std::atomic<bool>* lost) {
    Table& all = table();
    const std::scoped_lock lock{all.changing};
    const std::size_t slot = take_free_slot();
    install();
    write_range(all.ranges[slot], reinterpret_cast<std::uintptr_t>(begin), bytes, lost);
    // relaxed: under the mutex.
    if (slot >= all.end.load(std::memory_order_relaxed)) {
        // RANGE_ADDED: the range is complete when the handler comes to look at it.
        all.end.store(slot + 1, std::memory_order_release);
    }
    ++all.guarded;
    slot_ = slot;
}

FaultGuard& FaultGuard::operator=(FaultGuard&& other) noexcept {
    if (this != &other) {
        release();
        slot_ = other.slot_;
        other.slot_ = none;
    }
    return *this;
}

void FaultGuard::release() noexcept {
    if (slot_ == none) return;
    Table& all = table();
    const std::scoped_lock lock{all.changing};
    write_range(all.ranges[slot_], 0, 0, nullptr);
    if (slot_ < all.first_maybe_free) all.first_maybe_free = slot_;
    slot_ = none;
    if (--all.guarded == 0) uninstall();
}

}  // namespace shmbus::base
