// What these tests look at, and what a stranger would do, in the files of a bus.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/testing.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "base/atomics.h"
#include "base/file.h"
#include "lane/inbox_file.h"

namespace bus_tests {

// False when it does not come within the limit, whose end is a failure.
template <class Condition>
bool comes(Condition condition) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > limit) return condition();
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
}

// For a Meter whose inbox gets no further lanes.
inline const shmbus::base::StdWord<std::uint64_t> no_lanes_move{0};

inline void poll_all(shmbus::Endpoint& endpoint) {
    while (endpoint.poll() != 0) {
    }
}

// Waits for room: the limit is only for what never comes.
inline shmbus::SendOptions patient() {
    shmbus::SendOptions options;
    options.wait = std::chrono::seconds(60);
    return options;
}

inline shmbus::base::File open_file(const std::string& path) {
    const std::size_t name = path.rfind('/') + 1;
    const shmbus::base::File folder =
        shmbus::base::File::open_directory(path.substr(0, name));
    return shmbus::base::File::open_at(folder.fd(), path.substr(name),
                                       shmbus::base::Access::read_write);
}

// Paths of the files in one of the folders of a bus: lanes (in the order in which they were made),
// inboxes, participants.
inline std::vector<std::string> files_in(const shmbus::testing::TemporaryBus& bus,
                                         const char* folder) {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(bus.directory() + "/" + folder))
        paths.push_back(entry.path().string());
    std::sort(paths.begin(), paths.end());
    return paths;
}

// The inbox of the first endpoint that was made on the bus.
inline std::string first_inbox(const shmbus::testing::TemporaryBus& bus) {
    return bus.directory() + "/inboxes/1.1";
}

// Who sleeps in front of it: a bit per consumer.
class Sleepers {
public:
    explicit Sleepers(const shmbus::testing::TemporaryBus& bus)
        : view_(open_file(first_inbox(bus))) {}
    // seq_cst: a test reads as if there were one order of events.
    [[nodiscard]] std::uint64_t now() const {
        return view_.doorbell().sleepers.load(std::memory_order_seq_cst);
    }

private:
    shmbus::lane::InboxView view_;
};

// Descriptors that this process has open, and its threads.
inline std::size_t entries_of(const char* folder) {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
    return count;
}
inline std::size_t open_descriptors() { return entries_of("/proc/self/fd"); }
inline std::size_t threads() { return entries_of("/proc/self/task"); }

// Puts `now` wherever `before` stands in the data of the bus's lanes, as only their writers and
// owners can. How often it stood there.
inline int overwrite_in_lanes(const shmbus::testing::TemporaryBus& bus, std::uint64_t before,
                              std::uint64_t now) {
    int found = 0;
    for (const std::string& path : files_in(bus, "lanes")) {
        const shmbus::base::File file = open_file(path);
        std::vector<std::byte> bytes(file.facts().bytes);
        static_cast<void>(file.read_all(bytes, 0));
        for (std::size_t at = shmbus::lane::data_at; at + 8 <= bytes.size(); at += 8) {
            if (std::memcmp(bytes.data() + at, &before, sizeof(before)) != 0) continue;
            file.write_all(std::as_bytes(std::span(&now, 1)), at);
            ++found;
        }
    }
    return found;
}

}  // namespace bus_tests
