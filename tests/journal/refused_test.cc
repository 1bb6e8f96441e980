// Ways to the disk that a kernel or a file system refuses: the journal takes another one.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "journal/background_writer.h"
#include "journal/journal.h"
#include "journal/real_folder.h"
#include "support/call_filter.h"

using namespace shmbus::journal;
namespace base = shmbus::base;
namespace test = shmbus::test;

namespace {

constexpr std::size_t piece = 256 << 10;
constexpr std::size_t room = 4 << 20;        // of a writer's copies
constexpr std::size_t large_page = 2 << 20;  // of its zeros

// In a process of its own, for a filter stays. The number of the first thing that was wrong, or 0.
[[nodiscard]] int in_child(const std::function<int()>& work) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        try {
            ::_exit(work());
        } catch (const std::exception&) {
            ::_exit(100);
        }
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// Past the cache where the file system has that.
[[nodiscard]] base::File open_direct(const std::string& path) {
    base::File file(::open(path.c_str(), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600));
    if (!file) file = base::File(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    return file;
}

[[nodiscard]] std::vector<std::byte> filled(std::size_t bytes, int with) {
    return std::vector<std::byte>(bytes, static_cast<std::byte>(with));
}

[[nodiscard]] bool holds(const std::string& path, std::uint64_t offset,
                         const std::vector<std::byte>& bytes) {
    const base::File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::vector<std::byte> found(bytes.size());
    return file.read_all(found, offset) == found.size() && found == bytes;
}

[[nodiscard]] std::size_t memory_in_use() {
    return ::mallinfo2().hblkhd + ::mallinfo2().uordblks;
}

}  // namespace

TEST_SUITE("journal") {
TEST_CASE("pieces that the kernel takes none of in the background are written all the same") {
    const RealFolder folder;
    const std::string path = folder.path + "/file";
    std::uint32_t denied = 0;
    SUBCASE("no context is made") { denied = __NR_io_setup; }
    SUBCASE("no piece is taken") { denied = __NR_io_submit; }
    CHECK(in_child([&] {
        test::filter_call(denied, SECCOMP_RET_ERRNO | EAGAIN);
        const base::File file = open_direct(path);
        BackgroundWriter writer;
        writer.start(file.fd(), filled(5 * piece, 7), 0);
        writer.start_zeros(file.fd(), 3 * large_page, 5 * piece);
        return writer.finish() == 0 ? 0 : 1;
    }) == 0);
    CHECK(holds(path, 0, filled(5 * piece, 7)));
    CHECK(holds(path, 5 * piece, filled(3 * large_page, 0)));
}

TEST_CASE("what is refused past the cache goes through it") {
    const RealFolder folder;
    const std::string path = folder.path + "/file";
    const base::File file = open_direct(path);
    // Nowhere but on file systems in memory may it begin there.
    constexpr std::uint64_t crooked = 100;
    std::uint32_t denied = 0;
    SUBCASE("of pieces that are under way") {}
    SUBCASE("of one that is written at once") { denied = __NR_io_submit; }
    CHECK(in_child([&] {
        if (denied != 0) test::filter_call(denied, SECCOMP_RET_ERRNO | EAGAIN);
        BackgroundWriter writer;
        writer.start(file.fd(), filled(3 * piece, 7), crooked);
        return writer.finish();
    }) == 0);
    CHECK(holds(path, crooked, filled(3 * piece, 7)));
}

TEST_CASE("what the kernel may still read stays its own where it does not say what it has done") {
    const RealFolder folder;
    const std::string path = folder.path + "/file";
    CHECK(in_child([&] {
        test::filter_call(__NR_io_getevents, SECCOMP_RET_ERRNO | EINVAL);
        const base::File file = open_direct(path);
        const auto sevens = filled(2 * piece, 7);
        const auto eights = filled(2 * piece, 8);
        const std::size_t before = memory_in_use();
        {
            BackgroundWriter writer;
            writer.start(file.fd(), sevens, 0);
            writer.start_zeros(file.fd(), piece, 2 * piece);
            if (memory_in_use() < before + room + large_page) return 1;
            if (writer.finish() != EINVAL) return 2;
            // The next ones are written at once, out of other memory, and end well.
            writer.start(file.fd(), eights, 4 * piece);
            writer.start_zeros(file.fd(), piece, 6 * piece);
            if (writer.finish() != 0) return 3;
            if (memory_in_use() < before + 2 * (room + large_page)) return 4;
        }
        const std::size_t left = memory_in_use() - before;
        return left >= room + large_page && left < room + large_page + piece ? 0 : 5;
    }) == 0);
    CHECK(holds(path, 4 * piece, filled(2 * piece, 8)));
    CHECK(holds(path, 6 * piece, filled(piece, 0)));
}

TEST_CASE("a writer that was told what became of everything gives its memory back") {
    const RealFolder folder;
    const base::File file = open_direct(folder.path + "/file");
    const auto sevens = filled(piece, 7);
    const std::size_t before = memory_in_use();
    {
        BackgroundWriter writer;
        writer.start(file.fd(), sevens, 0);
        writer.start_zeros(file.fd(), piece, piece);
    }
    CHECK(memory_in_use() < before + piece);
    CHECK(holds(folder.path + "/file", 0, sevens));
}

TEST_CASE("what a file that is given up met is not told of the next one") {
    const RealFolder folder;
    CHECK(in_child([&] {
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{piece, piece};
        if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
        RealStorage storage(folder.path + "/journal");
        const auto sevens = filled(piece, 7);
        int error = 0;
        for (const bool zeros : {false, true}) {
            auto given_up = storage.create(zeros ? "one" : "two", error);
            auto next = storage.create(zeros ? "three" : "four", error);
            if (!given_up || !next) return 2;
            for (const auto& file : {&given_up, &next}) {
                const std::uint64_t offset = file == &given_up ? piece : 0;
                if (zeros) (*file)->start_zeros(piece, offset);
                else (*file)->start_write(sevens, offset);
                if (file == &given_up) given_up.reset();
            }
            if (next->finish_writes() != 0) return 3;
        }
        return 0;
    }) == 0);
}

TEST_CASE("where no file is written past the cache, segments are filled with zeros through it") {
    const RealFolder folder;
    const std::string path = folder.path + "/journal";
    CHECK(in_child([&] {
        test::deny_open_flags(O_DIRECT);
        if (base::File(::open(folder.path.c_str(), O_RDONLY | O_DIRECT))) return 1;
        RealStorage storage(path);
        int error = 0;
        const auto file = storage.create("file", error);
        if (!file || write_all(*file, filled(3 * piece, 7), 0) != 0) return 2;
        file->start_zeros(piece, piece);
        return file->finish_writes() == 0 ? 0 : 3;
    }) == 0);
    CHECK(holds(path + "/file", 0, filled(piece, 7)));
    CHECK(holds(path + "/file", piece, filled(piece, 0)));
    CHECK(holds(path + "/file", 2 * piece, filled(piece, 7)));
}

TEST_CASE("a journal whose files are not written past the cache is one like any other") {
    const RealFolder folder;
    const std::string path = folder.path + "/journal";
    constexpr std::uint64_t count = 3'000;
    Options options;
    options.segment_bytes = 256 << 10;
    CHECK(in_child([&] {
        test::deny_open_flags(O_DIRECT);
        RealStorage storage(path);
        Journal journal(storage, options);
        const Endpoint to[] = {1};
        const std::vector<std::byte> payload = filled(1000, 7);
        Message message;
        message.to = to;
        message.payload = payload;
        for (std::uint64_t number = 1; number <= count; ++number) {
            if (journal.publish(message).outcome != Outcome::ok) return 1;
            if (journal.commit().outcome != Outcome::ok) return 2;
            while (journal.maintain()) continue;
        }
        return 0;
    }) == 0);
    RealStorage storage(path);
    const Journal journal(storage, options);
    CHECK(journal.report().damages.empty());
    CHECK(journal.backlog(1) == count);
}
}
