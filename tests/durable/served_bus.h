// A bus in a directory of its own, its journal in another, and a daemon that can be killed at any
// of its steps: a forked process that runs the daemon's own code.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include <shmbus/bus.h>

#include "daemon/config.h"
#include "daemon/durable.h"
#include "directory/reader.h"
#include "support/folder.h"

namespace durable_tests {

using namespace std::chrono_literals;

struct Work {
    static constexpr auto message = shmbus::command("test.work", shmbus::durable);
    std::uint64_t number = 0;
    std::uint64_t twice = 0;  // of the number: content to be checked
};
// Of any length.
struct Text {
    static constexpr auto message = shmbus::command("test.text", shmbus::durable);
    std::string text;
};
struct Done {
    static constexpr auto message = shmbus::event("test.done", shmbus::durable);
    std::uint64_t number = 0;
};

struct Plain {
    static constexpr auto message = shmbus::command("test.plain", shmbus::transient);
    std::uint64_t number = 0;
    std::uint64_t more = 0;
};
struct Glimpse {
    static constexpr auto message = shmbus::event("test.glimpse", shmbus::transient);
    std::uint64_t number = 0;
};

class ServedBus {
public:
    ServedBus();
    ~ServedBus();
    ServedBus(const ServedBus&) = delete;
    ServedBus& operator=(const ServedBus&) = delete;

    // Starts the daemon and waits until it listens. Killed by itself at step `kill_at`, from 1;
    // with a name, only steps of that name count.
    void serve(std::uint64_t kill_at = 0, const char* of = nullptr);
    void kill_daemon();
    // By SIGTERM; its exit status.
    int end_daemon();
    [[nodiscard]] bool daemon_has_died();
    [[nodiscard]] pid_t daemon() const noexcept { return daemon_; }
    // The most memory of the last daemon that was ever resident, in bytes.
    [[nodiscard]] std::uint64_t most_resident() const;
    // Steps that the last daemon went through, and the name of the last one.
    [[nodiscard]] std::uint64_t steps() const noexcept;
    [[nodiscard]] std::string last_step() const;
    // Asked again and again: true when the daemon has done nothing for longer than it waits with
    // anything: what came is handed out as far as it goes, what was handled is settled on disk.
    [[nodiscard]] bool rests();
    // As a reboot does: everything in memory is gone. No Bus may be open.
    void wipe_memory();
    // A Bus that starts no daemon.
    [[nodiscard]] shmbus::Bus open() const;

    [[nodiscard]] const std::string& directory() const noexcept { return bus_; }
    // Its rows, as every process sees them.
    [[nodiscard]] shmbus::directory::DirectoryReader rows() const;
    [[nodiscard]] const std::string& journal() const noexcept { return config.journal; }
    // The files of the lanes that the daemon writes.
    [[nodiscard]] std::vector<std::string> lanes_out() const;
    shmbus::daemon::Config config;
    shmbus::daemon::Durable::MakeStorage storage;  // empty: the directory
    std::function<void(const char* name)> at_step;  // called by the daemon; empty: nothing
    shmbus::daemon::State* state = nullptr;         // in there: the daemon's own

private:
    struct Shown;  // shared with the daemon
    // What the kernel says of it; throws when there is none.
    [[nodiscard]] std::string status_of_daemon(std::string_view field) const;
    ::test::Folder folder_;
    std::string bus_;
    Shown* shown_;
    pid_t daemon_ = 0;
    std::uint64_t moves_seen_ = 0;
    std::chrono::steady_clock::time_point moved_at_;
};

// Sends Work of these numbers, and waits until all of it is on disk.
void send_numbers(shmbus::Bus& bus, std::uint64_t from, std::uint64_t to);
// A process that runs `work` and waits to be killed when that calls what it is given, which is when
// this returns.
[[nodiscard]] pid_t start_process(const std::function<void(const std::function<void()>&)>& work);
// A process that has joined and sent Plain of the numbers up to this one, and waits to be killed.
[[nodiscard]] pid_t start_sender(const ServedBus& served, std::uint64_t sends);
void kill_process(pid_t child);
// Handles until `enough` says so; false when that takes longer than any machine needs.
[[nodiscard]] bool handle_until(shmbus::Endpoint& endpoint, const std::function<bool()>& enough);
[[nodiscard]] bool wait_until(const std::function<bool()>& holds);

}  // namespace durable_tests

template <>
struct shmbus::Codec<durable_tests::Text> {
    static std::size_t size(const durable_tests::Text& text) { return text.text.size(); }
    static void encode(const durable_tests::Text& text, std::span<std::byte> into) {
        std::memcpy(into.data(), text.text.data(), into.size());
    }
    static bool decode(std::span<const std::byte> from, durable_tests::Text& into) {
        into.text.assign(reinterpret_cast<const char*>(from.data()), from.size());
        return true;
    }
};
