// A directory of a real file system that goes with this.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

struct RealFolder {
    std::string path;
    RealFolder() {
        std::string name =
            (std::filesystem::temp_directory_path() / "shmbus-journal-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    RealFolder(const RealFolder&) = delete;
    RealFolder& operator=(const RealFolder&) = delete;
    ~RealFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
};
