// Mapped files, the doubled ring, and files that are cut off while somebody reads them.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/mapping.h"

#include <array>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <shmbus/result.h>

#include "base/fault_guard.h"
#include "support.h"

using namespace shmbus::base;
using namespace shmbus::test;

namespace {

// Bytes of [begin, begin + bytes) that are in memory already, as the kernel counts them.
[[nodiscard]] std::size_t resident_pages(std::byte* begin, std::size_t bytes) {
    std::size_t count = 0;
    std::vector<std::uint64_t> entries(bytes / page_bytes());
    // Not by a stream: the kernel wants whole entries, a stream reads what fits its buffer.
    const File pagemap{::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)};
    const auto first = reinterpret_cast<std::uintptr_t>(begin) / page_bytes() * 8;
    REQUIRE(pagemap.read_all(std::as_writable_bytes(std::span{entries}), first) ==
            entries.size() * 8);
    for (const std::uint64_t entry : entries) count += entry >> 63;
    return count;
}

// Page faults of this thread while it writes one byte into every page. Not watched by the thread
// sanitizer, whose own memory would fault along.
[[nodiscard]] __attribute__((no_sanitize("thread"))) long faults_of_first_write(std::byte* begin,
                                                                     std::size_t bytes) {
    rusage before{};
    rusage after{};
    ::getrusage(RUSAGE_THREAD, &before);
    for (std::size_t i = 0; i < bytes; i += page_bytes())
        reinterpret_cast<volatile std::byte*>(begin)[i] = std::byte{1};
    ::getrusage(RUSAGE_THREAD, &after);
    return after.ru_minflt - before.ru_minflt;
}

constexpr int foreign_fault_seen = 42;
void host_handler(int) { ::_exit(foreign_fault_seen); }

// A mapped page whose file is gone from under it.
struct Cut {
    explicit Cut(const TemporaryDirectory& directory, const std::string& name)
        : file(directory.make(name, 4 * page_bytes())),
          mapping(file, {.offset = 0, .bytes = 4 * page_bytes()}, Access::read_write) {}
    void cut() const { REQUIRE(::ftruncate(file.fd(), 0) == 0); }
    File file;
    Mapping mapping;
    std::atomic<bool> lost{false};
};

}  // namespace

TEST_SUITE("base") {

TEST_CASE("two mappings of one file see each other's bytes and outlive the descriptor") {
    const TemporaryDirectory directory;
    File file = directory.make("file", 3 * page_bytes());
    const Mapping writer(file, {.offset = page_bytes(), .bytes = page_bytes()}, Access::read_write);
    const Mapping reader(file, {.offset = 0, .bytes = 2 * page_bytes()}, Access::read_only);
    file.close();
    writer.at<std::uint64_t>(64) = 7;
    CHECK(reader.at<const std::uint64_t>(page_bytes() + 64) == 7);
}

TEST_CASE("a mapping is in memory before its first use") {
    const TemporaryDirectory directory;
    const File file = directory.make("file", 16 * page_bytes());
    const Mapping mapping(file, {.offset = 0, .bytes = 16 * page_bytes()}, Access::read_write);
    CHECK(resident_pages(mapping.data(), mapping.bytes()) == 16);
    // A few may be the stack's; without preparation it is one per page.
    CHECK(faults_of_first_write(mapping.data(), mapping.bytes()) < 8);
    const RingMapping ring(file, {.offset = 0, .bytes = 16 * page_bytes()}, Access::read_write);
    CHECK(resident_pages(ring.data(), 2 * ring.bytes()) == 32);
}

TEST_CASE("a ring goes on at its beginning where its part of the file ends") {
    const TemporaryDirectory directory;
    const File file = directory.make("file", 5 * page_bytes());
    const MappedPart part{.offset = page_bytes(), .bytes = 4 * page_bytes()};
    const RingMapping ring(file, part, Access::read_write);
    const std::array<std::byte, 4> record{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    std::memcpy(ring.data() + ring.bytes() - 2, record.data(), record.size());
    CHECK(ring.data()[0] == std::byte{3});
    CHECK(ring.data()[1] == std::byte{4});
    ring.data()[10] = std::byte{9};
    CHECK(ring.data()[ring.bytes() + 10] == std::byte{9});
    std::array<std::byte, 2> on_file{};
    CHECK(file.read_all(on_file, page_bytes()) == 2);
    CHECK(on_file[1] == std::byte{4});
}

TEST_CASE("a part that the file does not have is refused with its size") {
    const TemporaryDirectory directory;
    const File file = directory.make("file", 2 * page_bytes());
    const MappedPart beyond{.offset = page_bytes(), .bytes = 2 * page_bytes()};
    CHECK_THROWS_AS(Mapping(file, beyond, Access::read_only), shmbus::SetupError);
    CHECK_THROWS_AS(RingMapping(file, beyond, Access::read_only), shmbus::SetupError);
    const MappedPart overflowing{.offset = page_bytes(),
                                 .bytes = std::numeric_limits<std::size_t>::max()};
    CHECK_THROWS_AS(Mapping(file, overflowing, Access::read_only), shmbus::SetupError);
    const MappedPart crooked{.offset = 8, .bytes = 8};
    CHECK_THROWS_AS(Mapping(file, crooked, Access::read_only), shmbus::SetupError);
    const MappedPart no_pages{.offset = 0, .bytes = 100};
    CHECK_THROWS_AS(RingMapping(file, no_pages, Access::read_only), shmbus::SetupError);
}

TEST_CASE("writing needs a file opened for writing") {
    const TemporaryDirectory directory;
    static_cast<void>(directory.make("file", page_bytes()));
    const File file = File::open_at(directory.fd(), "file", Access::read_only);
    const MappedPart part{.offset = 0, .bytes = page_bytes()};
    CHECK_NOTHROW(Mapping(file, part, Access::read_only));
    CHECK_THROWS_AS(Mapping(file, part, Access::read_write), shmbus::SetupError);
}

TEST_CASE("a forked child has no part in its parent's mappings and does not unmap its own") {
    const TemporaryDirectory directory;
    const File file = directory.make("file", page_bytes());
    const MappedPart part{.offset = 0, .bytes = page_bytes()};
    auto mapping = std::make_unique<Mapping>(file, part, Access::read_write);
    Child toucher([&] {
        return static_cast<int>(*mapping->data());
    });
    const int status = toucher.reap();
    CHECK(WIFSIGNALED(status));
    Child dropper([&] {
        // Stands in the hole that the parent's mapping leaves in a child.
        void* const own = ::mmap(mapping->data(), page_bytes(), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (own == MAP_FAILED) return 1;
        mapping.reset();
        *static_cast<char*>(own) = 1;
        return 0;
    });
    CHECK(exited_with(dropper.reap(), 0));
}

TEST_CASE("a moved mapping keeps its address and leaves nothing behind") {
    const TemporaryDirectory directory;
    const File file = directory.make("file", page_bytes());
    const MappedPart part{.offset = 0, .bytes = page_bytes()};
    Mapping first(file, part, Access::read_write);
    std::byte* const data = first.data();
    Mapping second;
    second = std::move(first);
    CHECK(second.data() == data);
    CHECK_FALSE(static_cast<bool>(first));
    RingMapping ring(file, part, Access::read_write);
    RingMapping other(std::move(ring));
    CHECK(other.bytes() == page_bytes());
    CHECK_FALSE(static_cast<bool>(ring));
}

TEST_CASE("a file cut off under its reader becomes zeros and a flag, not a crash") {
    const TemporaryDirectory directory;
    Cut victim(directory, "victim");
    const FaultGuard guard(victim.mapping.data(), victim.mapping.bytes(), &victim.lost);
    auto& word = victim.mapping.at<volatile std::uint64_t>(2 * page_bytes());
    word = 7;
    victim.cut();
    CHECK_FALSE(victim.lost.load());
    CHECK(word == 0);
    CHECK(victim.lost.load());
    word = 8;
    CHECK(word == 8);
}

// What a forked child sees of its own file that is cut off, mapped where its parent has `ours`.
static int see_own_file_cut(const TemporaryDirectory& directory, const Cut& ours) {
    // The place is free: the kernel gives it to the child as any other.
    const File file = directory.make("theirs", 4 * page_bytes());
    void* const place = ::mmap(ours.mapping.data(), 4 * page_bytes(), PROT_READ,
                               MAP_SHARED | MAP_FIXED_NOREPLACE, file.fd(), 0);
    if (place != ours.mapping.data()) return 1;
    std::atomic<bool> lost{false};
    const FaultGuard own(static_cast<std::byte*>(place), 4 * page_bytes(), &lost);
    if (::ftruncate(file.fd(), 0) != 0) return 2;
    if (*static_cast<volatile std::byte*>(place) != std::byte{0}) return 3;
    return lost && !ours.lost ? 0 : 4;
}

TEST_CASE("a forked child's own mapping in its parent's place is told of as its own") {
    const TemporaryDirectory directory;
    Cut ours(directory, "ours");
    const FaultGuard guard(ours.mapping.data(), ours.mapping.bytes(), &ours.lost);
    // Not by Child, which takes the handler away.
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) ::_exit(see_own_file_cut(directory, ours));
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    INFO("1: the place is taken, 2: cannot be cut, 3: no zeros, 4: told as another's");
    CHECK(exited_with(status, 0));
}

TEST_CASE("both halves of a ring are saved by one guard and other files go on") {
    const TemporaryDirectory directory;
    const File file = directory.make("ring", page_bytes());
    const RingMapping ring(file, {.offset = 0, .bytes = page_bytes()}, Access::read_write);
    std::atomic<bool> ring_lost{false};
    const FaultGuard ring_guard(ring.data(), 2 * ring.bytes(), &ring_lost);
    Cut other(directory, "other");
    const FaultGuard other_guard(other.mapping.data(), other.mapping.bytes(), &other.lost);
    other.mapping.at<std::uint64_t>() = 5;
    REQUIRE(::ftruncate(file.fd(), 0) == 0);
    const auto* const bytes = reinterpret_cast<volatile const std::byte*>(ring.data());
    CHECK(bytes[page_bytes() + 1] == std::byte{0});
    CHECK(bytes[1] == std::byte{0});
    CHECK(ring_lost.load());
    CHECK_FALSE(other.lost.load());
    CHECK(other.mapping.at<std::uint64_t>() == 5);
}

TEST_CASE("faults in many threads at once are all survived") {
    const TemporaryDirectory directory;
    Cut victim(directory, "victim");
    const FaultGuard guard(victim.mapping.data(), victim.mapping.bytes(), &victim.lost);
    victim.cut();
    std::vector<std::thread> threads;
    std::atomic<std::uint64_t> sum{0};
    for (std::size_t i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
            sum += victim.mapping.at<volatile const std::uint64_t>(i * page_bytes());
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(sum.load() == 0);
    CHECK(victim.lost.load());
}

TEST_CASE("a foreign fault reaches the handler that was there before") {
    const TemporaryDirectory directory;
    Child child([&] {
        ::signal(SIGBUS, host_handler);
        Cut guarded(directory, "guarded");
        Cut foreign(directory, "foreign");
        const FaultGuard guard(guarded.mapping.data(), guarded.mapping.bytes(), &guarded.lost);
        foreign.cut();
        return static_cast<int>(foreign.mapping.at<volatile const std::uint64_t>());
    });
    CHECK(exited_with(child.reap(), foreign_fault_seen));
}

TEST_CASE("a foreign fault with nobody to handle it ends the process as it always did") {
    const TemporaryDirectory directory;
    for (const bool by_access : {true, false}) {
        Child child([&] {
            Cut guarded(directory, by_access ? "guarded" : "guarded2");
            Cut foreign(directory, by_access ? "foreign" : "foreign2");
            const FaultGuard guard(guarded.mapping.data(), guarded.mapping.bytes(), &guarded.lost);
            foreign.cut();
            if (!by_access) {
                ::kill(::getpid(), SIGBUS);
                return 0;  // not reached: the signal is ours to meet before kill returns
            }
            return static_cast<int>(foreign.mapping.at<volatile const std::uint64_t>());
        });
        const int status = child.reap();
        CHECK(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGBUS);
    }
}

TEST_CASE("the handler is in force only while something is guarded") {
    const TemporaryDirectory directory;
    Child child([&] {
        ::signal(SIGBUS, host_handler);
        Cut victim(directory, "victim");
        struct sigaction action {};
        {
            const FaultGuard guard(victim.mapping.data(), victim.mapping.bytes(), &victim.lost);
            ::sigaction(SIGBUS, nullptr, &action);
            if ((action.sa_flags & SA_SIGINFO) == 0) return 1;
        }
        ::sigaction(SIGBUS, nullptr, &action);
        return action.sa_handler == host_handler ? 0 : 2;
    });
    CHECK(exited_with(child.reap(), 0));
}

TEST_CASE("a handler that the host program installs later stays in force") {
    const TemporaryDirectory directory;
    Child child([&] {
        Cut first(directory, "first");
        Cut second(directory, "second");
        struct sigaction action {};
        {
            const FaultGuard guard(first.mapping.data(), first.mapping.bytes(), &first.lost);
            ::signal(SIGBUS, host_handler);
        }
        const FaultGuard again(second.mapping.data(), second.mapping.bytes(), &second.lost);
        ::sigaction(SIGBUS, nullptr, &action);
        return action.sa_handler == host_handler ? 0 : 1;
    });
    CHECK(exited_with(child.reap(), 0));
}

TEST_CASE("a released place in the table of guards is used again") {
    const TemporaryDirectory directory;
    Cut victim(directory, "victim");
    for (std::size_t i = 0; i < FaultGuard::max_guards + 10; ++i)
        const FaultGuard guard(victim.mapping.data(), victim.mapping.bytes(), &victim.lost);
    std::vector<FaultGuard> all;
    for (std::size_t i = 0; i < FaultGuard::max_guards; ++i)
        all.emplace_back(victim.mapping.data(), victim.mapping.bytes(), &victim.lost);
    int why = 0;
    try {
        const FaultGuard guard(victim.mapping.data(), 1, &victim.lost);
    } catch (const shmbus::SetupError& error) {
        why = error.system_error();
    }
    // By which the daemon tells that it says nothing of the file.
    CHECK(why == ENOMEM);
}

}
