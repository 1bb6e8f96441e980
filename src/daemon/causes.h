// The messages that what waits in the lanes came of: not settled before that is read.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "directory/layout.h"
#include "wire/record.h"

namespace shmbus::daemon {

class Causes {
public:
    // `came_of`: as it stands in a record, see wire/record.h. Sorted before it is asked for.
    void add(std::uint64_t came_of) {
        if (came_of != 0) words_.push_back(came_of | 1U);  // an output or sent on: the same here
    }
    void sort() noexcept { std::ranges::sort(words_); }
    // With its memory, which may have been much.
    void clear() noexcept { std::vector<std::uint64_t>().swap(words_); }

    // What the endpoint of this index has handled.
    [[nodiscard]] bool contain(std::uint32_t endpoint, std::uint64_t lsn) const noexcept {
        return std::ranges::binary_search(words_, wire::sent_on_from(lsn, endpoint));
    }

private:
    static_assert(directory::most_rows <= wire::most_endpoints);
    std::vector<std::uint64_t> words_;  // eight bytes for each of those records
};

}  // namespace shmbus::daemon
