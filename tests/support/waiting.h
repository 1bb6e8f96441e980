// Whether some sender of a bus waits for room at this moment, as its lane says.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>
#include <string>

#include "base/file.h"
#include "lane/lane_file.h"

namespace shmbus::test {

// `bus` is the directory of the bus. Asked again and again it is sure to see one that waits on.
inline bool somebody_waits(const std::string& bus) {
    const base::File lanes = base::File::open_directory(bus + "/lanes");
    for (const auto& entry : std::filesystem::directory_iterator(bus + "/lanes")) {
        const lane::LaneParts parts(
            base::File::open_at(lanes.fd(), entry.path().filename().string(),
                                base::Access::read_write),
            lane::LaneParts::Side::reader);
        // relaxed: a hint for a test.
        if (parts.writer_page().wants_room.load(std::memory_order_relaxed) != 0) return true;
    }
    return false;
}

}  // namespace shmbus::test
