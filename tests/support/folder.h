// A directory in memory for one test, removed with all that is in it.
//
// When the test's program dies before, what it made is removed by who ran it: tools/test gives
// every program a place of its own, in SHMBUS_TEST_MEMORY.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

#include <stdlib.h>

namespace test {

class Folder {
public:
    explicit Folder(const std::string& what = "test") {
        const char* const told = std::getenv("SHMBUS_TEST_MEMORY");
        for (const std::string place : {told != nullptr ? told : "/dev/shm", "/tmp"}) {
            path_ = place + "/shmbus-" + what + "-XXXXXX";
            if (::mkdtemp(path_.data()) != nullptr) return;
        }
        throw std::runtime_error("no directory can be made like " + path_);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;  // nothing a finished test could do about it
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] std::string bus() const { return path_ + "/bus"; }

private:
    std::string path_;
};

// A copy of one of a bus's directories. Its files have more holes than there may be memory.
inline void copy_sparsely(const std::string& from, const std::string& to) {
    if (std::system(("cp -r --sparse=always " + from + " " + to).c_str()) != 0)
        throw std::runtime_error("cannot copy " + from + " to " + to);
}

}  // namespace test
