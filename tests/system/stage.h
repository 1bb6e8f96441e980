// A bus for one test: a directory, a real daemon, and forked processes that use it.
//
// The test process itself forks before it opens a bus of its own, if it opens one at all.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/bus.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "base/support.h"
#include "daemon/fixture.h"
#include "system/messages.h"

namespace system_tests {

using shmbus::Bus;
using shmbus::Context;
using shmbus::Endpoint;
using shmbus::test::Child;
using test::eventually;
using namespace std::chrono_literals;

// Words that all processes of a test share. seq_cst throughout: steps are few, and the test reads
// as if there were one order of events.
struct Words {
    std::array<std::atomic<std::uint64_t>, 8> word{};
    void set(std::size_t at, std::uint64_t value) { word[at].store(value); }
    void add(std::size_t at, std::uint64_t more = 1) { word[at].fetch_add(more); }
    [[nodiscard]] std::uint64_t get(std::size_t at) const { return word[at].load(); }
    // False when it does not come within ten seconds.
    [[nodiscard]] bool comes(std::size_t at, std::uint64_t least) const {
        return eventually([&] { return get(at) >= least; });
    }
};

class SharedWords {
public:
    SharedWords()
        : page_(::mmap(nullptr, sizeof(Words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0)) {
        if (page_ == MAP_FAILED) throw std::runtime_error("no memory to share");
        words_ = new (page_) Words;
    }
    SharedWords(const SharedWords&) = delete;
    SharedWords& operator=(const SharedWords&) = delete;
    ~SharedWords() { ::munmap(page_, sizeof(Words)); }
    Words* operator->() const noexcept { return words_; }

private:
    void* page_;
    Words* words_ = nullptr;
};

struct Stage {
    test::Folder folder;
    test::Daemon daemon{folder.bus()};
    SharedWords words;

    [[nodiscard]] Bus join() const {
        shmbus::BusOptions options;
        options.start_daemon = false;
        return Bus::open(folder.bus(), options);
    }
    // Participants and lanes; inboxes stay with their endpoints.
    [[nodiscard]] std::string traces() const {
        std::string found;
        for (const std::string& name : test::files_of_bus(folder.bus()))
            if (!name.starts_with("inboxes/")) found += name + " ";
        return found;
    }
};

// Small lanes, so that they fill, and no giving up of messages whose handlers are killed.
inline shmbus::EndpointOptions small_lanes() {
    shmbus::EndpointOptions options;
    options.lane_bytes = 4096;
    options.attempts_when_dying = 100;
    return options;
}

inline void send(Bus& bus, std::uint64_t sender, std::uint64_t number) {
    shmbus::SendOptions options;
    options.wait = 20s;
    bus.send(Job{sender, number}, options).value();
}

// Handles Jobs until `until`, in this process.
inline void handle_jobs(Endpoint& endpoint, const std::function<bool()>& until) {
    while (!until())
        if (endpoint.poll() == 0) endpoint.wait(10ms);
}

// True within the limit, else killed in the middle of whatever it does.
inline bool ends_well(Child& child, std::chrono::milliseconds limit = 30s) {
    int status = -1;
    const auto has_ended = [&] { return ::waitpid(child.pid(), &status, WNOHANG) != 0; };
    const bool ended = eventually(has_ended, limit);
    return ended && shmbus::test::exited_with(status, 0);
}

}  // namespace system_tests
