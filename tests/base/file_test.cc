// Opening files without being led astray, and errors that say what helps.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/file.h"

#include <array>
#include <cerrno>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <shmbus/result.h>

#include "support.h"

using namespace shmbus::base;
using namespace shmbus::test;

namespace {

// The errno of the SetupError that `action` throws; -1 when it throws none.
template <class Action>
[[nodiscard]] int refusal_of(Action action) {
    try {
        action();
    } catch (const shmbus::SetupError& error) {
        return error.system_error();
    }
    return -1;
}

}  // namespace

TEST_SUITE("base") {

TEST_CASE("a new file has its mode whatever the umask and never replaces another") {
    const TemporaryDirectory directory;
    const mode_t before = ::umask(0777);
    const File file = File::create_at(directory.fd(), "new", 0640);
    ::umask(before);
    CHECK(file.facts().mode == 0640);
    CHECK(file.facts().is_regular);
    CHECK(file.facts().owner == ::geteuid());
    CHECK(refusal_of([&] { static_cast<void>(File::create_at(directory.fd(), "new", 0600)); }) ==
          EEXIST);
}

TEST_CASE("symbolic links are refused, pipes do not block, a missing file is no error if asked") {
    const TemporaryDirectory directory;
    static_cast<void>(directory.make("real", 16));
    std::filesystem::create_symlink(directory.path() + "/real", directory.path() + "/link");
    CHECK(refusal_of([&] {
              static_cast<void>(File::open_at(directory.fd(), "link", Access::read_only));
          }) == ELOOP);
    REQUIRE(::mkfifo((directory.path() + "/pipe").c_str(), 0600) == 0);
    const File pipe = File::open_at(directory.fd(), "pipe", Access::read_only);
    CHECK_THROWS_AS(pipe.require_regular(), shmbus::SetupError);
    CHECK_FALSE(File::open_if_there(directory.fd(), "missing", Access::read_only).has_value());
    CHECK(refusal_of([&] {
              static_cast<void>(File::open_at(directory.fd(), "missing", Access::read_only));
          }) == ENOENT);
}

TEST_CASE("descriptors close on exec and move without copies") {
    const TemporaryDirectory directory;
    File file = directory.make("file", 16);
    CHECK((::fcntl(file.fd(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(file.duplicate().fd(), F_GETFD) & FD_CLOEXEC) != 0);
    const int fd = file.fd();
    const File moved = std::move(file);
    CHECK_FALSE(static_cast<bool>(file));
    CHECK(moved.fd() == fd);
}

TEST_CASE("allocated space is there and room that does not exist is refused at once") {
    const TemporaryDirectory directory;
    const File file = directory.make("file", 1 << 20);
    CHECK(file.facts().bytes == 1 << 20);
    struct stat found {};
    REQUIRE(::fstat(file.fd(), &found) == 0);
    CHECK(found.st_blocks * 512 >= 1 << 20);
    const int refusal = refusal_of([&] { file.allocate(std::uint64_t{1} << 60); });
    CHECK((refusal == ENOSPC || refusal == EFBIG));
}

TEST_CASE("what is written is read back and the end of the file is noticed") {
    const TemporaryDirectory directory;
    const File file = File::create_at(directory.fd(), "file", 0600);
    const std::array<std::byte, 3> bytes{std::byte{1}, std::byte{2}, std::byte{3}};
    file.write_all(bytes, 10);
    std::array<std::byte, 8> read{};
    CHECK(file.read_all(read, 11) == 2);
    CHECK(read[1] == std::byte{3});
    rename_at(directory.fd(), "file", "other");
    CHECK_FALSE(unlink_at(directory.fd(), "file"));
    CHECK(file.facts().link_count == 1);
    CHECK(unlink_at(directory.fd(), "other"));
    CHECK(file.facts().link_count == 0);
}

TEST_CASE("a private directory is made tight, found again, and refused when it is not private") {
    const TemporaryDirectory directory;
    const std::string path = directory.path() + "/private";
    CHECK(make_private_directory(path).facts().mode == 0700);
    CHECK_NOTHROW(static_cast<void>(make_private_directory(path)));
    std::filesystem::permissions(path, std::filesystem::perms{0755});
    CHECK_THROWS_AS(static_cast<void>(make_private_directory(path)), shmbus::SetupError);
    const std::string shared = directory.path() + "/shared";
    const File made = make_private_directory(shared, ::getegid());
    CHECK(made.facts().mode == 0770);
    CHECK(made.facts().group == ::getegid());
    CHECK_THROWS_AS(static_cast<void>(make_private_directory(shared)), shmbus::SetupError);
    std::filesystem::create_directory_symlink(shared, directory.path() + "/link");
    CHECK_THROWS_AS(static_cast<void>(make_private_directory(directory.path() + "/link")),
                    shmbus::SetupError);
}

TEST_CASE("a directory for a group that was left half made is finished, one that is used is not") {
    const TemporaryDirectory directory;
    // As one looks whose maker was killed behind mkdir.
    const std::string half = directory.path() + "/half";
    REQUIRE(::mkdir(half.c_str(), 0700) == 0);
    CHECK(make_private_directory(half, ::getegid()).facts().mode == 0770);
    const std::string used = directory.path() + "/used";
    REQUIRE(::mkdir(used.c_str(), 0700) == 0);
    static_cast<void>(File::create_at(File::open_directory(used).fd(), "file", 0600, {}));
    CHECK(make_private_directory(used, ::getegid()).facts().mode == 0700);
    if (::geteuid() != 0) {
        MESSAGE("not run: only root can give a directory to any group");
        return;
    }
    constexpr gid_t other = 65534;
    const std::string ours = directory.path() + "/ours";
    REQUIRE(::mkdir(ours.c_str(), 0700) == 0);
    const FileFacts facts = make_private_directory(ours, other).facts();
    CHECK(facts.mode == 0770);
    CHECK(facts.group == other);
    CHECK_THROWS_AS(static_cast<void>(make_private_directory(used, other)), shmbus::SetupError);
}

TEST_CASE("a failed set-up names the path, the system's answer and what helps") {
    const TemporaryDirectory directory;
    std::string text;
    try {
        static_cast<void>(File::open_at(directory.fd(), "absent", Access::read_only));
    } catch (const shmbus::SetupError& error) {
        text = error.what();
        CHECK(error.on_what() == directory.path() + "/absent");
        CHECK_FALSE(error.helps().empty());
    }
    CHECK(text.find("opening a file") != std::string::npos);
    CHECK(text.find(directory.path() + "/absent") != std::string::npos);
    CHECK(text.find("No such file") != std::string::npos);
}

}
