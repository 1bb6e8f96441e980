// The journal on a real file system: files that are not ours, memory of a backlog, the lock.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>
#include <malloc.h>
#include <shmbus/result.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <vector>

#include "journal/journal.h"
#include "journal/real_folder.h"

using namespace shmbus::journal;
using shmbus::SetupError;

namespace {

namespace fs = std::filesystem;

void publish_many(Journal& journal, std::uint64_t count) {
    const Endpoint to[] = {1};
    const Endpoint other[] = {2};
    const std::vector<std::byte> payload(256);
    Message message;
    message.payload = payload;
    for (std::uint64_t i = 0; i < count; ++i) {
        // Two endpoints in turn, so that no run of LSNs is one endpoint's.
        message.to = i % 2 == 0 ? to : other;
        while (journal.publish(message).outcome != Outcome::ok) {
            REQUIRE(journal.commit().outcome == Outcome::ok);
            while (journal.maintain()) continue;
        }
    }
    REQUIRE(journal.commit().outcome == Outcome::ok);
    while (journal.maintain()) continue;
}

// What this process may write to besides files, by now.
std::uint64_t data_bytes() {
    std::ifstream file("/proc/self/statm");
    std::uint64_t pages = 0;
    for (int column = 0; column < 6; ++column) file >> pages;
    return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// One life of a journal in a process that ends without closing it. 0: it has published.
int live(const std::string& path, const Options& options, std::uint64_t most_bytes) {
    const pid_t child = ::fork();
    if (child == 0) {
        const rlimit limit{data_bytes() + most_bytes, data_bytes() + most_bytes};
        if (::setrlimit(RLIMIT_DATA, &limit) != 0) ::_exit(1);
        try {
            RealStorage storage(path);
            Journal journal(storage, options);
            if (!journal.why_stopped().empty()) ::_exit(2);
            publish_many(journal, 10);
            ::_exit(0);
        } catch (const std::bad_alloc&) {
            ::_exit(3);
        }
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

TEST_SUITE("journal") {
TEST_CASE("a real directory: made privately, locked, read back after a restart") {
    const RealFolder directory;
    const std::string path = directory.path + "/journal";
    Options options;
    options.segment_bytes = 1 << 20;
    {
        RealStorage storage(path);
        Journal journal(storage, options);
        publish_many(journal, 10'000);
        RealStorage second(path);
        CHECK_THROWS_AS(Journal(second, options), SetupError);
    }
    struct stat facts {};
    REQUIRE(::stat(path.c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777U) == 0700);
    for (const auto& entry : fs::directory_iterator(path)) {
        REQUIRE(::stat(entry.path().c_str(), &facts) == 0);
        CHECK((facts.st_mode & 0777U) == 0600);
    }
    RealStorage storage(path);
    Journal journal(storage, options);
    CHECK(journal.why_stopped() == "");
    CHECK(journal.report().torn_bytes == 0);
    Delivery delivery;
    std::uint64_t delivered = 0;
    while (journal.next(1, delivery) == Next::message) {
        REQUIRE(journal.settle(1, delivery.lsn) == Outcome::ok);
        if (++delivered % 100 == 0) REQUIRE(journal.commit().outcome == Outcome::ok);
    }
    CHECK(delivered == 5'000);
}

TEST_CASE("a link, a shared file and a second name are refused") {
    const RealFolder directory;
    const std::string path = directory.path + "/journal";
    RealStorage storage(path);
    int error = 0;
    REQUIRE(storage.create("seg-0000000000000001", error));
    CHECK(storage.create("seg-0000000000000001", error) == nullptr);
    CHECK(error == EEXIST);
    fs::create_symlink("seg-0000000000000001", path + "/link");
    CHECK(storage.open("link", error) == nullptr);
    CHECK(error == ELOOP);
    REQUIRE(::chmod((path + "/seg-0000000000000001").c_str(), 0620) == 0);
    CHECK(storage.open("seg-0000000000000001", error) == nullptr);
    CHECK(error == EPERM);
    REQUIRE(::chmod((path + "/seg-0000000000000001").c_str(), 0600) == 0);
    fs::create_hard_link(path + "/seg-0000000000000001", path + "/second");
    CHECK(storage.open("seg-0000000000000001", error) == nullptr);
    REQUIRE(::mkfifo((path + "/pipe").c_str(), 0600) == 0);
    CHECK(storage.open("pipe", error) == nullptr);
    REQUIRE(::chmod(path.c_str(), 0755) == 0);
    CHECK_THROWS_AS(RealStorage{path}, SetupError);
    CHECK_THROWS_AS(RealStorage(directory.path + "/none", RealStorage::Mode::must_exist),
                    SetupError);
}

TEST_CASE("a journal that was not closed is opened in less memory than a segment has") {
    const RealFolder directory;
    Options options;
    options.segment_bytes = 64 << 20;
    for (int lives = 0; lives < 3; ++lives)
        CHECK(live(directory.path + "/journal", options, 32 << 20) == 0);
}

TEST_CASE("a backlog costs disk and not memory") {
    const RealFolder directory;
    RealStorage storage(directory.path + "/journal");
    Options options;
    options.segment_bytes = 16 << 20;
    options.checkpoint_bytes = 16 << 20;
    Journal journal(storage, options);
    publish_many(journal, 20'000);
    const std::size_t few = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
    publish_many(journal, 280'000);
    const std::size_t many = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
    MESSAGE("heap with a backlog of 20,000: ", few, " bytes, of 300,000: ", many);
    CHECK(many < few + 256 * 1024);
    CHECK(journal.backlog(1) == 150'000);
}
}
