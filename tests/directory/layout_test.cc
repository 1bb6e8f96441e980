// Files that are not a directory, or not one of ours, or not whole any more.
//
// SPDX-License-Identifier: BSL-1.0
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <shmbus/result.h>

#include "base/file.h"
#include "directory/reader.h"
#include "directory/writer.h"
#include "support/folder.h"

using namespace shmbus;
using directory::Identity;
using directory::Trouble;

namespace {

// A whole directory file without a name.
base::File whole_directory() {
    const ::test::Folder folder;
    const base::File handle = base::File::open_directory(folder.path());
    const auto writer =
        directory::DirectoryWriter::create(handle.fd(), {{4, 4, 4, 4, 4, 4}, 0600, {}});
    return base::File::open_at(handle.fd(), "directory", base::Access::read_write);
}

void change_identity(const base::File& file, const std::function<void(Identity&)>& change) {
    Identity identity;
    REQUIRE(file.read_all(std::as_writable_bytes(std::span(&identity, 1)), 0) == sizeof(identity));
    change(identity);
    file.write_all(std::as_bytes(std::span(&identity, 1)), 0);
}

Trouble trouble_of(const base::File& file) {
    Identity identity;
    std::string text;
    const Trouble trouble = directory::read_identity(file, identity, text);
    CHECK(text.empty() == (trouble == Trouble::none));
    return trouble;
}

}  // namespace

TEST_SUITE("directory") {

TEST_CASE("a whole file is taken; cut off at any length it is not, by readers or by a daemon") {
    const base::File file = whole_directory();
    REQUIRE(trouble_of(file) == Trouble::none);
    const std::uint64_t whole = file.facts().bytes;
    // From long to short: what was cut off is zeros when it grows again.
    for (const std::uint64_t bytes :
         {whole - 1, whole - 4096, whole / 2, std::uint64_t{4096}, std::uint64_t{104},
          std::uint64_t{103}, std::uint64_t{100}, std::uint64_t{8}, std::uint64_t{1},
          std::uint64_t{0}}) {
        CAPTURE(bytes);
        REQUIRE(::ftruncate(file.fd(), static_cast<off_t>(bytes)) == 0);
        CHECK(trouble_of(file) != Trouble::none);
        CHECK_THROWS_AS(directory::DirectoryReader{file}, SetupError);
        CHECK_THROWS_AS(directory::DirectoryWriter{file.duplicate()}, SetupError);
    }
}

TEST_CASE("a file of zeros of any length is half made") {
    for (const std::uint64_t bytes : {0U, 1U, 104U, 4096U, 100000U}) {
        CAPTURE(bytes);
        const base::File file(::memfd_create("zeros", MFD_CLOEXEC));
        REQUIRE(::ftruncate(file.fd(), static_cast<off_t>(bytes)) == 0);
        CHECK(trouble_of(file) == Trouble::half_made);
        CHECK_THROWS_AS(directory::DirectoryReader{file}, SetupError);
    }
}

TEST_CASE("each field of the identity that is wrong is found") {
    const std::pair<Trouble, std::function<void(Identity&)>> cases[] = {
        {Trouble::half_made, [](Identity& i) { i.ready = 0; }},
        {Trouble::not_ours, [](Identity& i) { i.ready = 2; }},
        {Trouble::not_ours, [](Identity& i) { i.magic ^= 1; }},
        {Trouble::not_ours, [](Identity& i) { i.magic = 0; }},
        {Trouble::other_version, [](Identity& i) { i.major += 1; }},
        {Trouble::other_version, [](Identity& i) { i.major = 0; }},
        {Trouble::not_ours, [](Identity& i) { i.rows[0] += 16; }},
        {Trouble::not_ours, [](Identity& i) { i.rows[2] = 0; }},
        {Trouble::not_ours, [](Identity& i) { i.rows[5] = 0xFFFFFFFF; }},
        {Trouble::not_ours, [](Identity& i) { i.copy_bytes -= 4096; }},
        {Trouble::not_ours, [](Identity& i) { i.file_bytes += 1; }}};
    for (const auto& [expected, change] : cases) {
        const base::File file = whole_directory();
        change_identity(file, change);
        CHECK(trouble_of(file) == expected);
        CHECK_THROWS_AS(directory::DirectoryReader{file}, SetupError);
        CHECK_THROWS_AS(directory::DirectoryWriter{file.duplicate()}, SetupError);
    }
}

TEST_CASE("a newer minor version is read: it only adds what zeroes mean nothing in") {
    const base::File file = whole_directory();
    change_identity(file, [](Identity& i) { i.minor += 1; });
    CHECK(trouble_of(file) == Trouble::none);
}

TEST_CASE("rows that contradict each other are refused by a daemon, with what they are of") {
    const base::File file = whole_directory();
    {
        directory::DirectoryWriter writer(file.duplicate());
        auto& row = writer.change<directory::LaneRow>(1);
        row.state = directory::RowState::live;
        row.id = 77;
        row.endpoint = 3;  // nobody
        writer.commit();
    }
    try {
        const directory::DirectoryWriter next(file.duplicate());
        FAIL("taken up");
    } catch (const SetupError& error) {
        CHECK(std::string(error.what()).find("lane's row") != std::string::npos);
    }
}

TEST_CASE("a file that is cut off under a reader ends its answers, not its process") {
    const base::File file = whole_directory();
    const directory::DirectoryReader reader(file);
    REQUIRE(reader.version() == 2);
    REQUIRE(::ftruncate(file.fd(), 0) == 0);
    CHECK_FALSE(reader.find_endpoint("orders").has_value());
    CHECK(reader.lost());
    std::vector<directory::Type> types;
    CHECK_FALSE(reader.types(types));
}

}  // TEST_SUITE
